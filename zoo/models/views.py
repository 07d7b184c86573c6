"""Images without annotations, as a student and its teacher see them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.structures import ImageGeometry


class View(NamedTuple):
    """Images as they enter a network.

    images: (N, 3, H, W), normalized and padded. sizes: (h, w) of each before padding. matrices: (N, 3, 3), which take a
    point (x, y, 1) of the original image to its position in the input.
    """

    images: Tensor
    sizes: list[tuple[int, int]]
    matrices: Tensor

    def to(self, device: torch.device) -> View:
        """The same on another device."""
        return View(self.images.to(device, non_blocking=True), self.sizes, self.matrices.to(device, non_blocking=True))

    @property
    def geometries(self) -> list[ImageGeometry]:
        """Of the images, with results in coordinates of the input."""
        return [ImageGeometry.of_input(size) for size in self.sizes]


class Unlabeled(NamedTuple):
    """Two views of the same images: weak for the teacher, strong for the student. originals: their sizes (h, w)."""

    weak: View
    strong: View
    originals: list[tuple[int, int]]

    def to(self, device: torch.device) -> Unlabeled:
        """The same on another device."""
        return Unlabeled(self.weak.to(device), self.strong.to(device), self.originals)
