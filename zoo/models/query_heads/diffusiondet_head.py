"""DiffusionDet's head: boxes are refined from noise (Chen et al., DiffusionDet, 2023)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.box_ops import box_convert
from zoo.models.build import component
from zoo.models.dense_heads.towers import prior_bias, run
from zoo.models.layers.activation import make_activation
from zoo.models.layers.constants import constant
from zoo.models.layers.nms import batched_nms
from zoo.models.query_heads.dii_head import hidden
from zoo.models.query_heads.dynamic_conv import weighted
from zoo.models.roi_heads.extractor import rois_of
from zoo.structures import Detections, ImageGeometry

RELU = {"type": "ReLU", "inplace": True}
DYNAMIC_CONV = {"dynamic_dim": 64, "dynamic_num": 2}
SEED = 3
"""Detection starts from boxes drawn with this seed, so that results repeat; the authors draw others every time."""


@dataclass(frozen=True)
class DiffusionDetCriterion:
    """What training compares, and how; descriptions of an assigner and losses."""

    assigner: Mapping[str, Any]
    loss_cls: Mapping[str, Any]
    loss_bbox: Mapping[str, Any]
    loss_giou: Mapping[str, Any]
    num_classes: int = 80
    deep_supervision: bool = True


class TimeEmbedding(nn.Module):
    """Sines, then cosines of a time at falling frequencies."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, time: Tensor) -> Tensor:
        """Times (N,) as (N, channels)."""
        count = self.channels // 2
        index = torch.arange(count, device=time.device)
        angles = time[:, None] * torch.exp(index * -(math.log(10000) / (count - 1)))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class DiffusionDynamicConv(nn.Module):
    """Sparse R-CNN's dynamic convolution under DiffusionDet's names."""

    def __init__(self, channels: int, dynamic_dim: int, dynamic_num: int, size: int) -> None:
        super().__init__()
        self.shapes = ((channels, dynamic_dim), (dynamic_dim, channels))
        self.dynamic_layer = nn.Linear(channels, dynamic_num * channels * dynamic_dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(c) for c in (dynamic_dim, channels, channels))
        self.out_layer = nn.Linear(channels * size**2, channels)

    def forward(self, queries: Tensor, regions: Tensor) -> Tensor:
        """queries (M, C) and regions (M, C, h, w) to (M, C)."""
        x = weighted(self.dynamic_layer(queries), regions, self.shapes, (self.norm1, self.norm2), F.relu)
        return F.relu(self.norm3(self.out_layer(x.flatten(1))))


