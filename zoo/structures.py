"""The value types that modules exchange.

Boxes are xyxy in pixels, float32. Sizes are (height, width). Labels are 0-based.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import UsageError

SHOWN = 20
"""Rows of detections in a notebook."""


@dataclass
class ImageGeometry:
    """Position of one image inside a network input, and the image that results refer to.

    size: (h, w) of the image's content inside the padded input, in input pixels.
    output_size: (h, w) of the image that results refer to.
    scale: (sx, sy), input pixels per output pixel.
    offset: (x, y) of the content's corner inside the input; non-zero only for centered padding (CornerNet).
    """

    size: tuple[int, int]
    output_size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of_input(cls, size: tuple[int, int]) -> ImageGeometry:
        """Results in network-input coordinates."""
        return cls(size=(int(size[0]), int(size[1])), output_size=(int(size[0]), int(size[1])))

    def to_output(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) from input to output coordinates."""
        if self.scale == (1.0, 1.0) and self.offset == (0.0, 0.0):
            return boxes
        x = (boxes[..., 0::2] - self.offset[0]) / self.scale[0]
        y = (boxes[..., 1::2] - self.offset[1]) / self.scale[1]
        return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)

    def keypoints_to_output(self, keypoints: Tensor) -> Tensor:
        """Keypoints (..., 3) as x, y, score from input to output coordinates."""
        if self.scale == (1.0, 1.0) and self.offset == (0.0, 0.0):
            return keypoints
        x = (keypoints[..., 0] - self.offset[0]) / self.scale[0]
        y = (keypoints[..., 1] - self.offset[1]) / self.scale[1]
        return torch.stack([x, y, keypoints[..., 2]], dim=-1)


@dataclass
class Sample:
    """One preprocessed image.

    Attributes:
        image: (3, H, W) float32, normalized and padded.
        size: (h, w) before padding.
        scale: (sx, sy), input pixels per original pixel.
        original_size: (h, w) of the original image.
        offset: (x, y) of the content's corner inside `image`.
    """

    image: Tensor
    size: tuple[int, int]
    scale: tuple[float, float]
    original_size: tuple[int, int]
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def geometry(self) -> ImageGeometry:
        """Results in original image coordinates."""
        return ImageGeometry(self.size, self.original_size, self.scale, self.offset)


