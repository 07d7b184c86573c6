"""The special paths that are taken on a CPU, against the ordinary ones, by instruction set and threads.

    python -m benchmarks.perf.cpu_paths [-k align] [--rounds 9] [--threads 1,2] [--json]

Each path runs in turns with the ordinary way on tensors of a detector's usual sizes; the ratio is seconds of the
ordinary way over seconds of the special one, above 1 where the special one is faster, with the range of the rounds'
middle half. Every instruction set that this processor has is tried, in a process of its own, since the libraries read
their variables once: `native`, and `avx2` (ATen, oneDNN and MKL held to AVX2). A path belongs into the networks only
where it loses no more than 3% anywhere; one that does is used where it wins, or not at all, which its name says. Times
are CPU time on one thread and wall time on several.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import ops
from torchvision.ops import nms, roi_align

from benchmarks.perf.printed import rows_here
from zoo.models.backbones.convnext import channel_norms
from zoo.models.backbones.csp_darknet import CSPDarknet
from zoo.models.backbones.resnet import ResNet
from zoo.models.backbones.ssd_vgg import SSDVGG
from zoo.models.backbones.vit import RelativeAttention
from zoo.models.dense_heads.rpn import RPNHead
from zoo.models.layers import onednn
from zoo.models.layers.deform_rows import Kernel, convolve_rows
from zoo.models.layers.fast_conv import FastConv2d, hold_steady
from zoo.models.layers.nms import separate
from zoo.models.layers.points import cell_centers
from zoo.models.layers.ranking import best, ranked
from zoo.models.layers.rows import by_rows
from zoo.models.layers.survivors import survivors
from zoo.models.layers.winograd_training import convolve_for_gradients
from zoo.models.losses.focal import FocalLoss
from zoo.models.roi_heads.roi_align_cpu import align_rows
from zoo.models.transformer.attention_rows import sum_rows
from zoo.models.transformer.deformable_attention import sample_maps

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
INSTRUCTIONS: dict[str, dict[str, str]] = {"native": {}, "avx2": AVX2}
Ways = tuple[Callable[[], Any], Callable[[], Any]]  # special, ordinary


def main() -> None:
    """Measure every condition, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("-k", default="", help="only paths whose name contains this")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure_all(args.k, args.rounds, int(args.threads))))
        return
    rows = [row for name in conditions() for count in args.threads.split(",") for row in child(name, count, args)]
    print(rows_here(rows, args.json, style="github"))


def conditions() -> list[str]:
    """The instruction sets to try: AVX2 apart only where the processor has more."""
    return ["native", "avx2"] if torch.backends.cpu.get_cpu_capability() != "AVX2" else ["native"]


