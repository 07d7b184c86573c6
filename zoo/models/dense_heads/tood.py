"""TOOD's head (Feng et al., Task-aligned One-stage Object Detection, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.coders.delta import center_and_size
from zoo.models.coders.distance import DistancePointCoder
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.atss import GN
from zoo.models.dense_heads.towers import init_dense, over_levels, prior_bias, tower
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.deform_conv import deform_conv2d
from zoo.models.layers.scale import Scale
from zoo.structures import Detections, ImageGeometry


class TaskDecomposition(nn.Module):
    """One task's features: the tower's layers, weighted for the image, then reduced (section 3.1).

    The weights are multiplied into the reducing convolution, which is cheaper than into the features.
    """

    def __init__(
        self,
        feat_channels: int,
        stacked_convs: int,
        la_down_rate: int,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.shape = (feat_channels, stacked_convs, feat_channels)
        channels = feat_channels * stacked_convs
        self.layer_attention = nn.Sequential(
            nn.Conv2d(channels, channels // la_down_rate, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // la_down_rate, stacked_convs, 1),
            nn.Sigmoid(),
        )
        self.reduction_conv = ConvModule(channels, feat_channels, 1, conv_cfg=conv_cfg, norm_cfg=norm_cfg)

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        """The layers (N, L * C, H, W) and their means (N, L * C, 1, 1) to (N, C, H, W)."""
        attention = self.layer_attention(pooled).view(x.shape[0], 1, -1, 1)
        weight = (attention * self.reduction_conv.conv.weight.view(1, *self.shape)).view(x.shape[0], self.shape[0], -1)
        out = (weight @ x.flatten(2)).reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        if self.reduction_conv.norm_name is not None:
            out = getattr(self.reduction_conv, self.reduction_conv.norm_name)(out)
        return F.relu(out)


class TOODHead(AnchorHead):
    """One tower for both tasks, decomposed by attention; class scores and boxes are then aligned with each other.

    num_dcn: so many of the tower's first convolutions are deformable. anchor_type: "anchor_free" predicts distances
    from the anchor's center, "anchor_based" deltas of the anchor.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        num_dcn: int = 0,
        anchor_type: str = "anchor_free",
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = GN,
        reg_decoded_bbox: bool = True,
        initial_loss_cls: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, reg_decoded_bbox=reg_decoded_bbox, **kwargs)
        self.anchor_type = anchor_type
        self.epoch = 0  # set by a trainer: the first ones assign by overlap
        self.loss_cfg["initial_cls"] = initial_loss_cls
        channels, anchors = self.feat_channels, self.num_base_priors
        deformable = {i: {"type": "DCNv2", "deform_groups": 4} for i in range(num_dcn)}
        self.inter_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg, deformable)
        options = (channels, stacked_convs, stacked_convs * 8, conv_cfg, norm_cfg)
        self.cls_decomp, self.reg_decomp = TaskDecomposition(*options), TaskDecomposition(*options)
        self.tood_cls = nn.Conv2d(channels, anchors * self.cls_out_channels, 3, padding=1)
        self.tood_reg = nn.Conv2d(channels, anchors * 4, 3, padding=1)
        self.cls_prob_module = alignment(channels * stacked_convs, channels // 4, 1)
        self.reg_offset_module = alignment(channels * stacked_convs, channels // 4, 4 * 2)
        self.scales = nn.ModuleList(Scale() for _ in self.prior_generator.strides)
        self.init_weights()

    def init_weights(self) -> None:
        """Small weights, the smallest where a neutral start matters."""
        init_dense(self, self.tood_cls)
        nn.init.constant_(self.cls_prob_module[-1].bias, prior_bias())  # type: ignore[arg-type]
        for module in (self.reg_offset_module, self.cls_decomp.layer_attention, self.reg_decomp.layer_attention):
            init_dense(module, std=0.001)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class scores (N, C, H, W) in (0, 1), and boxes (N, 4, H, W) xyxy in strides."""
        sizes = [(x.shape[2], x.shape[3]) for x in features]
        priors = self.prior_generator.grid_priors(sizes, features[0].device)
        strides = [stride[0] for stride in self.prior_generator.strides]
        return over_levels(self.forward_level, features, self.scales, priors, strides)

    def forward_level(self, x: Tensor, scale: nn.Module, priors: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        layers = []
        for conv in self.inter_convs:
            x = conv(x)
            layers.append(x)
        hidden = torch.cat(layers, dim=1)
        pooled = F.adaptive_avg_pool2d(hidden, 1)
        logits = self.tood_cls(self.cls_decomp(hidden, pooled))
        regression = self.tood_reg(self.reg_decomp(hidden, pooled))
        boxes = self.boxes(regression, scale, priors, stride)
        return geometric_mean(logits, self.cls_prob_module(hidden)), aligned(boxes, self.reg_offset_module(hidden))

    def boxes(self, regression: Tensor, scale: nn.Module, priors: Tensor, stride: int) -> Tensor:
        """Boxes (N, 4, H, W) in strides from what the box branch predicts (N, 4, H, W)."""
        rows = regression.flatten(2).transpose(1, 2)
        if self.anchor_type == "anchor_free":
            rows = DistancePointCoder().decode(center_and_size(priors)[0] / stride, scale(rows.exp()).float())
        else:
            deltas = scale(rows).float()
            rows = torch.stack([self.bbox_coder.decode(priors, image) for image in deltas]) / stride
        return rows.transpose(1, 2).reshape(regression.shape)

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates."""
        scores, boxes = outputs
        strides = [stride[0] for stride in self.prior_generator.strides]
        return super().predict((scores, [x * stride for x, stride in zip(boxes, strides)]), geometries)

    def activate(self, logits: Tensor) -> Tensor:
        """What `forward` returns are scores already."""
        return logits

    def decode(self, priors: Tensor, regression: Tensor, size: tuple[int, int]) -> Tensor:
        """What `forward` returns are boxes already; they may reach beyond the image."""
        return regression


def alignment(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """A small branch that says how to move scores or boxes."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1), nn.ReLU(inplace=True), nn.Conv2d(channels, out_channels, 3, padding=1)
    )


def geometric_mean(a: Tensor, b: Tensor) -> Tensor:
    """sqrt(sigmoid(a) * sigmoid(b)), by logarithms, so that the gradient lives where both are tiny."""
    return ((F.logsigmoid(a) + F.logsigmoid(b)) / 2).exp()


def aligned(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Each side of each cell's box taken from a neighboring cell, unless the box would turn inside out.

    boxes: (N, 4, H, W) xyxy. offsets: (N, 4 * 2, H, W), dy and dx in cells for each side; sampled bilinearly.
    """
    moved = deform_conv2d(boxes.contiguous(), offsets.contiguous(), boxes.new_ones(4, 1, 1, 1))
    invalid = (moved[:, :2] > moved[:, 2:]).any(dim=1, keepdim=True)
    return torch.where(invalid, boxes, moved)
