"""Multi-head attention with positions and a shortcut (Vaswani et al., 2017; Carion et al., DETR, 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

DROPOUT = {"type": "Dropout", "drop_prob": 0.0}


class MultiheadAttention(nn.Module):
    """`torch.nn.MultiheadAttention` whose positions are added to queries and keys but not to values.

    attn_drop: of the attention weights, proj_drop: of the result, dropout_layer: `{drop_prob}` in front of the
    shortcut. dropout: sets the first and the last of them.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        dropout_layer: Mapping[str, Any] | None = DROPOUT,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        if dropout is not None:
            attn_drop, dropout_layer = dropout, {"drop_prob": dropout}
        self.embed_dims, self.num_heads = embed_dims, num_heads
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, attn_drop, batch_first=True)
        self.proj_drop = nn.Dropout(proj_drop)
        self.dropout_layer = make_dropout(dropout_layer)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attended values plus the shortcut, (N, Q, C).

        query: (N, Q, C), query_pos like it. key, value: (N, K, C), key_pos like them. identity: what the shortcut
        carries, the query if not given. attn_mask: (N * num_heads, Q, K) bool, True where a query must not look.
        key_padding_mask: (N, K) bool, True for keys to ignore.
        """
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        key = key if key_pos is None else key + key_pos
        out = self.attn(query, key, value, key_padding_mask, need_weights=False, attn_mask=attn_mask)[0]
        return identity + self.dropout_layer(self.proj_drop(out))


def make_dropout(description: Mapping[str, Any] | None) -> nn.Module:
    """Dropout with `drop_prob`, or nothing."""
    return nn.Dropout(description.get("drop_prob", 0.5)) if description else nn.Identity()