def child(instructions: str, threads: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one condition, measured in a process of its own."""
    words = [sys.executable, "-P", "-m", "benchmarks.perf.cpu_paths", "--child", "--threads", threads]
    words += ["-k", args.k, "--rounds", str(args.rounds)]
    environment = {**os.environ, **INSTRUCTIONS[instructions]}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [{"instructions": instructions, "threads": int(threads), **row} for row in json.loads(done.stdout)]


@torch.inference_mode()
def measure_all(wanted: str, rounds: int, threads: int) -> list[dict[str, Any]]:
    """A row per path under the conditions of this process."""
    torch.set_num_threads(threads)
    capability = torch.backends.cpu.get_cpu_capability()
    chosen = {name: make for name, make in PATHS.items() if wanted in name}
    return [{"ATen": capability, "path": name, **measure(*make(), rounds, threads)} for name, make in chosen.items()]


def measure(special: Callable[[], Any], ordinary: Callable[[], Any], rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of both ways and their ratio, in turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    special(), ordinary()
    pairs = [tuple(seconds(way, clock) for way in (special, ordinary)) for _ in range(rounds)]
    low, middle, high = quantiles([pair[1] / pair[0] for pair in pairs], n=4)
    fastest = [min(pair[side] for pair in pairs) for side in (0, 1)]
    return {
        "special, ms": round(1000 * fastest[0], 1),
        "ordinary, ms": round(1000 * fastest[1], 1),
        "ratio": round(middle, 2),
        "from": round(low, 2),
        "to": round(high, 2),
    }


def seconds(way: Callable[[], Any], clock: Callable[[], float]) -> float:
    """How long a call takes."""
    start = clock()
    way()
    return clock() - start


def box_head() -> Ways:
    """The first linear layer on 1000 regions as a convolution over whole maps; ordinary: a product of copied maps."""
    x = torch.randn(1000, 7, 7, 256).permute(0, 3, 1, 2)
    weight, bias = torch.randn(1024, 256 * 49) / 100, torch.randn(1024)
    return (
        lambda: F.conv2d(x, weight.view(1024, 256, 7, 7), bias).flatten(1),
        lambda: F.linear(x.flatten(1), weight, bias),
    )


def channels_last() -> Ways:
    """A 3x3 convolution of a large map, the channels of a pixel together; ordinary: channel by channel."""
    x, weight = torch.randn(1, 128, 100, 152), torch.randn(128, 128, 3, 3) / 100
    together = x.contiguous(memory_format=torch.channels_last)
    return lambda: F.conv2d(together, weight, padding=1), lambda: F.conv2d(x, weight, padding=1)


def winograd(channels: int, height: int, width: int, count: int = 1) -> Ways:
    """A 3x3 convolution by Winograd's method, its filters kept; ordinary: PyTorch's. Both channels-last."""
    x = torch.randn(count, channels, height, width).contiguous(memory_format=torch.channels_last)
    layer = FastConv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda: layer(x), lambda: F.conv2d(x, layer.weight, layer.bias, padding=1)


def one_pass() -> Ways:
    """A block's last 1x1 convolution, its sum and its activation at once; ordinary: one after the other."""
    x, shortcut = (torch.randn(1, c, 200, 304).contiguous(memory_format=torch.channels_last) for c in (64, 256))
    layer, relu, overwritten = FastConv2d(64, 256, 1), nn.ReLU(inplace=True), shortcut.clone()
    return lambda: layer(x, relu, overwritten), lambda: relu(layer(x).add_(shortcut))


def one_pass_activation(kernel: int, channels: int, side: int, activation: nn.Module) -> Ways:
    """A convolution and its activation at once, by oneDNN; ordinary: one after the other."""
    x = torch.randn(1, channels, side, side).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda: onednn.convolve(layer, x, activation), lambda: activation(layer(x))


def stem() -> Ways:
    """ResNet-50's first convolution and pooling band by band; ordinary: at once."""
    network, x = ResNet(50).eval(), torch.randn(1, 3, 800, 1216).contiguous(memory_format=torch.channels_last)
    return lambda: network.run_stem(x), lambda: network.maxpool(network.run_first(x))


@torch.inference_mode(False)
def training_winograd(channels: int, height: int, width: int, count: int = 2) -> Ways:
    """A 3x3 convolution and all its gradients by Winograd's method, filters packed anew; ordinary: PyTorch's. NCHW."""
    x = torch.randn(count, channels, height, width, requires_grad=True)
    of = [x, *FastConv2d(channels, channels, 3, padding=1).parameters()]
    outer = torch.randn(count, channels, height, width)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def gradients(way: Callable[..., Tensor]) -> Sequence[Tensor]:
        return torch.autograd.grad(way(*of), of, outer)

    return partial(gradients, convolve_for_gradients), partial(gradients, partial(F.conv2d, padding=1))


def small_vgg() -> Ways:
    """VGG at 300 x 300, the channels of a pixel together; ordinary: channel by channel."""
    return both_layouts(SSDVGG(16, out_feature_indices=(22, 34)), 300)


def small_darknet() -> Ways:
    """YOLOX-tiny's backbone at 416 x 416, the channels of a pixel together; ordinary: channel by channel."""
    return both_layouts(CSPDarknet(widen_factor=0.375, deepen_factor=0.33), 416)


def both_layouts(network: torch.nn.Module, side: int) -> Ways:
    """A network on an image of `side` x `side`, the channels of a pixel together and channel by channel."""
    network.eval()
    x = torch.randn(1, 3, side, side)
    together = x.contiguous(memory_format=torch.channels_last)
    return lambda: network(together), lambda: network(x)


def products() -> Ways:
    """A network with deformable convolutions, its 1x1 convolutions as products; ordinary: PyTorch's convolutions."""
    deformable = {"dcn": {"type": "DCN"}, "stage_with_dcn": (False, True, True, True)}
    steady, plain = (ResNet(50, **deformable).eval() for _ in range(2))  # type: ignore[arg-type]
    plain.load_state_dict(steady.state_dict())
    hold_steady(steady)
    x = torch.randn(1, 3, 480, 512)
    return lambda: steady(x), lambda: plain(x)


def pointwise() -> Ways:
    """ResNet-50, channels-last, 1x1 convolutions by oneDNN on one thread too; ordinary: by PyTorch's choice.

    On several threads PyTorch chooses oneDNN itself.
    """
    special, ordinary = (ResNet(50).eval() for _ in range(2))
    ordinary.load_state_dict(special.state_dict())
    for module in ordinary.modules():
        if isinstance(module, FastConv2d):
            module.is_product = False
    x = torch.randn(1, 3, 800, 1088).contiguous(memory_format=torch.channels_last)
    return lambda: special(x), lambda: ordinary(x)


def grouped() -> Ways:
    """NMS of 4000 boxes in 80 classes, class by class; ordinary: all boxes at once, moved apart."""
    boxes, scores = scene(4000)
    groups = torch.randint(80, (4000,))
    moved = separate(boxes, groups)
    order = ranked(scores)[1]
    return (
        lambda: survivors(moved[order], scores[order], 0.5, groups[order]),
        lambda: nms(moved, scores, 0.5),
    )


def selection() -> Ways:
    """The best 1000 of 200,000 scores; ordinary: a whole sort."""
    scores = torch.rand(200_000)
    return lambda: scores[best(scores, 1000)], lambda: ranked(scores)[0][:1000]


def alignment(sampling_ratio: int = 0) -> Ways:
    """RoI align of 500 regions as sums of rows; ordinary: torchvision's operator."""
    features = torch.randn(1, 256, 100, 152).contiguous(memory_format=torch.channels_last)
    rois = torch.cat([torch.zeros(500, 1), scene(500)[0] * 4], dim=1)
    nchw = features.contiguous()
    return (
        lambda: align_rows(features, rois, (7, 7), 1 / 8, sampling_ratio, True),
        lambda: roi_align(nchw, rois, (7, 7), 1 / 8, sampling_ratio, True),
    )


@torch.inference_mode(False)
def training_alignment() -> Ways:
    """RoI align of 500 regions of two images and its gradient, as sums of rows; ordinary: torchvision's operator."""
    features = torch.randn(2, 256, 200, 304, requires_grad=True)
    rois = torch.cat([torch.arange(500.0)[:, None] % 2, scene(500)[0] * 4], dim=1)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def gradient(pool: Callable[..., Tensor]) -> Tensor:
        (result,) = torch.autograd.grad(pool(features, rois, (7, 7), 1 / 4, 0, True).square().sum(), features)
        return result

    return partial(gradient, align_rows), partial(gradient, roi_align)


def deformable_attention() -> Ways:
    """Deformable DETR's samples of 20,197 queries, as sums of rows; ordinary: by PyTorch's `grid_sample`."""
    shapes = [(100, 152), (50, 76), (25, 38), (13, 19)]
    centers = torch.cat([cell_centers(shape, "cpu") for shape in shapes])
    sides = torch.tensor([(w, h) for h, w in shapes])[:, None]
    locations = centers[None, :, None, None, None] + torch.randn(1, len(centers), 8, 4, 4, 2) * 3 / sides
    value, weights = torch.randn(1, len(centers), 8, 32), torch.rand(1, len(centers), 8, 4, 4)
    of = value, shapes, locations, weights
    return lambda: sum_rows(*of), lambda: sample_maps(*of)


def deformable_convolution(channels: int, height: int, width: int) -> Ways:
    """A modulated deformable 3x3 convolution, its samples as sums of rows; ordinary: torchvision's operator."""
    x = torch.randn(1, channels, height, width).contiguous(memory_format=torch.channels_last)
    offset, mask = 2 * torch.randn(1, 18, height, width), torch.rand(1, 9, height, width)
    weight, kernel = torch.randn(channels, channels, 3, 3), Kernel((3, 3), (1, 1), (1, 1), (1, 1))
    return (
        lambda: convolve_rows(x, offset, weight, None, kernel, mask),
        lambda: ops.deform_conv2d(x, offset, weight, None, 1, 1, 1, mask),
    )


@torch.inference_mode(False)
def training_loss() -> Ways:
    """RetinaNet's focal loss of two images and its gradient, piece by piece; ordinary: of all anchors at once."""
    x = (torch.randn(443_628, 80) - 4).requires_grad_()
    labels = torch.full((len(x),), 80)
    labels[::4000] = torch.arange(len(labels[::4000])) % 80

    @torch.inference_mode(False)
    @torch.enable_grad()
    def gradient(pieces: bool) -> Tensor:
        loss = FocalLoss(reduction="sum")
        value = loss(x, labels) if pieces else loss.total(x, labels, None)
        return torch.autograd.grad(value, x)[0]

    return partial(gradient, True), partial(gradient, False)


def feedforward(rows: int, channels: int, hidden: int, activation: nn.Module) -> Ways:
    """Two linear layers, some rows at a time; ordinary: all rows at once."""
    x = torch.randn(rows, channels)
    layers = nn.Sequential(nn.Linear(channels, hidden), activation, nn.Linear(hidden, channels))
    return partial(by_rows, layers, layers, x, hidden), partial(layers, x)


def vit_attention() -> Ways:
    """ViTDet's attention over a map of 64 x 64 cells, band by band; ordinary: all scores at once."""
    layer, (q, k, v) = RelativeAttention(768, 12, True, True, (64, 64)), torch.randn(3, 1, 12, 4096, 64)
    given = q.unflatten(2, (64, 64)), k, v, layer.positions(64, 64)
    return partial(layer.by_bands, *given), partial(layer.attend, *given)


def response_norms() -> Ways:
    """ConvNeXt V2's norm of each of 512 channels, some rows at a time; ordinary: PyTorch's."""
    x = torch.randn(1, 200, 304, 512)
    return partial(channel_norms, x), lambda: torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)


