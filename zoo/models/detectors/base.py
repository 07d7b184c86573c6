"""The base class of detectors: runs on a padded batch, detects objects in files or arrays, computes losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import NotTrainable, UsageError
from zoo.models.build import component
from zoo.models.layers.memory_format import lay_filters, pixel_by_pixel, wants_filters_by_pixel
from zoo.models.layers.tracing import in_graph
from zoo.models.targets import GroundTruth, ground_truths
from zoo.structures import Detections, ImageGeometry, Sample


class Detector(nn.Module):
    """Base of all detectors: a backbone and an optional neck; a subclass adds its heads and implements `predict`.

    preprocess: from a path or a BGR uint8 array (H, W, 3) to a `Sample`; `zoo.build` and `zoo.load` set it to the
    preprocessing that the checkpoint was trained with. classes: names of the labels, if known. label_count: number of
    labels, if the description states it. description: the mapping that `zoo.build` built the network from.
    """

    preprocess: Callable[[Any], Sample] | None = None
    classes: Sequence[str] | None = None
    label_count: int | None = None
    description: Mapping[str, Any] | None = None
    pixel_center = 0.5
    """Where the network's keypoints have the center of pixel 0: 0.5, as boxes do, or 0, as COCO's annotations do."""

    filters_by_pixel = False
    """Whether `laid_out` has put the channels of all filters together in memory."""

    def __init__(self, backbone: Mapping[str, Any], neck: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.backbone = component(backbone)
        self.neck = component(neck) if neck else None

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps for the heads, finest first. images: (N, 3, H, W)."""
        images = self.laid_out(images)
        maps: tuple[Tensor, ...] = self.backbone(images)
        if self.neck is not None:
            maps = self.neck(maps)
        return maps

    def laid_out(self, images: Tensor) -> Tensor:
        """The images in the layout that is fastest here; filters follow it, and go back for training."""
        name = type(self.backbone).__name__
        images = pixel_by_pixel(images, name)
        by_pixel = wants_filters_by_pixel(images, name)
        if by_pixel != self.filters_by_pixel and not in_graph():
            lay_filters(self, by_pixel)
            self.filters_by_pixel = by_pixel
        return images

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> list[Detections]:
        """Run the network on a padded batch.

        Args:
            images: (N, 3, H, W) float, normalized and padded.
            sizes: (h, w) of each image before padding; by default the whole input.
            proposals: Per image (M, 4) xyxy boxes, for Fast R-CNN only.

        Returns:
            Detections in network-input coordinates, one per image.
        """
        sizes = sizes or [(images.shape[2], images.shape[3])] * len(images)
        geometries = [self.input_geometry(images, size) for size in sizes]
        return self.predict(images, geometries) if proposals is None else self.predict(images, geometries, proposals)

    def input_geometry(self, images: Tensor, size: tuple[int, int]) -> ImageGeometry:
        """The geometry of an image of (h, w) whose results are wanted in network-input coordinates."""
        return ImageGeometry.of_input(size)

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in the geometries' output coordinates. images: (N, 3, H, W). geometries: one per image."""
        raise NotImplementedError

    def losses(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[dict[str, Tensor]],
        proposals: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the training losses of a batch.

        Args:
            images: (N, 3, H, W) float, normalized and padded.
            sizes: (h, w) of each image before padding.
            targets: Per image `boxes` (M, 4) xyxy in input coordinates and `labels` (M,); where needed, `masks`
                (M, H, W) of bool and `keypoints` (M, P, 3) as x, y, visibility; optionally `ignored` (I, 4), boxes of
                crowds, and `semantic` (h, w), classes of the padded image's pixels, without which semantic heads are
                not trained.
            proposals: Per image (M, 4) xyxy boxes, for Fast R-CNN only.

        Returns:
            Losses by name; training minimizes their sum.

        Raises:
            NotTrainable: The losses of this method are not implemented.
        """
        geometries = [ImageGeometry.of_input(size) for size in sizes]
        if proposals is not None:
            targets = [{**target, "proposals": boxes} for target, boxes in zip(targets, proposals)]
        return self.compute_losses(images, geometries, ground_truths(targets, images.device))

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The losses of `losses`, from targets as `GroundTruth`."""
        raise NotTrainable(f"{type(self).__name__} does not support training (inference only)")

    def detect(self, images: Sequence[str | Path | Any], device: torch.device | str | None = None) -> list[Detections]:
        """Detect objects in images.

        Args:
            images: Files, or BGR uint8 arrays (H, W, 3). Each image runs alone, as for published accuracies.
            device: Device to which the network is moved first; by default it is not moved.

        Returns:
            Per image, the detections in original image coordinates, on the CPU, best first.

        Raises:
            UsageError: The network was built from a description and has no preprocessing.
            UnreadableImage: A file is missing or cannot be decoded.

        Examples:
            >>> import numpy as np, zoo
            >>> model = zoo.load("demo_atss")
            >>> [len(detections) for detections in model.detect([np.zeros((128, 160, 3), np.uint8)])]
            [0]
        """
        if self.preprocess is None:
            raise UsageError("this network knows no preprocessing: build it by a model's name, or set .preprocess")
        if device is not None:
            self.to(device)  # outside of inference mode, in which moved weights could not be trained any more
        home = next(self.parameters())
        with torch.inference_mode():
            return [self.detect_sample(self.preprocess(image), home) for image in images]

    def detect_sample(self, sample: Sample, home: Tensor) -> Detections:
        """One preprocessed image, in original coordinates, on the CPU. home: a tensor of the network's device."""
        return self.predict(sample.image[None].to(home), [sample.geometry])[0].to("cpu")
