"""Mistakes in boxes, each with the way back: what the four numbers mean, and in which frame they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INPUTS = (300, 320, 416, 512, 550, 608, 640, 736, 768, 800, 896, 1024, 1280, 1333)  # common sides of network inputs


class BoxMistake(NamedTuple):
    """A mistake and the way back. undo: (N, 4) boxes of the file, (N, 2) height and width of their images -> xywh."""

    key: str
    sentence: str
    undo: Callable[[Floats, Floats], Floats]


class Frame(NamedTuple):
    """Where boxes are, if not in the image. back: (N, 2) x and y of corners, (N, 2) height and width -> the image's.

    moved: whether it is more than a scale, so that widths must be computed from corners.
    """

    key: str
    sentence: str
    back: Callable[[Floats, Floats], Floats]


LAYOUTS: dict[str, tuple[str, Callable[[Floats], Floats]]] = {
    "xywh": ("", lambda b: b),
    "xyxy": (
        "Boxes are written as two corners (x1, y1, x2, y2), not as corner, width and height.",
        lambda b: np.column_stack([b[:, :2], b[:, 2:] - b[:, :2]]),
    ),
    "center": (
        "Boxes are written as center, width and height, not as upper left corner, width and height.",
        lambda b: np.column_stack([b[:, :2] - b[:, 2:] / 2, b[:, 2:]]),
    ),
    "yxyx": (
        "Boxes are written as (y1, x1, y2, x2), not as x, y, width and height.",
        lambda b: np.column_stack([b[:, 1::-1], b[:, 3:1:-1] - b[:, 1::-1]]),
    ),
    "yxhw": (
        "x and y are exchanged in boxes: they are written as y, x, height and width.",
        lambda b: b[:, [1, 0, 3, 2]],
    ),
}


def mistakes(boxes: Floats, inputs: tuple[int, ...] = (), longest_side: float = 0.0) -> Iterator[BoxMistake]:
    """All ways in which boxes are known to be wrong; the first one is none.

    inputs: sides of the model's input. longest_side: of any image; 0 where factors from the corner are not looked for.
    """
    for layout, (meaning, to_xywh) in LAYOUTS.items():
        factors = other_inputs(to_xywh(boxes), longest_side) if layout in ("xywh", "xyxy") else ()
        for frame in (*frames(boxes, inputs), *factors):
            key = "-".join(part for part in (layout if meaning else "", frame.key) if part)
            yield BoxMistake(key, " ".join(filter(None, (meaning, frame.sentence))), undoing(to_xywh, frame))


def undoing(to_xywh: Callable[[Floats], Floats], frame: Frame) -> Callable[[Floats, Floats], Floats]:
    """The way back from a layout in a frame."""

    def undo(boxes: Floats, sizes: Floats) -> Floats:
        xywh = to_xywh(boxes)
        corner, other = frame.back(xywh[:, :2], sizes), frame.back(xywh[:, :2] + xywh[:, 2:], sizes)
        low, high = np.minimum(corner, other), np.maximum(corner, other)
        # A mirrored box has its corners exchanged, a box that was nonsense before stays so.
        sensible = (xywh[:, 2:] >= 0).all(1, keepdims=True)
        return np.column_stack([np.where(sensible, low, corner), np.where(sensible, high - low, other - corner)])

    return undo


def frames(boxes: Floats, inputs: tuple[int, ...]) -> Iterator[Frame]:
    """The frames that boxes may be in; the first one is the image."""
    yield Frame("", "", lambda p, s: p)
    yield Frame("normalized", "Coordinates are fractions of the image's width and height.", lambda p, s: p * s[:, ::-1])
    square = "Coordinates are fractions of the padded square, not of the image."
    yield Frame("normalized-square", square, lambda p, s: p * longest(s))
    for most in (100, 1000):
        sentence = f"Coordinates are {'percent' if most == 100 else 'thousandths'} of the image's width and height."
        yield Frame(f"of-{most}", sentence, scaled_to(most))
    yield from mapped()
    yield from mirrored()
    if len(boxes):
        for side in sides(boxes, inputs):
            yield from in_network(side)


def mapped() -> Iterator[Frame]:
    """Boxes that were brought back from the network's input in the wrong way."""
    stretched = "Boxes were scaled back as if the image had been stretched to the input, but it was letterboxed."
    yield Frame("letterbox-as-stretch", stretched, lambda p, s: p * longest(s) / s[:, ::-1])
    boxed = "Boxes were scaled back as if the image had been letterboxed, but it was stretched to the input."
    yield Frame("stretch-as-letterbox", boxed, lambda p, s: p * s[:, ::-1] / longest(s))
    centered = "The centered padding of the input was not subtracted from the boxes."
    yield Frame("center-padding", centered, lambda p, s: p - (longest(s) - s[:, ::-1]) / 2)
    twice = "A centered padding was subtracted from the boxes, but the padding is on the right and below."
    yield Frame("no-center-padding", twice, lambda p, s: p + (longest(s) - s[:, ::-1]) / 2)
    swapped = "Width and height of the images were exchanged when boxes were scaled."
    yield Frame("width-height", swapped, lambda p, s: p * s[:, ::-1] / s)