def proposals(height: int, width: int) -> Ways:
    """What a region proposal network predicts of one level, tile by tile; ordinary: of its whole activated map."""
    anchors = {"type": "AnchorGenerator", "scales": [8], "ratios": [0.5, 1.0, 2.0], "strides": [4]}
    head = RPNHead(256, feat_channels=256, anchor_generator=anchors).eval()
    x = torch.randn(1, 256, height, width).contiguous(memory_format=torch.channels_last)
    return partial(head.level, x), lambda: head.predictions(head.hidden(x))


def scene(count: int) -> tuple[Tensor, Tensor]:
    """Boxes (K, 4) xyxy in an image of some 300 pixels, and scores (K,)."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * 240
    sizes = 4 + torch.rand(count, 2, generator=generator) * 50
    return torch.cat([corners, corners + sizes], dim=1), torch.rand(count, generator=generator)


PATHS: dict[str, Callable[[], Ways]] = {
    "box head as a convolution (not used)": box_head,
    "channels-last": channels_last,
    "channels-last, VGG at 300 x 300": small_vgg,
    "channels-last, CSPDarknet at 416 x 416": small_darknet,
    "1x1 convolutions as products, deformable network": products,
    "NMS by groups": grouped,
    "selection without a sort": selection,
    "RoI align as sums of rows": alignment,
    "RoI align as sums of rows, 2 x 2 samples per bin": lambda: alignment(2),
    "RoI align as sums of rows, training": training_alignment,
    "multi-scale deformable attention as sums of rows": deformable_attention,
    "deformable convolution as sums of rows, 256 channels, 100 x 152": lambda: deformable_convolution(256, 100, 152),
    "deformable convolution as sums of rows, 512 channels, 25 x 38": lambda: deformable_convolution(512, 25, 38),
    "focal loss in pieces, training": training_loss,
    "1x1 convolutions by oneDNN": pointwise,
    "3x3 convolution by Winograd's method, 128 channels, 100 x 152": lambda: winograd(128, 100, 152),
    "3x3 convolution by Winograd's method, 128 channels, 80 x 80": lambda: winograd(128, 80, 80),
    "3x3 convolution by Winograd's method, 256 channels, 50 x 76": lambda: winograd(256, 50, 76),
    "3x3 convolution by Winograd's method, 256 channels, 100 x 152": lambda: winograd(256, 100, 152),
    "3x3 convolution by Winograd's method, 256 channels, 100 regions of 14 x 14": lambda: winograd(256, 14, 14, 100),
    "3x3 convolution by Winograd's method, 256 channels, 25 x 38": lambda: winograd(256, 25, 38),
    "3x3 convolution by Winograd's method, 512 channels, 38 x 38": lambda: winograd(512, 38, 38),
    "3x3 convolution by Winograd's method, 512 channels, 25 x 38": lambda: winograd(512, 25, 38),
    "convolution, sum and activation at once": one_pass,
    "3x3 convolution and ReLU at once, 64 channels, 80 x 80": partial(one_pass_activation, 3, 64, 80, nn.ReLU(True)),
    "1x1 convolution and SiLU at once, 64 channels, 80 x 80": partial(one_pass_activation, 1, 64, 80, nn.SiLU(True)),
    "3x3 convolution and SiLU at once, 128 channels, 20 x 20 (not used)": partial(
        one_pass_activation, 3, 128, 20, nn.SiLU(True)
    ),
    "1x1 convolution and ReLU at once, 32 channels, 16 x 16 (not used)": partial(
        one_pass_activation, 1, 32, 16, nn.ReLU(True)
    ),
    "stem by bands": stem,
    "feed-forward network by rows, 60,800 x 96, 384 between": partial(feedforward, 60_800, 96, 384, nn.GELU()),
    "feed-forward network by rows, 20,197 x 256, 2048 between": partial(feedforward, 20_197, 256, 2048, nn.ReLU(True)),
    "feed-forward network by rows, 4096 x 768, 3072 between": partial(feedforward, 4096, 768, 3072, nn.GELU()),
    "attention of ViTDet by bands, 64 x 64 cells": vit_attention,
    "response norms by rows, 200 x 304, 512 channels": response_norms,
    "predictions of an RPN in passing, 200 x 304": partial(proposals, 200, 304),
    "3x3 convolution by Winograd's method in training, 256 channels, 2 x 50 x 76": lambda: training_winograd(
        256, 50, 76
    ),
    "3x3 convolution by Winograd's method in training, 256 channels, 2 x 100 x 152": lambda: training_winograd(
        256, 100, 152
    ),
    "3x3 convolution by Winograd's method in training, 256 channels, 256 regions of 14 x 14": lambda: training_winograd(
        256, 14, 14, 256
    ),
    "3x3 convolution by Winograd's method in training, 512 channels, 2 x 50 x 76": lambda: training_winograd(
        512, 50, 76
    ),
}


if __name__ == "__main__":
    main()