class SingleDiffusionDetHead(nn.Module):
    """One refinement: boxes attend to each other, look at their regions, and know how much noise they have.

    num_cls_convs, num_reg_convs: hidden layers of the branches. bbox_weights: deltas are divided by them.
    """

    def __init__(
        self,
        num_classes: int = 80,
        feat_channels: int = 256,
        dim_feedforward: int = 2048,
        num_cls_convs: int = 1,
        num_reg_convs: int = 3,
        num_heads: int = 8,
        dropout: float = 0.0,
        pooler_resolution: int = 7,
        scale_clamp: float = math.log(100000.0 / 16),
        bbox_weights: Sequence[float] = (2.0, 2.0, 1.0, 1.0),
        act_cfg: Mapping[str, Any] = RELU,
        dynamic_conv: Mapping[str, int] = DYNAMIC_CONV,
    ) -> None:
        super().__init__()
        channels = feat_channels
        self.self_attn = nn.MultiheadAttention(channels, num_heads, dropout=dropout, batch_first=True)
        self.inst_interact = DiffusionDynamicConv(channels, size=pooler_resolution, **dynamic_conv)
        self.linear1, self.linear2 = nn.Linear(channels, dim_feedforward), nn.Linear(dim_feedforward, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout, self.dropout1 = nn.Dropout(dropout), nn.Dropout(dropout)
        self.dropout2, self.dropout3 = nn.Dropout(dropout), nn.Dropout(dropout)
        self.activation = make_activation(act_cfg)
        self.block_time_mlp = nn.Sequential(nn.SiLU(), nn.Linear(channels * 4, channels * 2))
        self.cls_module, self.reg_module = hidden(num_cls_convs, channels), hidden(num_reg_convs, channels)
        self.class_logits, self.bboxes_delta = nn.Linear(channels, num_classes), nn.Linear(channels, 4)
        self.scale_clamp, self.bbox_weights = scale_clamp, tuple(bbox_weights)

    def forward(
        self, regions: Tensor, boxes: Tensor, states: Tensor | None, time: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits (N, Q, classes), boxes (N, Q, 4) xyxy and states (N, Q, C).

        regions: (N * Q, C, h, w), the boxes' features. boxes: (N, Q, 4) xyxy. states: those of the refinement before,
        the means of the regions if there was none. time: (N, 4 * C).
        """
        batch, count = boxes.shape[:2]
        if states is None:
            states = regions.mean(dim=(2, 3)).unflatten(0, (batch, count))
        states = self.norm1(states + self.dropout1(self.self_attn(states, states, states, need_weights=False)[0]))
        looked = self.inst_interact(states.flatten(0, 1), regions).view_as(states)
        states = self.norm2(states + self.dropout2(looked))
        wide = self.linear2(self.dropout(self.activation(self.linear1(states))))
        states = self.norm3(states + self.dropout3(wide))
        scale, shift = self.block_time_mlp(time)[:, None].chunk(2, dim=-1)
        x = states * (scale + 1) + shift
        deltas = self.bboxes_delta(run(self.reg_module, x))
        return self.class_logits(run(self.cls_module, x)), self.move(boxes.to(deltas), deltas), states

    def move(self, boxes: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (..., 4) xyxy moved by deltas (..., 4)."""
        x, y, w, h = box_convert(boxes, "xyxy", "cxcywh").unbind(-1)
        dx, dy, dw, dh = (d / weight for d, weight in zip(deltas.unbind(-1), self.bbox_weights))
        sizes = [side * d.clamp(max=self.scale_clamp).exp() for side, d in ((w, dw), (h, dh))]
        return box_convert(torch.stack([dx * w + x, dy * h + y, *sizes], dim=-1), "cxcywh", "xyxy")


class DynamicDiffusionDetHead(nn.Module):
    """A series of refinements, run once or, with less and less noise, several times.

    num_proposals: boxes. num_heads: refinements per run. snr_scale: of the boxes' coordinates against the noise.
    timesteps: in training. sampling_timesteps: runs. box_renewal: between runs, boxes without an object are drawn
    anew. use_ensemble: the results of all runs are put together. ddim_sampling_eta: how much noise is added again.
    deep_supervision: all refinements learn.
    """

    def __init__(
        self,
        num_classes: int = 80,
        feat_channels: int = 256,
        num_proposals: int = 500,
        num_heads: int = 6,
        prior_prob: float = 0.01,
        snr_scale: float = 2.0,
        timesteps: int = 1000,
        sampling_timesteps: int = 1,
        self_condition: bool = False,
        box_renewal: bool = True,
        use_ensemble: bool = True,
        deep_supervision: bool = True,
        ddim_sampling_eta: float = 1.0,
        criterion: Mapping[str, Any] | None = None,
        single_head: Mapping[str, Any] | None = None,
        roi_extractor: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_proposals, self.snr_scale = num_classes, num_proposals, snr_scale
        self.timesteps, self.sampling_timesteps = timesteps, sampling_timesteps
        self.box_renewal, self.use_ensemble, self.eta = box_renewal, use_ensemble, ddim_sampling_eta
        self.deep_supervision, self.test_cfg = deep_supervision, test_cfg or {}
        self.criterion: Any = component(criterion) if criterion else None
        self.roi_extractor = component(roi_extractor or {})
        size = self.roi_extractor.output_size[0]
        settings = {"type": "SingleDiffusionDetHead", **(single_head or {}), "num_classes": num_classes}
        head = component({**settings, "feat_channels": feat_channels, "pooler_resolution": size})
        self.head_series = nn.ModuleList(copy.deepcopy(head) for _ in range(num_heads))
        width = feat_channels * 4
        first, second = nn.Linear(feat_channels, width), nn.Linear(width, width)
        self.time_mlp = nn.Sequential(TimeEmbedding(feat_channels), first, nn.GELU(), second)
        for name, values in schedule(timesteps).items():
            self.register_buffer(name, values)
        self.init_weights(prior_prob)

    def init_weights(self, prior: float) -> None:
        """Xavier weights, and rare objects."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for head in self.head_series:
            nn.init.constant_(head.get_parameter("class_logits.bias"), prior_bias(prior))

    def forward(self, features: Sequence[Tensor], boxes: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (refinements, N, Q, classes) and boxes (refinements, N, Q, 4) xyxy.

        features: per level (N, C, H, W). boxes: (N, Q, 4) xyxy, with noise. time: (N,), how much.
        """
        embedded, states = self.time_mlp(time), None
        logits, result = [], []
        for head in self.head_series:
            regions = self.roi_extractor(features, rois_of(list(boxes)))
            scores, moved, states = head(regions, boxes, states, embedded)
            logits.append(scores)
            result.append(moved)
            boxes = moved.detach()
        return torch.stack(logits), torch.stack(result)

    def predict(self, features: Sequence[Tensor], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates, neither clipped nor free of empty boxes; every image starts alike."""
        noise = [np.random.RandomState(SEED) for _ in geometries]
        raw = torch.stack([drawn(source, self.num_proposals, features[0]) for source in noise])
        sizes = torch.stack([sides(geometry, raw) for geometry in geometries])
        times = torch.linspace(-1, self.timesteps - 1, self.sampling_timesteps + 1).int().tolist()[::-1]
        runs = []
        for time, following in pairwise(times):
            steps = torch.full((len(geometries),), time, device=raw.device)
            logits, boxes = (x[-1] for x in self(features, self.to_pixels(raw, sizes), steps))
            runs.append([self.best(x, b) for x, b in zip(logits, boxes)])
            if following >= 0:
                raw = self.renewed(raw, logits, boxes, sizes, (time, following), noise)
        several = self.use_ensemble and self.sampling_timesteps > 1
        return [self.suppress(list(parts) if several else [parts[-1]]) for parts in zip(*runs)]

    def to_pixels(self, raw: Tensor, sizes: Tensor) -> Tensor:
        """Boxes (N, Q, 4) xyxy in pixels from scaled ones. sizes: (N, 4), w, h, w, h."""
        shares = (raw.clamp(-self.snr_scale, self.snr_scale) / self.snr_scale + 1) / 2
        return box_convert(shares, "cxcywh", "xyxy") * sizes[:, None]

    def to_raw(self, boxes: Tensor, sizes: Tensor) -> Tensor:
        """The inverse of `to_pixels`."""
        shares = box_convert(boxes / sizes[:, None], "xyxy", "cxcywh")
        return ((shares * 2 - 1) * self.snr_scale).clamp(-self.snr_scale, self.snr_scale)

    def renewed(
        self,
        raw: Tensor,
        logits: Tensor,
        boxes: Tensor,
        sizes: Tensor,
        times: tuple[int, int],
        noise: Sequence[np.random.RandomState],
    ) -> Tensor:
        """The next run's boxes (N, Q, 4), with less noise (Song et al., DDIM, 2021, equation 12)."""
        now, then = (self.get_buffer("alphas_cumprod")[t].to(raw) for t in times)
        clean = self.to_raw(boxes, sizes)
        guessed = (raw / now.sqrt() - clean) / (1 / now - 1).sqrt()
        sigma = self.eta * ((1 - now / then) * (1 - then) / (1 - now)).sqrt()
        images = []
        for x, guess, scores, source in zip(clean, guessed, logits, noise):
            kept = scores.sigmoid().amax(-1) > (self.test_cfg.get("score_thr", 0) if self.box_renewal else -1)
            x, guess = x[kept], guess[kept]
            x = x * then.sqrt() + (1 - then - sigma**2).sqrt() * guess + sigma * drawn(source, len(x), x)
            images.append(torch.cat([x, drawn(source, self.num_proposals - len(x), x)]))
        return torch.stack(images)

    def best(self, logits: Tensor, boxes: Tensor) -> Detections:
        """An image's best pairs of box and class, as many as there are boxes."""
        scores, order = logits.sigmoid().flatten().topk(self.num_proposals)
        return Detections(boxes[order // self.num_classes], scores, order % self.num_classes)

    def suppress(self, parts: Sequence[Detections]) -> Detections:
        """The results of an image's runs, put together."""
        boxes, scores, labels = (torch.cat([getattr(d, name) for d in parts]) for name in ("boxes", "scores", "labels"))
        nms = self.test_cfg["nms"] if self.test_cfg.get("use_nms", True) else None
        keep, scores = batched_nms(boxes, scores, labels, nms)
        return Detections(boxes[keep], scores, labels[keep])


def sides(geometry: ImageGeometry, like: Tensor) -> Tensor:
    """(w, h, w, h) of an image."""
    height, width = geometry.size
    return constant((width, height, width, height), like)


def drawn(source: np.random.RandomState, count: int, like: Tensor) -> Tensor:
    """Boxes (count, 4) of normal noise."""
    return torch.from_numpy(source.standard_normal((count, 4))).to(like)


def schedule(steps: int) -> dict[str, Tensor]:
    """The constants of diffusion with a cosine schedule (Nichol and Dhariwal, 2021), (steps,) each, by their names."""
    x = torch.linspace(0, steps, steps + 1, dtype=torch.float64) / steps
    kept = torch.cos((x + 0.008) / 1.008 * math.pi * 0.5) ** 2
    betas = (1 - kept[1:] / kept[:-1]).clamp(0, 0.999)
    alphas = (1 - betas).cumprod(0)
    before = F.pad(alphas[:-1], (1, 0), value=1.0)
    variance = betas * (1 - before) / (1 - alphas)
    return {
        "betas": betas,
        "alphas_cumprod": alphas,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": alphas.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - alphas).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - alphas).log(),
        "sqrt_recip_alphas_cumprod": (1 / alphas).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / alphas - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1 - alphas),
        "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - alphas),
    }
