"""Dense distinct queries (Zhang et al., Dense Distinct Query for End-to-End Object Detection, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.box_ops import box_convert
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.deformable_detr import DINO
from zoo.models.layers.nms import batched_nms
from zoo.models.query_heads.denoising import Denoising, with_noise
from zoo.models.targets import GroundTruth
from zoo.models.transformer.deformable_transformer import Memory
from zoo.models.transformer.dino import by_layer
from zoo.structures import ImageGeometry

NMS = {"type": "nms", "iou_threshold": 0.8}


class DDQDETR(DINO):
    """DINO whose queries are proposals that do not overlap, with the contents of their own cells.

    dqs_cfg: the suppression, of proposals and between the decoder's layers: which queries see each other.
    dense_topk_ratio: in training, dense queries that are not suppressed learn beside them, so many times more.
    """

    def __init__(self, dense_topk_ratio: float = 1.5, dqs_cfg: Mapping[str, Any] = NMS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense_topk_ratio, self.dqs_cfg = dense_topk_ratio, dqs_cfg

    def make_queries(self) -> None:
        """A layer that makes contents from the encoder's cells."""
        self.query_map = nn.Linear(self.embed_dims, self.embed_dims)

    def outputs(
        self, images: Tensor, geometries: Sequence[ImageGeometry], noise: Denoising | None = None
    ) -> tuple[Any, ...]:
        """Class logits (layers, N, Q, classes), boxes (layers, N, Q, 4), proposals, and the queries that stayed.

        Proposals are logits (N, Q, classes) and boxes (N, Q, 4). The queries that stayed: (N, Q) bool, for every layer
        but the first.
        """
        memory = self.encode(images, geometries)
        states, logits, boxes = self.distinct(memory)
        selection = Selection(self, logits.shape[1])
        regress = by_layer(self.bbox_head.reg_branches)
        mask = selection.everybody(len(images), boxes.device)
        decoded = self.decoder(states, boxes.detach().sigmoid(), memory, regress, mask, selection.update)
        return *self.bbox_head(*decoded), (logits, boxes.sigmoid()), selection.stayed

    def distinct(self, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """States (N, Q, C), class logits (N, Q, classes) and box logits (N, Q, 4) of the best distinct proposals.

        Where fewer are left, zeros fill them up.
        """
        logits, boxes = self.propose(memory, self.decoder.num_layers)
        order = [self.suppress(x, b) for x, b in zip(logits, boxes)]
        contents = self.query_map(memory.tokens.detach())
        return tuple(  # type: ignore[return-value]
            torch.stack([filled(part[keep], self.num_queries) for part, keep in zip(x, order)])
            for x in (contents, logits, boxes)
        )

    def suppress(self, logits: Tensor, boxes: Tensor) -> Tensor:
        """Indices of an image's best proposals that do not overlap. logits: (S, classes). boxes: (S, 4) logits."""
        scores = logits.amax(-1).sigmoid()
        groups = torch.ones(len(scores), device=scores.device)
        return batched_nms(corners(boxes.sigmoid()), scores, groups, self.dqs_cfg, self.num_queries)[0]

    def dense(self, memory: Memory) -> tuple[Tensor, Tensor, Tensor]:
        """What `distinct` returns, of the best proposals of the auxiliary branches, overlapping or not."""
        logits, boxes = self.propose(memory, -1)
        count = min(int(self.num_queries * self.dense_topk_ratio), logits.shape[1])
        order = logits.amax(-1).sigmoid().sort(dim=1, descending=True)[1][:, :count, None]
        contents = self.query_map(memory.tokens.detach())
        return tuple(x.gather(1, order.expand(-1, -1, x.shape[-1])) for x in (contents, logits, boxes))  # type: ignore[return-value]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses, of denoising, distinct and dense queries behind each other."""
        noise = self.dn_query_generator(ground_truths, geometries)
        memory = self.encode(images, geometries)
        states, logits, boxes = self.distinct(memory)
        others, dense_logits, dense_boxes = self.dense(memory)
        queries, starts = with_noise(torch.cat([states, others], 1), torch.cat([boxes, dense_boxes], 1).detach(), noise)
        count = dense_logits.shape[1]
        selection = Selection(self, logits.shape[1], noise.count)
        mask = selection.groups(noise.mask, count, len(images))
        regress = partial(self.moves, dense=count)
        decoded, starting = self.decoder(queries, starts.sigmoid(), memory, regress, mask, selection.update)
        result = self.bbox_head(decoded[:, :, :-count], [x[:, :-count] for x in starting])
        dense = self.bbox_head.forward_dense(decoded[:, :, -count:], [x[:, -count:] for x in starting])
        proposals = {"distinct": (logits, boxes.sigmoid()), "dense": (dense_logits, dense_boxes.sigmoid())}
        outputs = (*result, proposals, noise, selection.stayed, dense)
        return dense_losses(self.bbox_head, outputs, geometries, ground_truths)

    def moves(self, layer: int, states: Tensor, *, dense: int) -> Tensor:
        """Deltas (N, Q, 4) of a layer's queries, of which the last `dense` have a branch of their own."""
        head = self.bbox_head
        parts = head.reg_branches[layer](states[:, :-dense]), head.aux_reg_branches[layer](states[:, -dense:])
        return torch.cat(parts, dim=1)


class Selection:
    """Which queries stay distinct from layer to layer: suppression decides what looks at what.

    start, count: where the distinct queries lie among all. stayed: per layer but the first, (N, count) bool.
    """

    def __init__(self, model: DDQDETR, count: int, start: int = 0) -> None:
        self.model, self.start, self.count = model, start, count
        self.heads: int = model.decoder.layers[0].self_attn.num_heads
        self.stayed: list[Tensor] = []

    def everybody(self, batch: int, device: torch.device) -> Tensor:
        """A mask (N * heads, Q, Q) that hides nothing."""
        return torch.zeros(batch * self.heads, self.count, self.count, dtype=torch.bool, device=device)

    def groups(self, mask: Tensor, dense: int, batch: int) -> Tensor:
        """The mask of denoising and distinct queries (Q, Q) with dense ones behind them, apart from them."""
        mask = F.pad(mask, (0, dense, 0, dense), value=True)
        mask[-dense:, -dense:] = False
        return mask.expand(batch * self.heads, -1, -1)

    def update(self, layer: int, states: Tensor, boxes: Tensor, mask: Tensor | None) -> Tensor:
        """The next layer's mask (N * heads, Q, Q). states: (N, Q, C). boxes: (N, Q, 4) cxcywh."""
        assert mask is not None
        part = slice(self.start, self.start + self.count)
        scores = self.model.bbox_head.cls_branches[layer](states[:, part]).sigmoid().amax(-1)
        before = self.stayed[-1] if self.stayed else torch.ones_like(scores, dtype=torch.bool)
        kept = torch.stack([self.survivors(*image) for image in zip(corners(boxes[:, part]), scores, before)])
        hidden = ~(kept[:, :, None] | kept[:, None])
        mask = mask.clone()
        mask[:, part, part] = hidden.repeat_interleave(self.heads, dim=0)
        # Only what the first query sees is remembered, as in the authors' code: everything, where it is kept itself.
        self.stayed.append(kept | kept[:, :1])
        return mask

    def survivors(self, boxes: Tensor, scores: Tensor, candidates: Tensor) -> Tensor:
        """Which of an image's candidates are not suppressed, (Q,) bool. boxes: (Q, 4) xyxy. candidates: (Q,) bool."""
        # Boxes without area suppress nothing, so that nobody needs to know how many candidates there are.
        boxes, scores = boxes * candidates[:, None], torch.where(candidates, scores, -1)
        keep = batched_nms(boxes, scores, torch.ones_like(scores), self.model.dqs_cfg)[0]
        kept = torch.zeros_like(candidates)
        kept[keep] = True
        return kept & candidates


def corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) cxcywh as xyxy, without gradients."""
    return box_convert(boxes.detach(), "cxcywh", "xyxy")


def filled(x: Tensor, count: int) -> Tensor:
    """(K, C) as (count, C), zeros behind the K rows."""
    return F.pad(x[:count], (0, 0, 0, count - min(len(x), count)))
