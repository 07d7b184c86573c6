"""Detections as rows: COCO results with the names of the class and the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.cli.detection.inputs import Frame
from zoo.coco_format import results
from zoo.coco_format.keypoints import to_pixel_indices
from zoo.manifest import api
from zoo.structures import Detections
from zoo.visualization.draw import name_of

Row = dict[str, Any]


def to_rows(detections: Detections, frame: Frame, names: Sequence[str], pixel_center: float = 0.5) -> list[Row]:
    """COCO results, of a panoptic map one per segment; with the class's name, the file's, and the number of a frame.

    names: of the classes by label. pixel_center: `Detector.pixel_center`.
    """
    rows, labels = coco_rows(detections, image_id(frame), names, pixel_center)
    ids = results.category_ids(names)
    for row, label in zip(rows, labels):
        number = ids[label] if label < len(ids) else label + bool(names)
        row |= {"category_id": number, "category": name_of(label, names), "file": frame.source.name}
        if frame.number is not None:
            row["frame"] = frame.number
    return rows


def image_id(frame: Frame) -> int | str:
    """COCO's number for the image where the file's name is one, else its path; of a frame, with its number."""
    stem = frame.source.path.stem
    return int(stem) if frame.number is None and stem.isdecimal() else frame.name


def coco_rows(
    detections: Detections, image_id: int | str, names: Sequence[str], pixel_center: float
) -> tuple[list[Row], list[int]]:
    """The rows as COCO has them, and their labels."""
    if detections.panoptic is not None:
        rows, labels = results.panoptic_results(image_id, detections.panoptic.numpy(), len(names))
        return rows, labels.tolist()
    masks = None if detections.masks is None else results.encode_masks(detections.masks)
    boxes, scores, labels = (t.numpy() for t in (detections.boxes, detections.scores, detections.labels))
    keypoints = None
    if detections.keypoints is not None:
        keypoints = to_pixel_indices(detections.keypoints.numpy(), pixel_center)
    return results.to_results(image_id, boxes, scores, labels, masks, keypoints=keypoints), labels.tolist()


def names_for(classes: Sequence[str] | None, panoptic: bool) -> Sequence[str]:
    """Class names by label; panoptic maps number the stuff after the things, which is all that detectors name."""
    dataset = api.dataset("coco_2017_panoptic")
    if panoptic and classes is not None and tuple(classes) == dataset.classes:
        return dataset.classes + dataset.stuff_classes
    return classes or ()


def class_rows(names: Sequence[str]) -> list[Row]:
    """Each class with its label and its category id in results."""
    ids = results.category_ids(names)
    return [{"label": label, "category_id": ids[label], "class": name} for label, name in enumerate(names)]
