"""Detectors that find boxes as keypoints in heatmaps, whose cells are exact fractions of the padded input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.models.criteria.table import dense_losses
from zoo.models.dense_heads.centernet import CenterNetHead
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.layers.precision import full_precision
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry, Sample


class KeypointDetector(SingleStageDetector):
    """CenterNet (Zhou et al., 2019, and 2021): backbone, neck and a head on heatmaps.

    flip_test: `detect` looks at each image and its mirror image, and averages their heatmaps and sizes.
    """

    flip_test = False

    @property
    def merges_flips(self) -> bool:
        """Whether `flip_test` is possible: CenterNet of 2019 and CornerNet were published with it."""
        return isinstance(self, CornerNet) or isinstance(self.bbox_head, CenterNetHead)

    def detect_sample(self, sample: Sample, home: Tensor) -> Detections:
        """One preprocessed image, in original coordinates, on the CPU."""
        if not self.flip_test:
            return super().detect_sample(sample, home)
        images = torch.stack([sample.image, flipped(sample).image]).to(home)
        heat, sizes, offsets = (maps[0] for maps in full_precision(self.bbox_head(self.features(images))))
        heat, sizes = ((maps[:1] + maps[1:].flip(3)) / 2 for maps in (heat, sizes))
        outputs = ([heat], [sizes], [offsets[:1]])
        detections: Detections = self.bbox_head.predict(outputs, [sample.geometry], input_size(images))[0]
        return detections.to_output(sample.geometry).to("cpu")

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        outputs = full_precision(self.bbox_head(self.features(images)))
        detections = self.bbox_head.predict(outputs, geometries, input_size(images))
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        outputs = self.bbox_head(self.features(images))
        return dense_losses(self.bbox_head, outputs, geometries, ground_truths, input_size(images))


class CornerNet(KeypointDetector):
    """CornerNet (Law and Deng, 2018) and CentripetalNet (Dong et al., 2020), with an hourglass network as backbone.

    flip_test: `detect` looks at each image and its mirror image, as the published accuracies do.
    """

    flip_test = True

    def detect_sample(self, sample: Sample, home: Tensor) -> Detections:
        """One preprocessed image, in original coordinates, on the CPU."""
        if not self.flip_test:
            return SingleStageDetector.detect_sample(self, sample, home)
        image, geometry = sample.image[None].to(home), sample.geometry
        images = torch.cat([image, image.flip(3)])
        outputs = full_precision(self.bbox_head(self.features(images)))
        plain, mirrored = self.bbox_head.pairs(outputs, [geometry] * 2, input_size(images))
        mirrored = replace(mirrored, boxes=mirror(mirrored.boxes, geometry))
        both = Detections(*(torch.cat(p) for p in zip(fields(plain), fields(mirrored))))
        return self.bbox_head.suppress(both).to_output(geometry).to("cpu")


def flipped(sample: Sample) -> Sample:
    """The mirror image; what was padded stays where it is."""
    image, (height, width) = sample.image.clone(), sample.size
    x, y = (round(value) for value in sample.offset)
    rows, columns = slice(y, y + height), slice(x, x + width)
    image[:, rows, columns] = sample.image[:, rows, columns].flip(2)
    return replace(sample, image=image)


def input_size(images: Tensor) -> tuple[int, int]:
    """(h, w) of a padded batch."""
    return images.shape[2], images.shape[3]


def fields(detections: Detections) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels."""
    return detections.boxes, detections.scores, detections.labels


def mirror(boxes: Tensor, geometry: ImageGeometry) -> Tensor:
    """Boxes (K, 4) of a mirrored input, in coordinates of the input itself.

    The image is mirrored within its geometry, whose left margin is taken to be the mirrored one's, too.
    """
    total = geometry.size[1] + 2 * geometry.offset[0]
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    return torch.stack([total - x2, y1, total - x1, y2], dim=1)
