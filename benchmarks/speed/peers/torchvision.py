"""torchvision's detectors on our inputs, so that only the networks and their post-processing differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops.misc import FrozenBatchNorm2d

from zoo.checkpoint.convert.reorder import COCO_ROWS
from zoo.models.layers.norm import positive
from zoo.structures import Detections, ImageGeometry, Sample

# torchvision's 91 COCO numbers -> our 80 labels; numbers that no category has keep out of the way at 80.
LABELS = torch.full((91,), 80)
LABELS[torch.tensor(COCO_ROWS)] = torch.arange(80)
# Biases of 91 scores, or of 91 for each anchor.
PREDICTORS = (
    "cls_score.bias",
    "classification_head.cls_logits.bias",
    *(f"classification_head.module_list.{level}{part}.bias" for level in range(6) for part in ("", ".1")),
)
# Parts whose weights are drawn anew: torchvision's own let all scores be those of the biases.
RENEWED = ("roi_heads.", "head.", "backbone.features.", "backbone.extra.")
# Their COCO_V1 weights are older than torchvision's epsilon, which it takes back for them.
WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
SILENT = -30.0
ALL = 10**6  # samples that no sampler leaves out
# Standard deviation of a random predictor's outputs, by a part of its name.
GAINS = {"bbox": 0.2, "regression_head.module_list": 0.2, "cls_score": 2.0, "cls_logits": 2.0}


class Inputs(nn.Module):
    """Replaces torchvision's transform: inputs are ready, and results are mapped by their geometries."""

    def __init__(self) -> None:
        super().__init__()
        self.images = torch.empty(0)
        self.geometries: Sequence[ImageGeometry] = []

    def forward(self, images: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        """The batch as it is, and the size of each image in it."""
        return ImageList(self.images, [geometry.size for geometry in self.geometries]), targets

    def postprocess(self, result: list[dict[str, Tensor]], sizes: Any, originals: Any) -> list[dict[str, Tensor]]:
        """Boxes in output coordinates, masks pasted into the output image."""
        for collected, geometry in zip(result, self.geometries):
            collected["boxes"] = geometry.to_output(collected["boxes"])
            if "masks" in collected:
                collected["masks"] = paste_masks_in_image(collected["masks"], collected["boxes"], geometry.output_size)
        return result


class TorchvisionDetector(nn.Module):
    """A detector of torchvision with the methods of ours.

    name: of its builder, such as fasterrcnn_resnet50_fpn. preprocess: makes the inputs; give it our network's.
    """

    labels: Tensor

    def __init__(self, name: str, preprocess: Callable[[Any], Sample] | None) -> None:
        super().__init__()
        builder = getattr(torchvision.models.detection, name)
        self.network = builder(weights=None, weights_backbone=None).eval()
        randomize(self.network)
        for module in self.network.backbone.body.modules() if name in WITHOUT_EPSILON else ():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = positive(0.0)
        self.network.transform = Inputs()
        self.preprocess = preprocess
        self.register_buffer("labels", LABELS, persistent=False)  # on the device: no copy in each call

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """images: (N, 3, H, W). Detections in the geometries' output coordinates, labels as ours."""
        self.network.transform.images, self.network.transform.geometries = images, geometries
        return [converted(result, self.labels) for result in self.network(list(images))]

    def losses(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], targets: Sequence[dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """torchvision's losses by its own names. The arguments are those of our networks, labels as ours."""
        self.network.transform.images = images
        self.network.transform.geometries = [ImageGeometry.of_input(size) for size in sizes]
        numbers = torch.tensor(COCO_ROWS, device=images.device)
        numbered = [{**target, "labels": numbers[target["labels"]]} for target in targets]
        result: dict[str, Tensor] = self.network(list(images), numbered)
        return result


def randomize(network: nn.Module) -> None:
    """Random weights that find something, with scores far enough apart to be ranked.

    torchvision's own let activations grow a hundredfold in the backbone and start all scores at the background's.
    Numbers that no category has are kept from winning, since our networks do not have them.
    """
    for name, value in network.named_parameters():
        if name == "backbone.body.conv1.weight":
            value.data.mul_(0.02)
        elif name.startswith(RENEWED) and value.ndim > 1:
            gain = next((gain for part, gain in GAINS.items() if part in name), math.sqrt(2))
            nn.init.normal_(value, std=gain / math.sqrt(value[0].numel()))
        elif name.endswith(PREDICTORS) and value.numel() % len(LABELS) == 0:  # of COCO's categories
            alone = name.endswith("cls_logits.bias")  # each number is scored alone, the background's too
            unused = [number for number in range(91) if number not in COCO_ROWS and (number or alone)]
            value.data.view(-1, 91)[:, unused] = SILENT


def as_trained(network: Any) -> None:
    """Freeze what torchvision freezes when it trains from a published backbone: batch norm, the stem and stage 1."""
    for name, parent in list(network.backbone.named_modules()):
        for child, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                setattr(parent, child, frozen(norm))
        if name in ("body.conv1", "body.layer1"):
            parent.requires_grad_(False)


def frozen(norm: nn.BatchNorm2d) -> FrozenBatchNorm2d:
    """A batch norm with the same numbers, which no longer change, on the same device."""
    result = FrozenBatchNorm2d(norm.num_features, eps=norm.eps).to(norm.weight.device)
    result.load_state_dict(norm.state_dict())
    return result


def sample_all(network: Any) -> Callable[[], None]:
    """Let the samplers leave nothing out, and RetinaNet average over the batch; returns what undoes it."""
    parts = [getattr(network, name) for name in ("rpn", "roi_heads") if hasattr(network, name)]
    before = [(part.fg_bg_sampler, part.fg_bg_sampler.batch_size_per_image) for part in parts]
    for sampler, _ in before:
        sampler.batch_size_per_image = ALL
    averaged: list[Any] = [network.head] if type(getattr(network, "head", None)).__name__ == "RetinaNetHead" else []
    for head in averaged:
        head.compute_loss = partial(over_the_batch, head.compute_loss)

    def undo() -> None:
        for sampler, size in before:
            sampler.batch_size_per_image = size
        for head in averaged:
            del head.compute_loss

    return undo


def over_the_batch(
    compute: Callable[..., dict[str, Tensor]],
    targets: Sequence[Any],
    outputs: dict[str, Tensor],
    anchors: Sequence[Tensor],
    matched: Sequence[Tensor],
) -> dict[str, Tensor]:
    """RetinaNet's losses over the positives of the batch; torchvision averages over each image's, then over images."""
    counts = [max(1, int((index >= 0).sum())) for index in matched]
    total: dict[str, Tensor] = {}
    for i, count in enumerate(counts):
        own = {name: value[i : i + 1] for name, value in outputs.items()}
        for name, value in compute([targets[i]], own, [anchors[i]], [matched[i]]).items():
            total[name] = total.get(name, torch.zeros(())) + value * count / sum(counts)
    return total


def converted(result: dict[str, Tensor], labels: Tensor) -> Detections:
    """torchvision's result as ours; masks above one half. labels: `LABELS` on the result's device."""
    masks = result["masks"][:, 0] >= 0.5 if "masks" in result else None
    return Detections(result["boxes"], result["scores"], labels[result["labels"]], masks)