@dataclass
class Detections:
    """The detections in one image, best first.

    Attributes:
        boxes: (K, 4) float32 xyxy, in pixels.
        scores: (K,) float32, in descending order.
        labels: (K,) int64, 0-based.
        masks: (K, H, W) bool or None.
        panoptic: (H, W) int64 or None: label + 1000 * instance; void = number of classes.
        mask_scores: (K,) float32 or None: the scores that rank masks for mask AP, if they differ from `scores` (Mask
            Scoring R-CNN).
        keypoints: (K, P, 3) float32 or None: x, y in pixels, score.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
    panoptic: Tensor | None = None
    mask_scores: Tensor | None = None
    keypoints: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls, like: Tensor) -> Detections:
        """No detections, on the device of `like`."""
        return cls(like.new_zeros((0, 4)), like.new_zeros((0,)), like.new_zeros((0,), dtype=torch.long))

    def __getitem__(self, index: Tensor | slice) -> Detections:
        """The detections that `index` selects (a mask, indices or a slice)."""
        rows = (self.boxes, self.scores, self.labels, self.masks, self.mask_scores, self.keypoints)
        boxes, scores, labels, masks, mask_scores, keypoints = (None if t is None else t[index] for t in rows)
        return Detections(boxes, scores, labels, masks, self.panoptic, mask_scores, keypoints)  # type: ignore[arg-type]

    def to_output(self, geometry: ImageGeometry) -> Detections:
        """Boxes and keypoints converted from input to output coordinates; masks are in output coordinates already."""
        keypoints = None if self.keypoints is None else geometry.keypoints_to_output(self.keypoints)
        return replace(self, boxes=geometry.to_output(self.boxes), keypoints=keypoints)

    def to(self, device: torch.device | str) -> Detections:
        """The same detections on another device."""
        return Detections(*(None if t is None else t.to(device) for t in self.tensors()))  # type: ignore[arg-type]

    def tensors(self) -> tuple[Tensor | None, ...]:
        """The fields, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def _repr_html_(self) -> str:
        """A table of the best detections, for notebooks."""
        parts = {"masks": self.masks, "panoptic map": self.panoptic, "keypoints": self.keypoints}
        extras = "".join(f", with {name}" for name, value in parts.items() if value is not None)
        rest = len(self) - SHOWN
        rows = "".join(map(_html_row, self.labels.tolist(), self.scores.tolist(), self.boxes.tolist()[:SHOWN]))
        more = f"<tr><td colspan=3>and {rest} more</td></tr>" if rest > 0 else ""
        head = "<tr><th>label</th><th>score</th><th>box (x1, y1, x2, y2)</th></tr>"
        return f"<table><caption>{len(self)} detections{extras}</caption>{head}{rows}{more}</table>"

    def to_supervision(self, classes: Sequence[str] | None = None) -> Any:
        """The same as `supervision.Detections`: boxes, scores, labels and masks, with `class_name` where given.

        Args:
            classes: Names by label, such as a model's `classes`.

        Raises:
            UsageError: supervision is not installed, or there is a panoptic map, which it does not support.
        """
        self._require_boxes("supervision")
        try:
            import supervision
        except ImportError:
            raise UsageError("to_supervision needs supervision: pip install supervision") from None
        return supervision.Detections(
            xyxy=self.boxes.cpu().numpy(),
            mask=None if self.masks is None else self.masks.cpu().numpy(),
            confidence=self.scores.cpu().numpy(),
            class_id=self.labels.cpu().numpy(),
            data={} if classes is None else {"class_name": np.array([classes[i] for i in self.labels.tolist()], str)},
        )

    def to_fiftyone(self, classes: Sequence[str] | None = None, size: tuple[int, int] | None = None) -> Any:
        """Convert to `fiftyone.Detections`, whose boxes are relative to the image and whose masks cover only their box.

        Args:
            classes: Names by label; without them, labels are numbers.
            size: (height, width) of the image; not needed with masks, which have this size.

        Raises:
            UsageError: FiftyOne is not installed, the size is unknown, or there is a panoptic map.
        """
        self._require_boxes("FiftyOne")
        if self.masks is not None:
            size = (self.masks.shape[1], self.masks.shape[2])
        if size is None:
            raise UsageError("FiftyOne's boxes are relative to the image: pass its size, (height, width).")
        try:
            import fiftyone
        except ImportError:
            raise UsageError("to_fiftyone needs FiftyOne: pip install fiftyone") from None
        return fiftyone.Detections(detections=[fiftyone.Detection(**row) for row in self._relative_rows(classes, size)])

    def _relative_rows(self, classes: Sequence[str] | None, size: tuple[int, int]) -> list[dict[str, Any]]:
        """What `fiftyone.Detection` takes, one for each detection."""
        sides = torch.tensor([size[1], size[0], size[1], size[0]])
        rows = []
        for number, (x1, y1, x2, y2) in enumerate((self.boxes.cpu() / sides).clamp(0, 1).tolist()):
            label = int(self.labels[number])
            row: dict[str, Any] = {
                "label": str(label) if classes is None else classes[label],
                "bounding_box": [x1, y1, x2 - x1, y2 - y1],
                "confidence": float(self.scores[number]),
            }
            if self.masks is not None:
                row["mask"] = self._inside(number)
            rows.append(row)
        return rows

    def _inside(self, number: int) -> Any:
        """The part of a mask inside its box, at least one pixel."""
        assert self.masks is not None
        height, width = self.masks.shape[1:]
        x1, y1, x2, y2 = self.boxes[number].round().int().tolist()
        left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
        return (
            self.masks[number, top : max(min(y2, height), top + 1), left : max(min(x2, width), left + 1)].cpu().numpy()
        )

    def _require_boxes(self, project: str) -> None:
        """Raise UsageError for a panoptic map."""
        if self.panoptic is not None:
            raise UsageError(f"{project} has no panoptic maps; take `panoptic` itself.")


def _html_row(label: int, score: float, box: Sequence[float]) -> str:
    """A row of the table for notebooks."""
    corners = ", ".join(f"{value:.1f}" for value in box)
    return f"<tr><td>{label}</td><td>{score:.3f}</td><td>{corners}</td></tr>"
