"""Losses of CornerNet (Law and Deng, 2018, section 3) and CentripetalNet (Dong et al., 2020, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.coders.delta import center_and_size
from zoo.models.criteria.heatmaps import add_spot, reach
from zoo.models.criteria.protocols import LossHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# Boxes whose corners are off by less than a spot's radius still overlap their object by this.
OVERLAP = 0.3


@dataclass
class CornerTargets:
    """What one corner's maps of a batch should be: heat (N, C, H, W), the others (N, 2, H, W), all x first.

    guiding: from the corner to the box's center in cells; centripetal: logarithms of half the box's size.
    positions: per image the cells (M, 2) of the objects' corners, x and y.
    """

    heat: Tensor
    off: Tensor
    guiding: Tensor
    centripetal: Tensor
    positions: list[Tensor] = field(default_factory=list)

    @property
    def corners(self) -> Tensor:
        """Where there is a corner of any class, (N, 1, H, W) of zeros and ones."""
        return (self.heat == 1).any(dim=1, keepdim=True).to(self.heat)


def corner_losses(
    head: LossHead,
    outputs: Sequence[dict[str, dict[str, Tensor]]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    input_size: tuple[int, int],
) -> dict[str, Tensor]:
    """`det_loss`, `off_loss`, and with tags `pull_loss` and `push_loss`, of all stacks of the backbone.

    outputs: what the head's `forward` returned. input_size: (h, w) of the padded batch.
    """
    targets = corner_targets(outputs[-1]["tl"]["heat"], ground_truths, input_size)
    losses: dict[str, Tensor] = {}
    for maps in outputs:
        add(losses, "det_loss", heat_loss(head, maps, targets))
        add(losses, "off_loss", shift_loss(head, maps, targets, "off", "offset", least=1))
        if "emb" in maps["tl"]:
            pull, push = tag_losses(maps["tl"]["emb"], maps["br"]["emb"], targets)
            add(losses, "pull_loss", pull * head.loss_cfg["embedding"].get("pull_weight", 0.25))
            add(losses, "push_loss", push * head.loss_cfg["embedding"].get("push_weight", 0.25))
    return losses


def centripetal_losses(
    head: LossHead,
    outputs: Sequence[dict[str, dict[str, Tensor]]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    input_size: tuple[int, int],
) -> dict[str, Tensor]:
    """`det_loss`, `off_loss`, `guiding_loss` and `centripetal_loss` of all stacks of the backbone."""
    targets = corner_targets(outputs[-1]["tl"]["heat"], ground_truths, input_size)
    losses: dict[str, Tensor] = {}
    for maps in outputs:
        add(losses, "det_loss", heat_loss(head, maps, targets))
        add(losses, "off_loss", shift_loss(head, maps, targets, "off", "offset", least=1))
        for kind in ("guiding", "centripetal"):
            add(losses, kind + "_loss", shift_loss(head, maps, targets, kind, kind + "_shift", least=0))
    return losses


def add(losses: dict[str, Tensor], name: str, value: Tensor) -> None:
    """Add to a sum by its name."""
    losses[name] = losses[name] + value if name in losses else value


def heat_loss(head: LossHead, maps: dict[str, dict[str, Tensor]], targets: dict[str, CornerTargets]) -> Tensor:
    """The mean over both corners of the loss of their heatmaps."""
    loss = component(head.loss_cfg["heatmap"])
    parts = []
    for corner, goal in targets.items():
        count = (goal.heat == 1).sum().clamp(min=1)
        parts.append(loss(maps[corner]["heat"].sigmoid(), goal.heat, None, count))
    return torch.stack(parts).mean()


def shift_loss(
    head: LossHead,
    maps: dict[str, dict[str, Tensor]],
    targets: dict[str, CornerTargets],
    kind: str,
    key: str,
    least: int,
) -> Tensor:
    """The mean over both corners of the loss of one kind of shifts, where corners are. least: of the divisor."""
    loss = component(head.loss_cfg[key])
    parts = []
    for corner, goal in targets.items():
        weight = goal.corners
        parts.append(loss(maps[corner][kind], getattr(goal, kind), weight, weight.sum().clamp(min=least)))
    return torch.stack(parts).mean()


def tag_losses(first: Tensor, second: Tensor, targets: dict[str, CornerTargets]) -> tuple[Tensor, Tensor]:
    """Tags (N, E, H, W) of an object's two corners are pulled together, the means of different objects apart."""
    pulls, pushes = [first.sum() * 0], [second.sum() * 0]
    for a, b, here, there in zip(first, second, targets["tl"].positions, targets["br"].positions):
        count = len(here)
        if count == 0:
            continue
        pair = torch.stack([a[:, here[:, 1], here[:, 0]].T, b[:, there[:, 1], there[:, 0]].T])
        mean = pair.mean(dim=0)
        pulls.append((pair - mean).square().sum() / count)
        if count > 1:
            distance = (mean[:, None] - mean).sum(dim=-1).abs()
            close = (1 - distance).clamp(min=0) * (1 - torch.eye(count, device=mean.device))
            pushes.append(close.sum() / (count * (count - 1)))
    return torch.stack(pulls).sum(), torch.stack(pushes).sum()


def corner_targets(
    like: Tensor, ground_truths: Sequence[GroundTruth], input_size: tuple[int, int]
) -> dict[str, CornerTargets]:
    """Targets of top left and bottom right corners. like: a heatmap (N, C, H, W) of their size."""
    height, width = like.shape[-2:]
    cells = like.new_tensor([width / input_size[1], height / input_size[0]])
    result = {corner: no_targets(like) for corner in ("tl", "br")}
    for i, ground_truth in enumerate(ground_truths):
        centers, sizes = (x * cells for x in center_and_size(ground_truth.boxes))
        for corner, goal in result.items():
            corners = (ground_truth.boxes[:, :2] if corner == "tl" else ground_truth.boxes[:, 2:]) * cells
            positions = torch.min(corners, corners.new_tensor([width - 1, height - 1])).long()
            goal.positions.append(positions)
            for j, (x, y) in enumerate(positions.tolist()):
                extent = [math.ceil(side) for side in sizes[j].tolist()]
                add_spot(goal.heat[i, ground_truth.labels[j]], x, y, reach(extent[0], extent[1], OVERLAP))
                goal.off[i, :, y, x] = corners[j] - positions[j]
                goal.guiding[i, :, y, x] = (centers[j] - positions[j]) * (1 if corner == "tl" else -1)
                goal.centripetal[i, :, y, x] = (sizes[j] / 2).log()
    return result


def no_targets(like: Tensor) -> CornerTargets:
    """Targets of no object. like: a heatmap (N, C, H, W) of their size."""
    pairs = like.new_zeros(3, len(like), 2, *like.shape[2:])
    return CornerTargets(torch.zeros_like(like), pairs[0], pairs[1], pairs[2])
