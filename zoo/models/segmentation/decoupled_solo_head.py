"""Decoupled SOLO: a cell's mask is the product of its column's and its row's (Wang et al., SOLO, 2020, section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.towers import init_dense, run, tower
from zoo.models.segmentation.solo_head import GN, GridHead, coordinates, doubled, neighbors, resize


class DecoupledSOLOHead(GridHead):
    """One mask channel per column, made with x coordinates, and one per row, made with y coordinates.

    shared_tower: one tower with both coordinates for columns and rows.
    """

    def __init__(
        self, in_channels: int, stacked_convs: int = 4, norm_cfg: Any = GN, shared_tower: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(in_channels=in_channels, stacked_convs=stacked_convs, norm_cfg=norm_cfg, **kwargs)
        channels, self.shared_tower = self.feat_channels, shared_tower
        common: dict[str, Any] = {"norm_cfg": norm_cfg, "special": kwargs.get("dcn")}
        if shared_tower:
            self.mask_convs = tower(in_channels + 2, channels, stacked_convs, **common)
        else:
            self.mask_convs_x = tower(in_channels + 1, channels, stacked_convs, **common)
            self.mask_convs_y = tower(in_channels + 1, channels, stacked_convs, **common)
        self.conv_mask_list_x = nn.ModuleList(nn.Conv2d(channels, g, 3, padding=1) for g in self.num_grids)
        self.conv_mask_list_y = nn.ModuleList(nn.Conv2d(channels, g, 3, padding=1) for g in self.num_grids)
        init_dense(self, self.conv_cls, *self.conv_mask_list_x, *self.conv_mask_list_y)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        """Per level mask logits of columns and of rows, (N, grid, 2 * h, 2 * w) each, and class logits.

        features: per level (N, C, h, w), finest first. Class logits are (N, num_classes, grid, grid).
        """
        masks, logits = [], []
        for i, x in enumerate(neighbors(features)):
            columns, rows = self.axes(x)
            masks.append((self.conv_mask_list_x[i](columns), self.conv_mask_list_y[i](rows)))
            logits.append(self.classify(x, self.num_grids[i]))
        return masks, logits

    def axes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What columns and rows are predicted from, (N, C, 2 * h, 2 * w) each."""
        both = coordinates(x)
        if self.shared_tower:
            shared = doubled(run(self.mask_convs, torch.cat([x, both], dim=1)))
            return shared, shared
        columns = run(self.mask_convs_x, torch.cat([x, both[:, :1]], dim=1))
        rows = run(self.mask_convs_y, torch.cat([x, both[:, 1:]], dim=1))
        return doubled(columns), doubled(rows)

    def masks(self, outputs: Any, image: int, cells: Tensor) -> Tensor:
        """See `GridHead.masks`."""
        size = outputs[0][0][0].shape[-2:]
        parts = []
        for (columns, rows), index, grid in zip(outputs[0], self.by_level(cells), self.num_grids):
            x, y = (resize(axis[image : image + 1].sigmoid(), size)[0] for axis in (columns, rows))
            parts.append(x[index % grid] * y[index // grid])
        return torch.cat(parts)


class DecoupledSOLOLightHead(DecoupledSOLOHead):
    """One tower for columns and rows. dcn_cfg: type of the last convolution of each tower."""

    def __init__(self, stacked_convs: int = 4, dcn_cfg: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        dcn = {stacked_convs - 1: dcn_cfg} if dcn_cfg else None
        super().__init__(stacked_convs=stacked_convs, shared_tower=True, dcn=dcn, **kwargs)
