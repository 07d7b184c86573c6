"""From dense predictions to detections: what all dense heads share after their last convolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.models.layers.cpu_choices import LONG_LIST
from zoo.models.layers.nms import batched_nms, suppress
from zoo.models.layers.ranking import best, first_best, ranked
from zoo.models.layers.tracing import first, recording
from zoo.structures import Detections

Decode = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Level:
    """One image's predictions at one pyramid level, P = H * W * (priors per cell), row by row.

    scores: (P, C) after activation. regression: (P, D), whatever `decode` expects. priors: (P, 2 or 4).
    quality: (P,) factor of the scores (centerness, objectness, ...), after activation, or None.
    """

    scores: Tensor
    regression: Tensor
    priors: Tensor
    quality: Tensor | None = None


def flatten_map(x: Tensor, channels: int) -> Tensor:
    """One image's map (A * channels, H, W) as (H * W * A, channels)."""
    return x.permute(1, 2, 0).reshape(-1, channels)


def class_scores(logits: Tensor, use_sigmoid: bool) -> Tensor:
    """Scores (P, C) of the foreground classes; a softmax head's last column is the background."""
    return logits.sigmoid() if use_sigmoid else logits.softmax(-1)[:, :-1]


def joint(level: Level) -> Tensor:
    """Scores (P, C): the geometric mean of class scores and the level's quality."""
    assert level.quality is not None
    return (level.scores * level.quality[:, None]).sqrt()


