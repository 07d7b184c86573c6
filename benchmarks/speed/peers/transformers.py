"""Hugging Face's DETR on our inputs, so that only the networks and their post-processing differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from zoo.checkpoint.convert.reorder import COCO_ROWS
from zoo.checkpoint.convert.to_transformers import write_transformers
from zoo.errors import UsageError
from zoo.structures import Detections, ImageGeometry, Sample


class TransformersDetector(nn.Module):
    """`DetrForObjectDetection` with the methods of ours.

    folder: of `config.json` and `model.safetensors`. preprocess: makes the inputs; give it our network's. Raises
    UsageError where transformers, or timm for its backbone, is not installed.
    """

    def __init__(self, folder: Path, preprocess: Callable[[Any], Sample] | None) -> None:
        super().__init__()
        try:
            import timm  # noqa: F401 (transformers makes its backbone with it)
            from transformers import DetrForObjectDetection
        except ImportError as error:
            raise UsageError(
                f"this peer needs transformers and timm: pip install transformers timm ({error})"
            ) from None
        self.network = DetrForObjectDetection.from_pretrained(folder).eval()
        self.preprocess = preprocess

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """images: (N, 3, H, W). Detections in the geometries' output coordinates, labels as ours."""
        mask = torch.zeros(len(images), *images.shape[2:], dtype=torch.long, device=images.device)
        for row, geometry in zip(mask, geometries):
            row[: geometry.size[0], : geometry.size[1]] = 1
        outputs = self.network(pixel_values=images, pixel_mask=mask)
        return [detected(*one) for one in zip(outputs.logits, outputs.pred_boxes, geometries)]


def detected(logits: Tensor, boxes: Tensor, geometry: ImageGeometry) -> Detections:
    """One image's detections, as transformers' `post_process_object_detection` makes them, best first.

    logits: (Q, classes + 1). boxes: (Q, 4) cxcywh as shares of the image.
    """
    scores, labels = logits.softmax(-1)[:, :-1].max(-1)
    if logits.shape[1] == len(NUMBERS) + 1:
        labels = NUMBERS.to(labels.device)[labels]
    height, width = geometry.size
    corners = box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])
    order = scores.argsort(descending=True)
    return Detections(geometry.to_output(corners[order]), scores[order], labels[order])


# transformers' 91 COCO numbers -> our 80 labels; numbers that no category has keep out of the way at 80.
NUMBERS = torch.full((91,), 80)
NUMBERS[torch.tensor(COCO_ROWS)] = torch.arange(80)


def write(state: dict[str, Tensor], folder: Path, classes: Sequence[str]) -> Path:
    """Our weights as the folder that transformers reads. Raises MismatchedCheckpoint for other networks than DETR."""
    return write_transformers(state, folder / "transformers", classes)
