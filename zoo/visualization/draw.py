"""Detections drawn on an image: boxes with labels, masks, keypoints, and panoptic maps in colors."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.coco_format.keypoints import PERSON, SKELETON
from zoo.coco_format.panoptic import INSTANCE
from zoo.errors import ZooError
from zoo.structures import Detections
from zoo.system.atomic_write import atomic_write
from zoo.visualization.label_layout import LabelLayout, around, beside

Canvas = NDArray[np.uint8]
Color = tuple[int, int, int]

OPACITY = 0.5
FONT = cv2.FONT_HERSHEY_SIMPLEX
SMALL = 32  # boxes with a shorter side have thin lines
MARGIN = 2  # pixels beside a label's text


def draw(image: Canvas, detections: Detections, classes: Sequence[str] | None = None, score_thr: float = 0.3) -> Canvas:
    """A copy of `image` (BGR uint8 (H, W, 3)) with the detections of at least `score_thr` on it.

    classes: names by label, numbers without them. detections: in the image's own pixels. A panoptic map takes the
    place of boxes and masks. Where labels would cover each other, the better detection keeps its label.
    """
    canvas = image.copy()
    if detections.panoptic is not None:
        draw_panoptic(canvas, detections.panoptic.cpu().numpy(), classes)
        return canvas
    chosen = detections[detections.scores >= score_thr].to("cpu")
    labels = chosen.labels.tolist()
    shades = [color(label, number) for number, label in enumerate(labels)]
    if chosen.masks is not None:
        for number in chosen.masks.flatten(1).sum(1).argsort(descending=True).tolist():  # what is in front is smaller
            tint(canvas, chosen.masks[number].numpy(), shades[number])
    boxes = [(round(x1), round(y1), round(x2), round(y2)) for x1, y1, x2, y2 in chosen.boxes.tolist()]
    for box, shade in reversed(list(zip(boxes, shades))):
        draw_box(canvas, box, shade)
    if chosen.keypoints is not None:
        for points in chosen.keypoints.flip(0):
            draw_keypoints(canvas, points.numpy()[:, :2])
    positions = LabelLayout(canvas.shape[:2])
    for box, score, label, shade in zip(boxes, chosen.scores.tolist(), labels, shades):
        write(canvas, f"{name_of(label, classes)} {score:.2f}", shade, positions, partial(around, box))
    return canvas


def draw_box(canvas: Canvas, box: Sequence[int], shade: Color) -> None:
    """A rectangle (xyxy) with a thin dark edge, which keeps it visible where the image has its color."""
    small = min(box[2] - box[0], box[3] - box[1]) < SMALL
    thickness = max(1 if small else 2, round(max(canvas.shape[:2]) / 400) - small)
    corners = (box[0], box[1]), (box[2], box[3])
    cv2.rectangle(canvas, *corners, tuple(part // 4 for part in shade), thickness + 1, cv2.LINE_AA)
    cv2.rectangle(canvas, *corners, shade, thickness, cv2.LINE_AA)


def draw_keypoints(canvas: Canvas, points: NDArray[np.float32]) -> None:
    """Dots at keypoints (P, 2), x and y, of one object; a person's are joined by a skeleton."""
    radius = max(1, round(max(canvas.shape[:2]) / 300))
    positions = [(int(x), int(y)) for x, y in points.clip(-1e6, 1e6).tolist()]
    if len(positions) == len(PERSON):
        for number, (first, second) in enumerate(SKELETON):
            cv2.line(canvas, positions[first], positions[second], color(number), radius, cv2.LINE_AA)
    for number, position in enumerate(positions):
        cv2.circle(canvas, position, radius + 1, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(canvas, position, radius, color(number), cv2.FILLED, cv2.LINE_AA)


def write(
    canvas: Canvas,
    text: str,
    shade: Color,
    positions: LabelLayout,
    corners: Callable[[int, int], Sequence[tuple[int, int]]],
) -> None:
    """Text on a filled background, at the first free of the corners for its width and height; none if all are taken."""
    size = max(0.4, min(canvas.shape[:2]) / 1200)
    (width, height), below = cv2.getTextSize(text, FONT, size, 1)
    width, height = width + 2 * MARGIN, height + below
    position = positions.find(corners(width, height), width, height)
    if position is None:
        return
    cv2.rectangle(canvas, position[:2], (position[2] - 1, position[3] - 1), shade, cv2.FILLED)
    ink = (0, 0, 0) if luminance(shade) > 110 else (255, 255, 255)
    cv2.putText(canvas, text, (position[0] + MARGIN, position[3] - below // 2 - 1), FONT, size, ink, 1, cv2.LINE_AA)


def luminance(shade: Color) -> float:
    """How bright a BGR color looks, 0 to 255 (ITU-R BT.601)."""
    return 0.114 * shade[0] + 0.587 * shade[1] + 0.299 * shade[2]


def tint(canvas: Canvas, mask: NDArray[np.bool_], shade: Color) -> None:
    """Mix a color into the pixels of a mask (H, W), and draw its outline; only its bounding box is touched."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, region = mask[part], canvas[part]
    region[inside] = (region[inside] * (1 - OPACITY) + np.array(shade) * OPACITY).astype(np.uint8)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    shifted = [outline + np.array([columns[0], rows[0]], outline.dtype) for outline in outlines]
    cv2.drawContours(canvas, shifted, -1, shade, 1)


def draw_panoptic(canvas: Canvas, panoptic: NDArray[np.integer], classes: Sequence[str] | None = None) -> None:
    """Tint every segment of a panoptic map (H, W), label + 1000 * instance, and name it; void stays as it is."""
    segments, areas = np.unique(panoptic, return_counts=True)
    void = len(classes) if classes is not None else None
    shown = [s for s in segments[np.argsort(-areas)].tolist() if s >= 0 and s % INSTANCE != void]
    shades = {segment: color(segment % INSTANCE, segment // INSTANCE) for segment in shown}
    for segment in shown:
        tint(canvas, panoptic == segment, shades[segment])
    positions = LabelLayout(canvas.shape[:2])
    for segment in shown:
        corners = partial(beside, innermost(panoptic == segment))
        write(canvas, name_of(segment % INSTANCE, classes), shades[segment], positions, corners)


def innermost(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """(x, y) of the pixel of a mask (H, W) that is farthest from its edge; the image's border counts as one."""
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    x, y = cv2.minMaxLoc(distance)[3]
    return x - 1, y - 1


def color(label: int, instance: int = 0) -> Color:
    """BGR of a label: hues in steps of the golden ratio, so that neighbors differ.

    Instances of a label differ a little in hue and brightness, so that their boxes and masks can be told apart.
    """
    step = (instance * 3) % 7
    hue = (0.08 + label * 0.618034 + 0.012 * (step - 3) * (instance > 0)) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75 if label % 2 else 0.95, 0.97 - 0.05 * step)
    return round(255 * blue), round(255 * green), round(255 * red)


def name_of(label: int, classes: Sequence[str] | None) -> str:
    """A label's name, its number without one."""
    return classes[label] if classes is not None and label < len(classes) else str(label)


def save(image: Canvas, path: Path) -> None:
    """Write an image in the format of the file's suffix; the file appears only when it is whole."""
    try:
        content = cv2.imencode(path.suffix, image)[1]
    except cv2.error as error:
        raise ZooError(f"{path}: there is no way to write an image as '{path.suffix}'.") from error
    atomic_write(path, content.tobytes())
