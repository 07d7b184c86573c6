"""Keypoints of regions: one heatmap per keypoint (He et al., Mask R-CNN, 2017, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_stack import conv_stack, run
from zoo.models.layers.tracing import recording


class KeypointRCNNHead(nn.Module):
    """Convolutions, a transposed convolution, and bilinear upsampling: one heatmap of logits per keypoint.

    score: of a decoded keypoint, "probability" (Detectron2) or the heatmap's "logit" (torchvision).
    pixel_center: coordinate of the center of pixel 0. Detectron2 decodes to continuous coordinates, 0.5, as boxes have
    them; torchvision learns and answers in COCO's pixel indices, 0.
    """

    learns_keypoints = True

    def __init__(
        self,
        num_keypoints: int = 17,
        num_convs: int = 8,
        in_channels: int = 256,
        conv_out_channels: int = 512,
        score: str = "probability",
        pixel_center: float = 0.5,
        loss_keypoint: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_keypoints, self.score, self.pixel_center = num_keypoints, score, pixel_center
        self.loss_weight = float((loss_keypoint or {}).get("loss_weight", 1.0))
        self.convs = conv_stack(num_convs, in_channels, conv_out_channels)
        self.score_lowres = nn.ConvTranspose2d(conv_out_channels, num_keypoints, 4, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Region features (K, C, h, w) to heatmaps of logits (K, num_keypoints, 4 * h, 4 * w)."""
        x = self.score_lowres(run(self.convs, x))
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

    def decode(self, heatmaps: Tensor, boxes: Tensor) -> Tensor:
        """Keypoints (K, P, 3) as x, y, score in the boxes' coordinates.

        heatmaps: (K, P, S, S) logits. boxes: (K, 4) xyxy. In an exported graph the heatmaps stay as they are, for the
        caller to decode.
        """
        if recording():
            return heatmaps
        return decode_heatmaps(heatmaps, boxes, self.score)


def decode_heatmaps(heatmaps: Tensor, boxes: Tensor, score: str = "probability") -> Tensor:
    """The maximum of each heatmap at the resolution of its box: keypoints (K, P, 3) as x, y, score.

    heatmaps: (K, P, S, S) logits. boxes: (K, 4) xyxy. Each map is resized bicubically to whole pixels; the cell of its
    maximum is read at its center. score: "probability" is exp(maximum) / sum(exp(heatmap)), which compares objects of
    all sizes, and can exceed 1 slightly where bicubic interpolation overshoots; "logit" is the maximum itself.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    whole = sides.ceil()
    cells = sides / whole
    points = [
        decode_one(heatmap, (int(height), int(width)), score)
        for heatmap, (width, height) in zip(heatmaps, whole.tolist())
    ]
    if not points:
        return heatmaps.new_zeros((0, heatmaps.shape[1], 3))
    result = torch.stack(points)
    result[..., :2] = result[..., :2] * cells[:, None] + boxes[:, None, :2]
    return result


def decode_one(heatmap: Tensor, size: tuple[int, int], score: str) -> Tensor:
    """Centers of the maxima of one region's heatmaps (P, S, S) resized to (h, w), and scores: (P, 3)."""
    resized = F.interpolate(heatmap[None], size=size, mode="bicubic", align_corners=False)[0].flatten(1)
    best, index = resized.max(dim=1)
    if score == "probability":
        total = (heatmap - best[:, None, None]).exp().sum(dim=(1, 2))
        best = 1 / total
    x, y = index % size[1], index.div(size[1], rounding_mode="floor")
    return torch.stack([x + 0.5, y + 0.5, best], dim=1)
