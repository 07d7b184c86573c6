"""Operators that no library has, each against the simplest way to write it, with the results compared.

    python -m benchmarks.perf.operators [-k soft] [--rounds 5] [--json]

Both ways run in turns on the same tensors of a detector's usual sizes; reported are the median seconds, their ratio,
and the largest difference of the results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from benchmarks.perf.checkpoints import interleaved
from zoo.models.box_ops import pairwise_iou
from zoo.models.layers.carafe import carafe
from zoo.models.layers.masked_conv import MaskedConv2d
from zoo.models.layers.nms import batched_nms
from zoo.models.layers.soft_nms import soft_nms
from zoo.models.roi_heads.deform_roi_pool import deform_roi_pool
from zoo.models.transformer.deformable_attention import sample_levels

Way = Callable[[], Tensor]


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("-k", default="", help="only operators whose name contains this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(name, *make(), args.rounds) for name, make in OPERATORS.items() if args.k in name]
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'operator':32}{'ours, s':>10}{'simple, s':>11}{'ratio':>8}{'difference':>12}")
    for row in rows:
        print(
            f"{row['operator']:32}{row['ours']:10.4f}{row['simple']:11.4f}{row['ratio']:8.1f}{row['difference']:12.1e}"
        )


@torch.inference_mode()
def measure(name: str, ours: Way, simple: Way, rounds: int) -> dict[str, object]:
    """One operator's row."""
    difference = (ours() - simple()).abs().max().item()
    times = {way: median(values) for way, values in interleaved({"ours": ours, "simple": simple}, rounds).items()}
    return {
        "operator": name,
        **times,
        "ratio": times["simple"] / times["ours"],
        "difference": difference,
    }


def soft_suppression() -> tuple[Way, Way]:
    """1000 boxes of 80 classes; simple: one box at a time."""
    boxes, scores, labels = scene(1000)

    def simple() -> Tensor:
        left, picked = scores.clone(), []
        while left.max() >= 1e-3:
            best = int(left.argmax())
            picked.append(left[best].clone())
            iou = pairwise_iou(boxes[best : best + 1], boxes)[0]
            left = torch.where((labels == labels[best]) & (iou >= 0.3), left * (1 - iou), left)
            left[best] = 0
        return torch.stack(picked)

    return lambda: soft_nms(boxes, scores, labels)[1], simple


def limited_suppression() -> tuple[Way, Way]:
    """The best 100 of 20,000 boxes of 80 classes; simple: class by class."""
    boxes, scores, labels = scene(20_000)

    def simple() -> Tensor:
        kept = [scores[labels == c][nms(boxes[labels == c], scores[labels == c], 0.5)] for c in range(80)]
        return torch.cat(kept).sort(descending=True).values[:100]

    return lambda: batched_nms(boxes, scores, labels, {"type": "nms", "iou_threshold": 0.5}, 100)[1], simple


def reassembly() -> tuple[Way, Way]:
    """CARAFE of 64 channels from 50 x 68 to twice that; simple: all windows, repeated for every output pixel."""
    x, kernels = torch.randn(1, 64, 50, 68), torch.randn(1, 25, 100, 136)

    def simple() -> Tensor:
        windows = F.unfold(x, 5, padding=2).view(1, 64 * 25, 50, 68)
        windows = F.interpolate(windows, scale_factor=2, mode="nearest").view(1, 64, 25, 100, 136)
        return (windows * kernels[:, None]).sum(dim=2)

    return lambda: carafe(x, kernels, 5, 1, 2), simple


def masked_convolution() -> tuple[Way, Way]:
    """256 channels at 1 % of 100 x 136 cells; simple: everywhere, then masked."""
    conv, x = MaskedConv2d(256, 256, 3, padding=1), torch.randn(1, 256, 100, 136)
    mask = torch.rand(1, 100, 136) < 0.01
    return lambda: conv(x, mask), lambda: conv(x) * mask[:, None]


def deformable_pooling() -> tuple[Way, Way]:
    """7 x 7 bins of 500 regions, 64 channels, 4 samples each; simple: one region at a time."""
    x, (boxes, _, _) = torch.randn(1, 64, 160, 160), scene(500)
    rois = torch.cat([torch.zeros(500, 1), boxes.clamp(max=600)], dim=1)
    offsets = torch.randn(500, 2, 7, 7) * 0.1
    sample = torch.stack(torch.meshgrid(torch.arange(14), torch.arange(14), indexing="xy"), dim=-1) / 14 + 1 / 28

    def simple() -> Tensor:
        pooled = []
        for (_, *box), offset in zip(rois, offsets):
            corner, size = torch.stack(box[:2]) / 4, torch.stack([box[2] - box[0], box[3] - box[1]]) / 4
            moved = offset.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).permute(1, 2, 0) * 0.1
            grid = (corner + (sample + moved) * size) / 80 - 1
            samples = F.grid_sample(x, grid[None], align_corners=False, padding_mode="border")
            pooled.append(F.avg_pool2d(samples, 2)[0])
        return torch.stack(pooled)

    return lambda: deform_roi_pool(x, rois, offsets, (7, 7), 0.25, sampling_ratio=2), simple


def deformable_attention() -> tuple[Way, Way]:
    """100 queries, 8 heads, 4 points in each of 4 maps; simple: one head, map and point at a time."""
    shapes = [(64, 80), (32, 40), (16, 20), (8, 10)]
    value = torch.randn(1, sum(h * w for h, w in shapes), 8, 32)
    locations, weights = torch.rand(1, 100, 8, 4, 4, 2), torch.rand(1, 100, 8, 4, 4)

    def simple() -> Tensor:
        heads = []
        for head in range(8):
            total: Tensor | float = 0.0
            for level, part in enumerate(value[:, :, head].split([h * w for h, w in shapes], dim=1)):
                maps = part.transpose(1, 2).unflatten(2, shapes[level])
                for point in range(4):
                    grid = 2 * locations[:, None, :, head, level, point] - 1
                    samples = F.grid_sample(maps, grid, align_corners=False)[:, :, 0]
                    total = total + samples * weights[:, None, :, head, level, point]
            heads.append(total)
        return torch.cat(heads, dim=1).transpose(1, 2)  # type: ignore[arg-type]

    return lambda: sample_levels(value, shapes, locations, weights), simple


def scene(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores (no two equal) and labels of a crowded image."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 400
    boxes = torch.cat([corner, corner + 20 + torch.rand(count, 2, generator=generator) * 200], dim=1)
    scores = (torch.randperm(count, generator=generator) + 1) / (count + 1)
    return boxes, scores, torch.randint(80, (count,), generator=generator)


OPERATORS: dict[str, Callable[[], tuple[Way, Way]]] = {
    "soft-NMS": soft_suppression,
    "NMS, the best 100": limited_suppression,
    "CARAFE": reassembly,
    "masked convolution": masked_convolution,
    "deformable RoI pooling": deformable_pooling,
    "multi-scale deformable attention": deformable_attention,
}


if __name__ == "__main__":
    main()