def mirrored() -> Iterator[Frame]:
    """Boxes of images that were mirrored or turned for the network."""
    across = "Boxes are those of the mirrored image: the flip was not undone."
    yield Frame("mirrored", across, lambda p, s: np.column_stack([s[:, 1] - p[:, 0], p[:, 1]]))
    down = "Boxes are upside down: y was counted from the bottom, or a vertical flip was not undone."
    yield Frame("upside-down", down, lambda p, s: np.column_stack([p[:, 0], s[:, 0] - p[:, 1]]))


def in_network(side: int) -> Iterator[Frame]:
    """Boxes in the coordinates of an input of this side."""
    text = f"Boxes are in coordinates of the network's input ({side} pixels), not of the image"
    yield Frame(f"input-{side}-letterbox", f"{text}; it was letterboxed.", lambda p, s: p * longest(s) / side)
    yield Frame(f"input-{side}-stretch", f"{text}; it was stretched.", lambda p, s: p * s[:, ::-1] / side)
    yield Frame(
        f"input-{side}-centered",
        f"{text}; it was letterboxed with centered padding.",
        lambda p, s: p * longest(s) / side - (longest(s) - s[:, ::-1]) / 2,
    )
    if side >= 400:
        longer = round(side * 1333 / 800)
        yield Frame(
            f"input-{side}-short-side",
            f"{text}; its shorter side had so many pixels.",
            lambda p, s: p / np.minimum(side / s.min(1, keepdims=True), longer / longest(s)),
        )


def other_inputs(boxes: Floats, longest_side: float) -> Iterator[Frame]:
    """Boxes (xywh) that were scaled back with another input size than the network's: one factor from the corner."""
    if not len(boxes) or not longest_side:
        return
    extent = float(np.percentile(boxes[:, :2] + boxes[:, 2:], 99.5))
    for factor, used, right in FACTORS:
        if 0.6 * longest_side <= extent / factor <= 1.2 * longest_side:
            text = (
                f"Boxes are {factor:.2f} times as large as they should be, from the image's corner: they were scaled "
                f"back with another size of the network's input, such as {used} in place of {right}."
            )
            yield Frame("resize-scale", text, lambda p, s, by=factor: p / by)  # type: ignore[misc]


def input_factors() -> list[tuple[float, int, int]]:
    """(factor, size that was used, size that is right) of different common inputs, each factor once."""
    listed = sorted((right / used, used, right) for used in INPUTS for right in INPUTS if used != right)
    result: list[tuple[float, int, int]] = []
    for factor, used, right in listed:
        if abs(np.log(factor)) > LEAST and (not result or factor > SAME * result[-1][0]):
            result.append((factor, used, right))
    return result


LEAST = 0.04  # logarithm of a factor; a smaller one is the bias of a detector
SAME = 1.005  # factors this close are one
FACTORS = input_factors()


def scaled_to(most: int) -> Callable[[Floats, Floats], Floats]:
    """From 0 to `most` across the image."""
    return lambda p, s: p * s[:, ::-1] / most


def longest(sizes: Floats) -> Floats:
    """(N, 1) the longer side."""
    return np.asarray(sizes.max(1, keepdims=True))


def sides(boxes: Floats, inputs: tuple[int, ...]) -> list[int]:
    """Sides that the network's input may have: those of the model, else those that boxes could fill."""
    extent = float(np.percentile(boxes, 99.5))
    common = [side for side in INPUTS if 0.4 * side <= extent <= 2.2 * side]
    return list(dict.fromkeys([*inputs, *common]))


def turned(boxes: Floats, sizes: Floats, quarters: int) -> Floats:
    """xywh boxes turned clockwise by quarters of a turn, from an image to one of these sizes."""
    x, y, w, h = boxes.T
    height, width = sizes.T
    if quarters == 1:
        return np.column_stack([width - y - h, x, h, w])
    if quarters == 2:
        return np.column_stack([width - x - w, height - y - h, w, h])
    return np.column_stack([y, height - x - w, h, w])
