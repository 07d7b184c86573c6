"""PointRend: masks refined at the points where they are least sure (Kirillov et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.conv_module import RELU, ConvModule
from zoo.models.layers.linear import fc_stack, run_fcs
from zoo.models.layers.points import sample_points, sample_regions
from zoo.models.layers.tracing import recording
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.fcn_mask_head import FCNMaskHead
from zoo.models.roi_heads.protocols import present
from zoo.models.roi_heads.standard import StandardRoIHead, counts, split
from zoo.structures import Detections, ImageGeometry

NO_UPSAMPLE = {"type": None}
CONV1D = {"type": "Conv1d"}


class PointRendRoIHead(StandardRoIHead):
    """A coarse mask is enlarged step by step, and its most uncertain points are predicted anew each time.

    test_cfg: `subdivision_steps`, `subdivision_num_points` per step and `scale_factor` of each step.
    """

    def __init__(self, point_head: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.point_head = component(point_head)

    def predict_masks(
        self, features: Sequence[Tensor], detections: list[Detections], geometries: Sequence[ImageGeometry]
    ) -> None:
        """Give the detections their masks."""
        rois, labels = rois_of([d.boxes for d in detections]), torch.cat([d.labels for d in detections])
        masks = self.subdivide(features, rois, labels, self.mask_logits(features, rois)).sigmoid()
        for d, part, geometry in zip(detections, split(masks, counts(detections)), geometries):
            d.masks = present(self.mask_head).paste(part, d.boxes, geometry, self.test_cfg)

    def subdivide(self, features: Sequence[Tensor], rois: Tensor, labels: Tensor, coarse: Tensor) -> Tensor:
        """Refined mask logits (K, h, w) of the given classes.

        rois: (K, 5). labels: (K,). coarse: (K, num_classes, h', w') logits. Only the wanted class is enlarged.
        """
        cfg, head = self.test_cfg, present(self.mask_head)
        mask = head.of_class(coarse, labels)[:, None]
        steps, count = cfg["subdivision_steps"], cfg["subdivision_num_points"]
        for step in range(steps if recording() or len(rois) else 0):
            mask = F.interpolate(mask, scale_factor=cfg["scale_factor"], mode="bilinear", align_corners=False)
            height, width = mask.shape[-2:]
            # A map that all points would cover is not worth predicting: the next one is finer.
            if count >= cfg["scale_factor"] ** 2 * height * width and step < steps - 1:
                continue
            cells, points = uncertain_points(mask, count)
            logits = head.of_class(self.point_logits(features, rois, coarse, points), labels)
            mask = mask.flatten(1).scatter(1, cells, logits).view(-1, 1, height, width)
        return mask[:, 0]

    def point_logits(self, features: Sequence[Tensor], rois: Tensor, coarse: Tensor, points: Tensor) -> Tensor:
        """Class logits (K, num_classes, P) at points (K, P, 2) of regions (K, 5), 0 to 1 over each region."""
        strides = (self.mask_roi_extractor or self.bbox_roi_extractor).featmap_strides
        fine = [sample_regions(x, rois, points, stride) for x, stride in zip(features, strides)]
        return self.point_head(torch.cat(fine, dim=1), sample_points(coarse, points))


def uncertain_points(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` cells whose logits are nearest to zero.

    mask: (K, 1, h, w) logits. Returns cell indices (K, P), row by row, and their centers (K, P, 2), x, y from 0 to 1.
    """
    height, width = mask.shape[-2:]
    cells = mask.flatten(1).abs().topk(min(count, height * width), dim=1, largest=False).indices
    x, y = (cells % width + 0.5) / width, (cells // width + 0.5) / height
    return cells, torch.stack([x, y], dim=-1)


class MaskPointHead(nn.Module):
    """A multilayer perceptron, shared by all points, on fine features and coarse predictions.

    coarse_pred_each_layer: every layer sees the coarse predictions again.
    """

    def __init__(
        self,
        num_classes: int,
        num_fcs: int = 3,
        in_channels: int = 256,
        fc_channels: int = 256,
        class_agnostic: bool = False,
        coarse_pred_each_layer: bool = True,
        conv_cfg: Mapping[str, Any] = CONV1D,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] = RELU,
        loss_point: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.class_agnostic, self.loss_cfg = num_classes, class_agnostic, {"point": loss_point}
        self.coarse_pred_each_layer = coarse_pred_each_layer
        extra = num_classes if coarse_pred_each_layer else 0
        widths = [in_channels + num_classes, *[fc_channels + extra] * num_fcs]
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.fcs = nn.ModuleList(ConvModule(width, fc_channels, 1, **common) for width in widths[:-1])
        self.fc_logits = nn.Conv1d(widths[-1], 1 if class_agnostic else num_classes, 1)
        nn.init.normal_(self.fc_logits.weight, std=0.001)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Logits (K, num_classes, P) from features (K, C, P) and coarse logits (K, num_classes, P) at points."""
        x = torch.cat([fine, coarse], dim=1)
        for layer in self.fcs:
            x = layer(x)
            if self.coarse_pred_each_layer:
                x = torch.cat([x, coarse], dim=1)
        return self.fc_logits(x)


class CoarseMaskHead(FCNMaskHead):
    """A small mask per class, from linear layers over the whole region.

    downsample_factor: of the convolution in front of them, so of the mask against the region's features.
    """

    def __init__(
        self,
        num_convs: int = 0,
        num_fcs: int = 2,
        fc_out_channels: int = 1024,
        downsample_factor: int = 2,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        **kwargs: Any,
    ) -> None:
        kwargs.update(conv_out_channels=conv_out_channels, upsample_cfg=NO_UPSAMPLE)
        super().__init__(num_convs, in_channels, **kwargs)
        del self.conv_logits
        channels = conv_out_channels if num_convs else in_channels
        cfg: dict[str, Any] = {key: kwargs.get(key) for key in ("conv_cfg", "norm_cfg")}
        self.downsample_conv = None
        if downsample_factor > 1:
            self.downsample_conv = ConvModule(
                channels, conv_out_channels, downsample_factor, stride=downsample_factor, **cfg
            )
        self.mask_size = self.roi_feat_size // downsample_factor
        self.fcs, width = fc_stack(num_fcs, conv_out_channels * self.mask_size**2, fc_out_channels)
        self.fc_logits = nn.Linear(width, self.num_classes * self.mask_size**2)
        nn.init.constant_(self.fc_logits.weight, 0.001)

    def run_predictor(self, x: Tensor) -> Tensor:
        """Region features (M, C, h, w) to mask logits (M, num_classes, h / factor, w / factor)."""
        x = (self.downsample_conv(x) if self.downsample_conv is not None else x).flatten(1)
        return self.fc_logits(run_fcs(self.fcs, x)).view(x.shape[0], self.num_classes, self.mask_size, self.mask_size)
