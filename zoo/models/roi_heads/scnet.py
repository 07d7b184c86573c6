"""SCNet: a cascade that trains masks on the samples of its last stage (Vu et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.conv_stack import conv_stack, run
from zoo.models.roi_heads.cascade import CascadeRoIHead
from zoo.models.roi_heads.convfc_bbox_head import ConvFCBBoxHead
from zoo.models.roi_heads.htc import add_semantic
from zoo.models.roi_heads.protocols import Extractor, MaskHead
from zoo.models.roi_heads.scene import Features, Scene
from zoo.structures import Detections, ImageGeometry


class GlobalContextHead(nn.Module):
    """Which classes are in the image, from the coarsest level; its pooled features are every region's context."""

    def __init__(
        self,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        loss_weight: float = 1.0,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        conv_to_res: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.loss_weight = num_classes, loss_weight
        self.convs = conv_stack(
            num_convs, in_channels, conv_out_channels, residual=conv_to_res, conv_cfg=conv_cfg, norm_cfg=norm_cfg
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(conv_out_channels, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Pyramid levels (N, C, H, W) to class logits (N, num_classes) and context (N, conv_out_channels, 1, 1)."""
        context = self.pool(run(self.convs, features[-1]))
        return self.fc(context.flatten(1)), context


class FeatureRelayHead(nn.Module):
    """What the box head knows of a region, (M, in_channels), as a map for the mask head."""

    def __init__(
        self, in_channels: int = 1024, out_conv_channels: int = 256, roi_feat_size: int = 7, scale_factor: int = 2
    ) -> None:
        super().__init__()
        self.channels, self.roi_feat_size = out_conv_channels, roi_feat_size
        self.fc = nn.Linear(in_channels, roi_feat_size**2 * out_conv_channels)
        self.upsample = nn.Upsample(scale_factor=scale_factor, mode="bilinear", align_corners=True)
        nn.init.kaiming_normal_(self.fc.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(M, in_channels) to (M, out_conv_channels, scale_factor * h, scale_factor * w)."""
        return self.upsample(self.fc(x).view(x.shape[0], self.channels, self.roi_feat_size, self.roi_feat_size))


class SCNetRoIHead(CascadeRoIHead):
    """A box cascade and one mask head, which sees semantics, the image's context and the last box head's features."""

    def __init__(
        self,
        mask_roi_extractor: Mapping[str, Any],
        mask_head: Mapping[str, Any],
        semantic_roi_extractor: Mapping[str, Any] | None = None,
        semantic_head: Mapping[str, Any] | None = None,
        feat_relay_head: Mapping[str, Any] | None = None,
        glbctx_head: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mask_roi_extractor, self.mask_head = component(mask_roi_extractor), component(mask_head)
        self.semantic_head = component(semantic_head) if semantic_head else None
        self.semantic_roi_extractor = component(semantic_roi_extractor) if semantic_roi_extractor else None
        self.feat_relay_head = component(feat_relay_head) if feat_relay_head else None
        self.glbctx_head = component(glbctx_head) if glbctx_head else None

    @property
    def final_mask_head(self) -> MaskHead:
        """The only mask head."""
        return cast(MaskHead, self.mask_head)

    def predict(
        self, features: Features, proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections per image, boxes in input and masks in output coordinates."""
        levels = Scene.of(features).levels
        semantic = self.semantic_head(levels)[1] if self.semantic_head is not None else None
        context = self.glbctx_head(levels)[1] if self.glbctx_head is not None else None
        return super().predict(Scene(levels, semantic, context), proposals, geometries)

    def region_features(self, extractor: Extractor, features: Features, rois: Tensor) -> Tensor:
        """Pyramid and semantic features of regions (M, 5) and their images' context: (M, C, h, w)."""
        scene = Scene.of(features)
        x = add_semantic(extractor(scene.levels, rois), self.semantic_roi_extractor, scene, rois)
        return x if scene.context is None else x + scene.context[rois[:, 0].long()]

    def mask_logits(self, features: Features, rois: Tensor) -> list[Tensor]:
        """Mask logits (K, num_classes, h, w) of regions (K, 5), of the only stage."""
        x = self.region_features(cast(Extractor, self.mask_roi_extractor), features, rois)
        if self.feat_relay_head is not None:
            boxes = self.region_features(self.bbox_roi_extractor[-1], features, rois)
            x = x + self.feat_relay_head(cast(ConvFCBBoxHead, self.bbox_head[-1]).run_shared(boxes))
        return [self.final_mask_head(x)]
