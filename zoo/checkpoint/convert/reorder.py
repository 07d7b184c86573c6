"""Orders of rows that differ between origins: classes and anchors. Each operation is named by the rename tables.

A row is an index of a weight's or bias's first dimension, which is the output of a predictor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ANCHOR_RATIOS = 3
"""Aspect ratios per cell in every network of Detectron2's zoo: 0.5, 1, 2."""

UNUSED_COCO = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""Numbers between 1 and 90 that no COCO category has."""

COCO_ROWS = [number for number in range(1, 91) if number not in UNUSED_COCO]

OBJECTNESS_ROWS = [0, *COCO_ROWS[1:]]


def anchors(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """(sizes, ratios, values) -> (ratios, sizes, values), where a cell has several sizes."""
    count = len(rows)
    sizes = {3: 1, 12: 1, 15: 5, 60: 5}.get(count, 3)  # RPN with one or five sizes; RetinaNet has three
    return rows.reshape(sizes, ANCHOR_RATIOS, -1, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)


def coco91(rows: Tensor, shape: Sequence[int], groups: int = 1) -> Tensor:
    """Softmax over 91 numbers, background first -> 80 categories, background last; per anchor.

    groups: anchors of a cell, for other numbers of classes.
    """
    return pick(rows, shape, [*COCO_ROWS, 0], groups=groups)


def coco91_boxes(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Four box deltas for each of 91 numbers -> for each of 80 categories."""
    return pick(rows, shape, COCO_ROWS, width=4)


