"""Hugging Face's networks on our inputs: DETR and its relatives, MaskFormer and Mask2Former.

Queries become detections as their image processor makes them. Masks become instances as ours do, since transformers'
own post-processing works at one size (384 x 384 for Mask2Former) whatever the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checkpoint.convert.to_transformers import write_transformers
from zoo.errors import UsageError
from zoo.models.coders.delta import clip
from zoo.structures import Detections, ImageGeometry

PROCESSORS = {"DabDetrForObjectDetection": "ConditionalDetrImageProcessor"}
"""Whose post-processing a network has, where that is not called like it."""


class TransformersDetector(nn.Module):
    """One of transformers' networks with the methods of ours.

    folder: of `config.json` and `model.safetensors`. ours: the network with the same weights, whose inputs, number of
    detections and fusion of masks it gets. Raises UsageError where transformers, or timm for its backbone, is not
    installed.
    """

    def __init__(self, folder: Path, ours: Any) -> None:
        super().__init__()
        try:
            import timm  # noqa: F401 (transformers makes some backbones with it)
            import transformers
        except ImportError as error:
            raise UsageError(
                f"this peer needs transformers and timm: pip install transformers timm ({error})"
            ) from None
        config = transformers.AutoConfig.from_pretrained(folder)
        self.kind: str = config.architectures[0]
        self.network = getattr(transformers, self.kind).from_pretrained(folder).eval()
        self.preprocess = ours.preprocess
        names = config.id2label
        self.labels = {number: label for label, number in enumerate(i for i in sorted(names) if names[i] != "N/A")}
        if self.kind.endswith("Segmentation"):
            self.fused = ours.fused
        else:
            name = PROCESSORS.get(self.kind, self.kind.removesuffix("ForObjectDetection") + "ImageProcessor")
            self.processor = getattr(transformers, name)()
            most = ours.description["test_cfg"]["max_per_img"]
            # By softmax each query has one detection; by sigmoid the best pairs of query and class are taken.
            self.selection = {} if self.kind == "DetrForObjectDetection" else {"top_k": most}

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """images: (N, 3, H, W). Detections in the geometries' output coordinates, labels as ours."""
        mask = torch.zeros(len(images), *images.shape[2:], dtype=torch.long, device=images.device)
        for row, geometry in zip(mask, geometries):
            row[: geometry.size[0], : geometry.size[1]] = 1
        outputs = self.network(pixel_values=images, pixel_mask=mask)
        if self.kind.endswith("Segmentation"):
            size, pairs = (
                (images.shape[2], images.shape[3]),
                (outputs.class_queries_logits, outputs.masks_queries_logits),
            )
            return [self.fused(*one, geometry, size) for *one, geometry in zip(*pairs, geometries)]
        sizes = [geometry.size for geometry in geometries]
        results = self.processor.post_process_object_detection(outputs, 0.0, sizes, **self.selection)
        return [self.detected(result, geometry) for result, geometry in zip(results, geometries)]

    def detected(self, result: dict[str, Tensor], geometry: ImageGeometry) -> Detections:
        """One image's detections, best first. result: scores, labels and boxes in the image's content."""
        order = result["scores"].argsort(descending=True)
        inside = clip(result["boxes"][order], geometry.size)  # as ours are; transformers leaves them outside
        boxes, scores = geometry.to_output(inside), result["scores"][order]
        # Numbers that no category has keep out of the way, behind the labels.
        labels = [self.labels.get(number, len(self.labels)) for number in result["labels"][order].tolist()]
        return Detections(boxes, scores, torch.tensor(labels, device=scores.device))


def write(state: dict[str, Tensor], folder: Path, classes: Sequence[str]) -> Path:
    """Our weights as the folder that transformers reads. Raises MismatchedCheckpoint for networks it does not have."""
    return write_transformers(state, folder / "transformers", classes)