def above_threshold(
    scores: Tensor, score_thr: float, nms_pre: int, count: int | None = None, ranks: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The best `nms_pre` of all (prior, class) pairs above a threshold.

    scores: (P, C). count: how many pairs are above, if that is known. Returns scores, prior indices and labels, each
    (K,), best first; in any order if not `ranks`.
    """
    if recording():
        return recorded_above_threshold(scores, score_thr, nms_pre)
    rows = promising(scores, nms_pre)
    flat = (scores if rows is None else scores[rows]).flatten()
    above = flat > score_thr
    pairs = (above.nonzero() if count is None else above.nonzero_static(size=count)).squeeze(1)
    values = flat[pairs]
    few = 0 < nms_pre < len(values)
    if few or ranks:
        order = best(values, nms_pre) if few else ranked(values)[1]
        values, pairs = values[order], pairs[order]
    index = pairs // scores.shape[1]
    return values, index if rows is None else rows[index], pairs % scores.shape[1]


def recorded_above_threshold(scores: Tensor, score_thr: float, nms_pre: int) -> tuple[Tensor, Tensor, Tensor]:
    """`above_threshold` for a graph, which looks only at priors that the best pairs can belong to, too."""
    if nms_pre > 0:
        rows = best_rows(scores, nms_pre).sort().values
        scores = scores[rows]
    index, labels = (scores > score_thr).nonzero(as_tuple=True)
    kept, order = ranked(scores[index, labels])
    if nms_pre <= 0:
        return kept, index[order], labels[order]
    kept, order = kept[:nms_pre], order[:nms_pre]
    return kept, rows[index[order]], labels[order]


def promising(scores: Tensor, count: int) -> Tensor | None:
    """Indices of the priors of (P, C) that the best `count` pairs can belong to, in order; None for any of them.

    They are among the `count` priors with the highest maxima, which a CPU finds sooner than it looks at all pairs.
    """
    if scores.device.type != "cpu" or not 0 < count < len(scores) or scores.numel() < LONG_LIST:
        return None
    highest = scores.amax(dim=1)
    return None if bool(highest.isnan().any()) else first_best(highest, count).sort().values


def best_rows(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` rows of (P, C) with the highest maxima; of all rows, in order, if there are no more."""
    if not (recording() and count > 0) and not 0 < count < len(scores):
        return torch.arange(len(scores), device=scores.device)
    return first(ranked(scores.max(dim=1).values)[1], count)


def best_of_classes(scores: Tensor, labels: Tensor, count: int, classes: int) -> Tensor:
    """Indices of the `count` highest scores of each of the `classes`. scores, labels: (K,)."""
    order = by_classes(scores, labels)
    sizes = labels.new_zeros(classes).scatter_add(0, labels, torch.ones_like(labels))
    before = (sizes.cumsum(0) - sizes)[labels[order]]
    return order[torch.arange(order.shape[0], device=order.device) - before < count]


def by_classes(scores: Tensor, labels: Tensor) -> Tensor:
    """Indices that put scores (K,) class by class, each from high to low.

    One sort does both: the bits of floating-point numbers, read as integers, are in the order of the numbers, but for
    the direction of negative ones. A graph cannot say that.
    """
    if recording():
        order = ranked(scores)[1]
        ranks = torch.arange(order.shape[0], device=order.device)
        return order[(labels[order] * order.shape[0] + ranks).sort().indices]
    bits = (scores.float() + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    heights = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return ((labels << 32) - heights).sort(stable=True).indices


def select(levels: Sequence[Level], cfg: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Candidates of one image: per level the best pairs above the threshold.

    cfg: `score_thr`, `nms_pre` pairs of a level, `class_pre` of a class.
    Returns priors (K, 2 or 4), regression (K, D), scores (K,) times quality, labels (K,), level after level.
    """
    priors, regressions, scores, labels = [], [], [], []
    ranks = "class_pre" not in cfg  # the best of each class are ranked below
    for level, count in zip(levels, counts(levels, cfg["score_thr"])):
        kept, index, label = above_threshold(level.scores, cfg["score_thr"], cfg.get("nms_pre", -1), count, ranks)
        priors.append(level.priors[index])
        regressions.append(level.regression[index])
        scores.append(kept if level.quality is None else kept * level.quality[index])
        labels.append(label)
    result = [torch.cat(parts) for parts in (priors, regressions, scores, labels)]
    if "class_pre" in cfg:
        keep = best_of_classes(result[2], result[3], cfg["class_pre"], levels[0].scores.shape[1])
        result = [part[keep] for part in result]
    return result[0], result[1], result[2], result[3]


def counts(levels: Sequence[Level], score_thr: float) -> list[int] | list[None]:
    """How many pairs of each level are above a threshold, so that the host waits for a GPU once; None elsewhere."""
    if recording() or levels[0].scores.device.type == "cpu":
        return [None] * len(levels)
    known: list[int] = torch.stack([(level.scores > score_thr).sum() for level in levels]).tolist()
    return known


def select_and_decode(levels: Sequence[Level], decode: Decode, cfg: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """The candidates of `select`, decoded: boxes (K, 4), scores (K,), labels (K,).

    decode: (priors (K, 2 or 4), regression (K, D)) -> boxes (K, 4) xyxy.
    """
    priors, regression, scores, labels = select(levels, cfg)
    return decode(priors, regression), scores, labels


def detect(levels: Sequence[Level], decode: Decode, cfg: Mapping[str, Any]) -> Detections:
    """Detections of one image: `select_and_decode`, then NMS within classes (`nms`, `max_per_img` of `cfg`).

    Only with `min_side`, which descriptions of MMDetection 3.x get, boxes without extent, or with a side that is not
    longer, do not take part in NMS.
    """
    boxes, scores, labels = select_and_decode(levels, decode, cfg)
    if "min_side" in cfg:
        keep = extended(boxes, cfg["min_side"])
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    return suppress(boxes, scores, labels, cfg.get("nms"), cfg.get("max_per_img", -1))


def detect_sized(levels: Sequence[Level], decode: Decode, cfg: Mapping[str, Any]) -> Detections:
    """`detect` as MMDetection 3.x does it: boxes without extent, or below `min_bbox_size`, do not take part in NMS."""
    boxes, scores, labels = select_and_decode(levels, decode, cfg)
    keep = extended(boxes, cfg.get("min_bbox_size", -1))
    return suppress(boxes[keep], scores[keep], labels[keep], cfg.get("nms"), cfg.get("max_per_img", -1))


def detect_with_rest(
    levels: Sequence[Level], decode: Decode, cfg: Mapping[str, Any]
) -> tuple[Detections, Tensor, Tensor]:
    """`detect_sized` where a prior predicts more than a box.

    decode: takes the first four numbers of the regression. Returns the detections, the other numbers of what they come
    from (K, D - 4), and their priors (K, 2 or 4).
    """
    priors, regression, scores, labels = select(levels, cfg)
    boxes = decode(priors, regression[:, :4])
    keep = extended(boxes, cfg.get("min_bbox_size", -1))
    priors, rest, boxes, scores, labels = (x[keep] for x in (priors, regression[:, 4:], boxes, scores, labels))
    keep, scores = batched_nms(boxes, scores, labels, cfg.get("nms"), cfg.get("max_per_img", -1))
    return Detections(boxes[keep], scores, labels[keep]), rest[keep], priors[keep]


def extended(boxes: Tensor, least: float) -> Tensor:
    """Indices of the boxes (K, 4) whose sides are both longer than `least`; of all where that is negative."""
    limit = least if least >= 0 else -torch.inf
    return ((boxes[:, 2:] - boxes[:, :2]) > limit).all(dim=1).nonzero().squeeze(1)