def coco91_foreground(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """A score or mask for each of 91 numbers -> for each of 80 categories; per anchor."""
    return pick(rows, shape, COCO_ROWS)


def coco91_no_object(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """DETR's softmax over 91 numbers and "no object" -> 80 categories, background last; for other classes the same."""
    return rows[[*COCO_ROWS, 91]] if len(rows) == 92 and shape[0] == 81 else rows


def coco91_objectness(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """The encoder's scores of two-stage Deformable DETR, of which only the first row is used, as objectness."""
    return rows[OBJECTNESS_ROWS] if len(rows) == 91 and shape[0] == 80 else rows


def patch_order(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Columns for the four neighbors of a merged patch: one after the other -> channel by channel, rows first.

    values: (C, 4 * channels) of a linear layer, or (4 * channels,) of its norm.
    """
    split = values.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return split.transpose(-1, -2).flatten(-2)


def reshape(values: Tensor, shape: Sequence[int]) -> Tensor:
    """A linear layer as a 1x1 convolution: the same numbers in another shape."""
    return values.reshape(tuple(shape)) if values.numel() == math.prod(shape) else values


def scalar(value: Tensor, shape: Sequence[int]) -> Tensor:
    """A vector with one number as that number."""
    return value.reshape(tuple(shape)) if value.numel() == math.prod(shape) else value


def without_class_token(embedding: Tensor, shape: Sequence[int]) -> Tensor:
    """A position embedding (1, 1 + n, C) without that of the class token."""
    return embedding[:, 1:] if embedding.shape[1] == shape[1] + 1 else embedding


def pick(rows: Tensor, shape: Sequence[int], chosen: Sequence[int], width: int = 1, groups: int = 1) -> Tensor:
    """Take `chosen` classes out of 91. For another number of classes only the background, class 0, moves.

    groups: anchors of a cell, each with classes of its own, where the numbers of rows do not tell.
    """
    of_coco = shape[0] // (len(chosen) * width) if shape[0] % (len(chosen) * width) == 0 else 0
    if of_coco and len(rows) == of_coco * 91 * width:
        grouped = rows.reshape(of_coco, 91, width, *rows.shape[1:])
        return grouped[:, list(chosen)].reshape(shape[0], *rows.shape[1:])
    return background_last(rows, shape, groups) if 0 in chosen else without_background(rows, shape, width)


def background_last(rows: Tensor, shape: Sequence[int], groups: int = 1) -> Tensor:
    """Background first -> background last, in each of `groups` equal groups (anchors)."""
    if len(rows) % groups:
        return rows  # not of such a network, as its shape says
    return rows.reshape(groups, -1, *rows.shape[1:]).roll(-1, 1).reshape(rows.shape)


def without_background(rows: Tensor, shape: Sequence[int], width: int = 0) -> Tensor:
    """Leave out the first class where the file has one class more than the network."""
    surplus = len(rows) - shape[0]
    return rows[surplus:] if surplus > 0 and len(rows) % surplus == 0 else rows


def filter_mean(filters: Tensor, shape: Sequence[int]) -> Tensor:
    """Mean of each filter, (C, 1, 1, 1)."""
    return filters.flatten(1).mean(1).reshape(shape)


def filter_deviation(filters: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard deviation of each filter, (C, 1, 1, 1), with the small constant that keeps it from zero."""
    return (filters.flatten(1).var(1) + 1e-5).sqrt().reshape(shape)


Operation = Callable[..., Tensor]

OPERATIONS: dict[str, Operation] = {
    "anchors": anchors,
    "coco91": coco91,
    "coco91_boxes": coco91_boxes,
    "coco91_foreground": coco91_foreground,
    "coco91_no_object": coco91_no_object,
    "coco91_objectness": coco91_objectness,
    "patch_order": patch_order,
    "reshape": reshape,
    "scalar": scalar,
    "without_class_token": without_class_token,
    "background_last": background_last,
    "without_background": without_background,
    "filter_mean": filter_mean,
    "filter_deviation": filter_deviation,
}


SILENT = -30.0
"""Bias of a number that no category has: it never wins."""


def anchors_back(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """(ratios, sizes, values) -> (sizes, ratios, values): undoes `anchors`."""
    sizes = {3: 1, 12: 1, 15: 5, 60: 5}.get(len(rows), 3)
    return rows.reshape(ANCHOR_RATIOS, sizes, -1, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)


def background_first(rows: Tensor, shape: Sequence[int], groups: int = 1) -> Tensor:
    """Background last -> background first, in each of `groups` groups: undoes `background_last`."""
    return rows.reshape(groups, -1, *rows.shape[1:]).roll(1, 1).reshape(rows.shape)


def scattered(rows: Tensor, shape: Sequence[int], chosen: Sequence[int], width: int = 1, groups: int = 1) -> Tensor:
    """Undoes `pick`: rows of unused numbers are zero, and as biases of scores `SILENT`."""
    of_coco = len(rows) // (len(chosen) * width) if len(rows) % (len(chosen) * width) == 0 else 0
    if not (of_coco and shape[0] == of_coco * 91 * width):
        return background_first(rows, shape, groups) if 0 in chosen else with_background(rows, shape)
    empty = SILENT if rows.dim() == 1 and width == 1 else 0.0
    result = rows.new_full((of_coco, 91, width, *rows.shape[1:]), empty)
    result[:, list(chosen)] = rows.reshape(of_coco, len(chosen), width, *rows.shape[1:])
    return result.reshape(tuple(shape))


def with_background(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """An empty class in front where the other side has one class more: undoes `without_background`."""
    surplus = shape[0] - len(rows)
    empty = SILENT if rows.dim() == 1 and surplus == 1 else 0.0
    return torch.cat([rows.new_full((surplus, *rows.shape[1:]), empty), rows]) if surplus > 0 else rows


def no_object_back(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Undoes `coco91_no_object`: rows of unused numbers are zero, and as biases `SILENT`."""
    if not (len(rows) == 81 and shape[0] == 92):
        return rows
    result = rows.new_full((92, *rows.shape[1:]), SILENT if rows.dim() == 1 else 0.0)
    result[[*COCO_ROWS, 91]] = rows
    return result


def objectness_back(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Undoes `coco91_objectness`."""
    if not (len(rows) == 80 and shape[0] == 91):
        return rows
    result = rows.new_full((91, *rows.shape[1:]), SILENT if rows.dim() == 1 else 0.0)
    result[OBJECTNESS_ROWS] = rows
    return result


def patch_order_back(values: Tensor, shape: Sequence[int]) -> Tensor:
    """Undoes `patch_order`."""
    return values.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., [0, 2, 1, 3], :].flatten(-2)


INVERSES: dict[str, Operation] = {
    "anchors": anchors_back,
    "coco91_no_object": no_object_back,
    "coco91_objectness": objectness_back,
    "patch_order": patch_order_back,
    "reshape": lambda values, shape: values.flatten(1) if values.dim() == 4 and values[0, 0].numel() == 1 else values,
    "scalar": lambda value, shape: value.reshape(1),
    "without_class_token": lambda embedding, shape: embedding,
    "background_last": background_first,
    "without_background": with_background,
    "coco91": lambda rows, shape, groups=1: scattered(rows, shape, [*COCO_ROWS, 0], groups=groups),
    "coco91_boxes": lambda rows, shape: scattered(rows, shape, COCO_ROWS, width=4),
    "coco91_foreground": lambda rows, shape: scattered(rows, shape, COCO_ROWS),
}


# Operations on each of the groups of classes that a predictor of SSD has, one for each anchor of a cell.
GROUPED = ("background_last", "coco91")


def invert(operation: str, rows: Tensor, shape: Sequence[int] = (), groups: int = 1) -> Tensor:
    """Put the rows of one predictor from our order into that of the other side. shape: what it has there."""
    with torch.no_grad():
        if operation in GROUPED:
            return INVERSES[operation](rows, shape or rows.shape, groups)
        return INVERSES[operation](rows, shape or rows.shape)


def apply(operation: str, rows: Tensor, shape: Sequence[int], groups: int = 1) -> Tensor:
    """Put the rows of one predictor into our order. shape: what the network expects."""
    with torch.no_grad():
        if operation in GROUPED:
            return OPERATIONS[operation](rows, shape, groups)
        return OPERATIONS[operation](rows, shape)
