"""YOLACT's masks: combinations of prototypes (Bolya et al., 2019, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import SIGMOID
from zoo.models.layers.constants import extents
from zoo.models.layers.tracing import recording
from zoo.structures import ImageGeometry

CHANNELS = (256, 256, 256, None, 256, 32)
KERNELS = (3, 3, 3, -2, 3, 1)


class YOLACTProtonet(nn.Module):
    """Prototype masks of the whole image, from the finest level.

    proto_channels, proto_kernel_sizes: of its layers; a negative kernel size doubles (say) the resolution, by
    interpolation if there are no channels, else by a transposed convolution. loss_mask_weight, max_masks_to_train: for
    training.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        proto_channels: Sequence[int | None] = CHANNELS,
        proto_kernel_sizes: Sequence[int] = KERNELS,
        include_last_relu: bool = True,
        num_protos: int = 32,
        loss_mask_weight: float = 1.0,
        max_masks_to_train: int = 100,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_protos = num_classes, num_protos
        self.loss_mask_weight, self.max_masks_to_train = loss_mask_weight, max_masks_to_train
        layers: list[nn.Module] = []
        for channels, kernel in zip(proto_channels, proto_kernel_sizes):
            layers += [proto_layer(in_channels, channels, kernel), nn.ReLU(inplace=True)]
            in_channels = channels or in_channels
        self.protonet = nn.Sequential(*(layers if include_last_relu else layers[:-1]))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """The finest level (N, in_channels, H, W) to prototypes (N, num_protos, H', W')."""
        return self.protonet(x)

    def masks(self, prototypes: Tensor, coefficients: Tensor, boxes: Tensor, geometry: ImageGeometry) -> Tensor:
        """Masks (K, H, W) bool in output coordinates of one image's detections.

        prototypes: (num_protos, H', W'). coefficients: (K, num_protos). boxes: (K, 4) xyxy in input coordinates. An
        exported graph leaves them as probabilities (K, H', W').
        """
        soft = crop(torch.einsum("kp,phw->khw", coefficients, prototypes).sigmoid(), boxes, geometry.size)
        return soft if recording() else self.stretched(soft, geometry)

    def stretched(self, soft: Tensor, geometry: ImageGeometry) -> Tensor:
        """Probabilities (K, H', W') as masks (K, H, W) bool in output coordinates."""
        if len(soft) == 0:
            return soft.new_zeros((0, *geometry.output_size), dtype=torch.bool)
        # The prototypes of the padded input are stretched over the image, as in the reference.
        return F.interpolate(soft[None], geometry.output_size, mode="bilinear", align_corners=False)[0] > 0.5


class YOLACTSegmHead(nn.Module):
    """Semantic segmentation of the finest level: an auxiliary loss of training (section 4.3)."""

    learns_masks = True

    def __init__(self, num_classes: int, in_channels: int = 256, loss_segm: Mapping[str, Any] = SIGMOID) -> None:
        super().__init__()
        self.loss_cfg = {"segm": loss_segm}
        self.segm_conv = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to class logits (N, num_classes, H, W)."""
        return self.segm_conv(x)


def proto_layer(in_channels: int, channels: int | None, kernel: int) -> nn.Module:
    """A convolution, an interpolation or a transposed convolution; see `YOLACTProtonet`."""
    if channels is None:
        return nn.Upsample(scale_factor=-kernel, mode="bilinear", align_corners=False)
    if kernel > 0:
        return nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2)
    return nn.ConvTranspose2d(in_channels, channels, -kernel, padding=-kernel // 2)


def crop(masks: Tensor, boxes: Tensor, size: tuple[int, int], padding: float = 1.0) -> Tensor:
    """Masks (K, h, w), zero outside their boxes grown by `padding` cells.

    boxes: (K, 4) xyxy, in pixels of an image of `size` (h, w), over which the masks are stretched.
    """
    height, width = masks.shape[1:]
    scaled = boxes / extents([size], boxes).repeat(1, 2) * extents([(height, width)], boxes).repeat(1, 2)
    low, high = torch.min(scaled[:, :2], scaled[:, 2:]) - padding, torch.max(scaled[:, :2], scaled[:, 2:]) + padding
    columns, rows = (torch.arange(n, device=masks.device, dtype=boxes.dtype) for n in (width, height))
    inside_x = (columns >= low[:, :1]) & (columns < high[:, :1])
    inside_y = (rows >= low[:, 1:]) & (rows < high[:, 1:])
    return masks * (inside_y[:, :, None] & inside_x[:, None])
