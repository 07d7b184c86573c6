"""A detector and its images, cut into the stages that a protocol times or leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from zoo.coco_format.results import encode_masks
from zoo.preprocessing.batch import pad_to_batch
from zoo.structures import Detections, Sample

ImageSource = str | Path | np.ndarray


class Workload(Protocol):
    """What protocols need. A workload is a sequence of batches; each goes through load, compute and evaluate."""

    batch: int

    def __len__(self) -> int:
        """Number of batches."""
        ...

    def load(self, index: int) -> Any:
        """Decode, resize, normalize and pad batch `index`, on the CPU."""
        ...

    def compute(self, batch: Any) -> Any:
        """Copy to the device, run network and post-processing, copy the results to the CPU."""
        ...

    def evaluate(self, results: Any) -> Any:
        """Turn results into what an evaluator takes: rows, and masks run-length encoded."""
        ...


@dataclass
class Batch:
    """images: (N, 3, H, W) float32 on the CPU. samples: what the images were."""

    images: Tensor
    samples: list[Sample]


@dataclass
class DetectorWorkload:
    """A network of the zoo on images (files, or BGR uint8 arrays of (H, W, 3)).

    model: has `preprocess(image) -> Sample` and `predict(images, geometries) -> list[Detections]`, on `device` already.
    precision: torch.bfloat16 or torch.float16 run under autocast, None in float32.
    """

    model: Any
    images: Sequence[ImageSource]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch: int = 1
    precision: torch.dtype | None = None
    channels_last: bool = False

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch)

    def load(self, index: int) -> Batch:
        """Preprocess the images of batch `index` and pad them to a common shape."""
        images = self.images[index * self.batch : (index + 1) * self.batch]
        samples = [self.model.preprocess(image) for image in images]
        return Batch(pad_to_batch([sample.image for sample in samples]), samples)

    def compute(self, batch: Batch) -> list[Detections]:
        """Detections in original image coordinates, on the CPU."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        with torch.inference_mode(), self.autocast():
            images = batch.images.to(self.device, memory_format=layout, non_blocking=True)
            result = self.model.predict(images, [sample.geometry for sample in batch.samples])
            return [detections.to("cpu") for detections in result]

    def evaluate(self, results: list[Detections]) -> list[dict[str, Any]]:
        """Rows as COCO's result format has them, without image ids."""
        return [row for detections in results for row in coco_rows(detections)]

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision where it was asked for."""
        if self.precision is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)


def coco_rows(detections: Detections) -> list[dict[str, Any]]:
    """One dict per detection: category index, score, box as (x, y, w, h), and the mask as COCO RLE."""
    corners = detections.boxes.tolist()
    rows = [
        {"label": label, "score": score, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for (x1, y1, x2, y2), score, label in zip(corners, detections.scores.tolist(), detections.labels.tolist())
    ]
    if detections.masks is not None:
        for row, mask in zip(rows, encode_masks(detections.masks)):
            row["segmentation"] = mask
    return rows
