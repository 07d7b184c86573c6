"""Detections drawn on a picture: boxes with labels, masks, and panoptic maps in colours."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError
from zoo.structures import INSTANCE, Detections

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

OPACITY = 0.5
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    picture: Picture, detections: Detections, classes: Sequence[str] | None = None, score_thr: float = 0.3
) -> Picture:
    """A copy of `picture` (BGR uint8 (H, W, 3)) with the detections of at least `score_thr` on it.

    classes: names by label, numbers without them. detections: in the picture's own pixels. A panoptic map takes the
    place of boxes and masks.
    """
    canvas = picture.copy()
    if detections.panoptic is not None:
        draw_panoptic(canvas, detections.panoptic.cpu().numpy(), classes)
        return canvas
    chosen = detections[detections.scores >= score_thr].to("cpu")
    labels = chosen.labels.tolist()
    if chosen.masks is not None:
        for number, (mask, label) in enumerate(zip(chosen.masks.numpy(), labels)):
            tint(canvas, mask, colour(label, number))
    for box, score, label in reversed(list(zip(chosen.boxes.tolist(), chosen.scores.tolist(), labels))):
        draw_box(canvas, box, f"{name_of(label, classes)} {score:.2f}", colour(label))
    return canvas


def draw_box(canvas: Picture, box: Sequence[float], text: str, shade: Colour) -> None:
    """A rectangle (xyxy) with its text above the upper left corner, or inside where there is no room above."""
    thickness = max(1, round(max(canvas.shape[:2]) / 500))
    x1, y1, x2, y2 = (round(v) for v in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), shade, thickness, cv2.LINE_AA)
    write(canvas, text, (x1, y1), shade)


def write(canvas: Picture, text: str, corner: tuple[int, int], shade: Colour) -> None:
    """Text on a filled background whose lower left corner is `corner`, moved inside the picture."""
    size = max(0.4, min(canvas.shape[:2]) / 1200)
    (width, height), below = cv2.getTextSize(text, FONT, size, 1)
    x = int(np.clip(corner[0], 0, max(canvas.shape[1] - width, 0)))
    y = int(np.clip(corner[1], height + below, max(canvas.shape[0], height + below)))
    cv2.rectangle(canvas, (x, y - height - below), (x + width, y), shade, cv2.FILLED)
    ink = (0, 0, 0) if sum(shade) > 380 else (255, 255, 255)
    cv2.putText(canvas, text, (x, y - below // 2), FONT, size, ink, 1, cv2.LINE_AA)


def tint(canvas: Picture, mask: NDArray[np.bool_], shade: Colour) -> None:
    """Mix a colour into the pixels of a mask (H, W); only its bounding box is touched."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, region = mask[part], canvas[part]
    region[inside] = (region[inside] * (1 - OPACITY) + np.array(shade) * OPACITY).astype(np.uint8)


def draw_panoptic(canvas: Picture, panoptic: NDArray[np.integer], classes: Sequence[str] | None = None) -> None:
    """Tint every segment of a panoptic map (H, W), label + 1000 * instance, and name it; void stays as it is."""
    segments = np.unique(panoptic).tolist()
    void = len(classes) if classes is not None else None
    shown = [segment for segment in segments if segment >= 0 and segment % INSTANCE != void]
    for segment in shown:
        tint(canvas, panoptic == segment, colour(segment % INSTANCE, segment // INSTANCE))
    for segment in shown:
        rows, columns = np.nonzero(panoptic == segment)
        middle = len(rows) // 2  # a pixel of the segment itself, in its middle row
        corner = (int(columns[middle]), int(rows[middle]))
        write(canvas, name_of(segment % INSTANCE, classes), corner, colour(segment % INSTANCE))


def colour(label: int, instance: int = 0) -> Colour:
    """BGR of a label: hues in steps of the golden ratio, so that neighbours differ; instances vary in brightness."""
    hue = (0.08 + label * 0.618034) % 1
    value = 0.95 - 0.13 * (instance % 4)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75 if label % 2 else 0.95, value)
    return round(255 * blue), round(255 * green), round(255 * red)


def name_of(label: int, classes: Sequence[str] | None) -> str:
    """A label's name, its number without one."""
    return classes[label] if classes is not None and label < len(classes) else str(label)


def save(picture: Picture, path: Path) -> None:
    """Write a picture in the format of the file's suffix; the file appears only when it is whole."""
    try:
        content = cv2.imencode(path.suffix, picture)[1]
    except cv2.error as error:
        raise ZooError(f"{path}: there is no way to write a picture as '{path.suffix}'.") from error
    part = path.with_name(path.name + ".part")
    part.write_bytes(content.tobytes())
    os.replace(part, path)
