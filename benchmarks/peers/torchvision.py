"""torchvision's detectors on our inputs, so that only the networks and their post-processing differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

from zoo.checkpoint.rows import COCO_ROWS
from zoo.structures import Detections, Frame, Sample

# torchvision's 91 COCO numbers -> our 80 labels; numbers that no category has keep out of the way at 80 and above.
LABELS = torch.full((91,), 80)
LABELS[torch.tensor(COCO_ROWS)] = torch.arange(80)


class Inputs(nn.Module):
    """Takes the place of torchvision's own resizing and normalising: inputs are ready, results go where frames say."""

    def __init__(self) -> None:
        super().__init__()
        self.images = torch.empty(0)
        self.frames: Sequence[Frame] = []

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        """The batch as it is, and the size of each picture in it."""
        return ImageList(self.images, [frame.size for frame in self.frames]), targets

    def postprocess(self, result: list[dict[str, Tensor]], sizes: Any, originals: Any) -> list[dict[str, Tensor]]:
        """Boxes in output coordinates, masks pasted into the output picture."""
        for found, frame in zip(result, self.frames):
            found["boxes"] = frame.to_output(found["boxes"])
            if "masks" in found:
                found["masks"] = paste_masks_in_image(found["masks"], found["boxes"], frame.output_size)
        return result


class TorchvisionDetector(nn.Module):
    """A detector of torchvision with the methods of ours.

    name: of its builder, such as fasterrcnn_resnet50_fpn. preprocess: makes the inputs; give it our network's.
    """

    def __init__(self, name: str, preprocess: Callable[[Any], Sample] | None) -> None:
        super().__init__()
        builder = getattr(torchvision.models.detection, name)
        self.network = builder(weights=None, weights_backbone=None).eval()
        self.network.transform = Inputs()
        self.preprocess = preprocess

    def predict(self, images: Tensor, frames: Sequence[Frame]) -> list[Detections]:
        """images: (N, 3, H, W). Detections in the frames' output coordinates, labels as ours."""
        self.network.transform.images, self.network.transform.frames = images, frames
        return [converted(found) for found in self.network(list(images))]


def converted(found: dict[str, Tensor]) -> Detections:
    """torchvision's result as ours; masks above one half."""
    masks = found["masks"][:, 0] >= 0.5 if "masks" in found else None
    return Detections(found["boxes"], found["scores"], LABELS.to(found["labels"].device)[found["labels"]], masks)
