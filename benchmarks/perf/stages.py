"""A detector's stages, each against the simple way to write it and against torchvision, on the same inputs.

    python -m benchmarks.perf.stages [-k paste] [--size 800x1216] [--rounds 7] [--threads 2] [--json]

Mask R-CNN R50-FPN, with the same random weights as torchvision's; all ways of a stage take turns, and the best of their
rounds count. Reported are seconds, and how many times as long the others take. The simple way is

- preprocess: the arithmetic of a pipeline, operation by operation in NumPy;
- network, regions, masks: the same modules without what `zoo.models.layers.memory` allows;
- proposals, boxes: a loop over levels or classes, with NMS for each;
- paste: every mask sampled over the whole image;
- encode: pycocotools on whole masks; evaluate: pycocotools on 500 images of 100 detections;
- whole: all of an image, from input to pasted masks. "whole, faster" is ours with --fuse-conv-bn --channels-last --amp
  bf16 against torchvision's as it is.

A way that somebody does not have is left empty.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import nms

from benchmarks.perf.checkpoints import interleaved
from benchmarks.perf.evaluation import box_numbers, discs, generate, whole_mask
from benchmarks.speed import contestants, optimizations
from benchmarks.speed import images as images
from benchmarks.speed.compare_config import CompareConfig
from benchmarks.speed.images import generated
from benchmarks.speed.options import Options
from benchmarks.speed.peers.counterparts import counterpart
from benchmarks.speed.peers.torchvision import TorchvisionDetector
from benchmarks.speed.workload import DetectorWorkload
from zoo.checkpoint.convert.to_torchvision import to_torchvision
from zoo.coco_format.results import encode_masks
from zoo.models.layers import memory_format
from zoo.models.layers.masks import paste_masks
from zoo.models.roi_heads.extractor import rois_of
from zoo.structures import ImageGeometry

MODEL = "mask_rcnn_r50_fpn_1x_coco"
FASTER = Options(fuse_conv_bn=True, channels_last=True, amp="bf16")
Way = Callable[[], Any]
Ways = dict[str, Way]


@dataclass
class Scene:
    """Both networks, an image of (H, W, 3), its input (1, 3, H, W), and what the first stages make of it."""

    ours: Any
    theirs: Any
    image: np.ndarray
    images: Tensor
    geometry: ImageGeometry

    @classmethod
    def of(cls, size: tuple[int, int]) -> Scene:
        """A generated image whose input has this (h, w)."""
        source = generated(1, size)[0]
        ours, _ = contestants.network(CompareConfig(MODEL, ["torchvision"], [source]))
        theirs = TorchvisionDetector(counterpart(MODEL, "torchvision"), ours.preprocess)
        theirs.network.load_state_dict(to_torchvision(ours.state_dict(), len(ours.classes or ()))[1])
        images = torch.from_numpy(source.transpose(2, 0, 1).copy())[None].float() / 64 - 2
        return cls(ours, theirs.eval().network, source, images, ImageGeometry.of_input(size))

    def features(self) -> tuple[Tensor, ...]:
        """Our feature maps, finest first."""
        return self.ours.features(self.images)

    def proposals(self) -> Tensor:
        """Our proposals, (M, 4)."""
        return self.ours.propose(self.features(), [self.geometry])[0]

    def detections(self) -> Any:
        """Our detections without masks, in input coordinates."""
        return self.ours.roi_head.predict_boxes(self.features(), [self.proposals()], [self.geometry])[0]


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("-k", default="", help="only stages whose name contains this")
    parser.add_argument("--size", default="800x1216", metavar="HxW", help="of the network's input (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    height, width = (int(side) for side in args.size.split("x"))
    scene = Scene.of((height, width))
    rows = []
    for name, make in STAGES.items():
        if args.k in name:
            rows.append(measure(name, make, scene, args.rounds))
            if not args.json:
                print(line(rows[-1]) if len(rows) > 1 else f"{header(rows[0])}\n{line(rows[0])}", flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))


@torch.inference_mode()
def measure(name: str, make: Callable[[Scene], Ways], scene: Scene, rounds: int) -> dict[str, Any]:
    """One stage's row: the best seconds of each way, and their ratios to ours."""
    best = {way: min(times) for way, times in interleaved(make(scene), rounds).items()}
    ratios = {f"{way} / ours": best[way] / best["ours"] if way in best else None for way in ("simple", "torchvision")}
    return {"stage": name, **{f"{way}, s": best.get(way) for way in ("ours", "simple", "torchvision")}, **ratios}


def header(row: dict[str, Any]) -> str:
    """The names of a row's values."""
    return f"{'stage':16}" + "".join(f"{key:>22}" for key in list(row)[1:])


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    return f"{row['stage']:16}" + "".join(
        f"{'' if value is None else format(value, '.4f' if key.endswith(', s') else '.2f'):>22}"
        for key, value in list(row.items())[1:]
    )


@contextmanager
def plainly() -> Iterator[None]:
    """Without what makes inference faster than training."""
    with patch.object(memory_format, "unrecorded", bool):
        yield


def simply(work: Callable[..., Any], *args: Any) -> Way:
    """`work` without the short cuts."""

    def run() -> Any:
        with plainly():
            return work(*args)

    return run


def preprocess(scene: Scene) -> Ways:
    """A source of 480 x 640 to an input."""
    source = generated(1)[0]
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    transform = GeneralizedRCNNTransform(800, 1333, (mean / 255).tolist(), (std / 255).tolist()).eval()

    def simple() -> Tensor:
        image = (cv2.resize(source, (1067, 800))[..., ::-1] - mean) / std
        image = np.pad(image, ((0, 0), (0, -1067 % 32), (0, 0)))
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()

    def torchvision() -> Any:
        return transform([torch.from_numpy(source[..., ::-1].transpose(2, 0, 1).copy()).float() / 255])

    return {"ours": lambda: scene.ours.preprocess(source), "simple": simple, "torchvision": torchvision}


def network(scene: Scene) -> Ways:
    """Backbone, pyramid and the region proposal network's maps."""

    def ours() -> Any:
        return scene.ours.rpn_head(scene.features())

    def torchvision() -> Any:
        return scene.theirs.rpn.head(list(scene.theirs.backbone(scene.images).values()))

    return {"ours": ours, "simple": simply(ours), "torchvision": torchvision}


def proposals(scene: Scene) -> Ways:
    """From these maps to a thousand proposals."""
    head, geometries = scene.ours.rpn_head, [scene.geometry]
    outputs = head(scene.features())
    levels, cfg = head.levels(outputs, 0), head.test_cfg

    def simple() -> Tensor:
        result = []
        for level in levels:
            scores, order = level.scores[:, 0].sort(descending=True)
            best = order[: cfg["nms_pre"]]
            boxes = head.bbox_coder.decode(level.priors[best], level.regression[best], size=scene.geometry.size)
            keep = nms(boxes, scores[: cfg["nms_pre"]], cfg["nms"]["iou_threshold"])
            result.append(torch.cat([boxes[keep], scores[keep][:, None]], dim=1))
        together = torch.cat(result)
        return together[together[:, 4].argsort(descending=True)[: cfg["max_per_img"]]]

    rpn, (logits, deltas) = scene.theirs.rpn, outputs
    counts = [x[0].numel() for x in logits]
    flat = [torch.cat([x[0].permute(1, 2, 0).reshape(-1, size) for x in maps])
            for maps, size in ((logits, 1), (deltas, 4))]  # fmt: skip
    priors = torch.cat(head.priors(logits))

    def torchvision() -> Any:
        boxes = rpn.box_coder.decode(flat[1], [priors]).view(1, -1, 4)
        return rpn.filter_proposals(boxes, flat[0], [scene.geometry.size], counts)

    return {"ours": lambda: head.predict(outputs, geometries), "simple": simple, "torchvision": torchvision}


def regions(scene: Scene) -> Ways:
    """Features of a thousand regions, and the box head on them."""
    heads = scene.theirs.roi_heads
    theirs = (heads.box_roi_pool, heads.box_head, heads.box_predictor)
    return on_regions(scene, scene.proposals(), scene.ours.roi_head.box_outputs, *theirs)


def masks(scene: Scene) -> Ways:
    """Features of the detections' regions, and the mask head on them."""
    heads = scene.theirs.roi_heads
    theirs = (heads.mask_roi_pool, heads.mask_head, heads.mask_predictor)
    return on_regions(scene, scene.detections().boxes, scene.ours.roi_head.mask_logits, *theirs)


def on_regions(scene: Scene, boxes: Tensor, ours: Callable[..., Any], pool: Any, head: Any, predictor: Any) -> Ways:
    """A head on the features of boxes (M, 4). ours: (features, regions) -> outputs. The rest is torchvision's."""
    features, rois = scene.features(), rois_of([boxes])
    plain, maps = [x.contiguous() for x in features], by_name(features)

    def torchvision() -> Any:
        return predictor(head(pool(maps, [boxes], [scene.geometry.size])))

    return {"ours": partial(ours, features, rois), "simple": simply(ours, plain, rois), "torchvision": torchvision}


def boxes(scene: Scene) -> Ways:
    """From class logits and deltas to detections."""
    result = scene.proposals()
    logits, deltas = scene.ours.roi_head.box_outputs(scene.features(), rois_of([result]))
    head, cfg, heads = scene.ours.roi_head.bbox_head, scene.ours.roi_head.test_cfg, scene.theirs.roi_heads
    wide, wide_deltas = F.pad(logits.roll(1, dims=1), (0, 10), value=-30.0), F.pad(deltas, (4, 40))

    def simple() -> Tensor:
        scores, decoded, kept = logits.softmax(-1), head.boxes(result, deltas, scene.geometry), []
        for c in range(head.num_classes):
            above = scores[:, c] > cfg["score_thr"]
            candidates, values = decoded[above, 4 * c : 4 * c + 4], scores[above, c]
            keep = nms(candidates, values, cfg["nms"]["iou_threshold"])
            kept.append(torch.cat([candidates[keep], values[keep][:, None]], dim=1))
        together = torch.cat(kept)
        return together[together[:, 4].argsort(descending=True)[: cfg["max_per_img"]]]

    return {
        "ours": lambda: head.predict(result, logits, deltas, scene.geometry, cfg),
        "simple": simple,
        "torchvision": lambda: heads.postprocess_detections(wide, wide_deltas, [result], [scene.geometry.size]),
    }


def paste(scene: Scene) -> Ways:
    """The masks of 100 objects of an image."""
    (height, width), generator = scene.geometry.size, torch.Generator().manual_seed(0)
    probabilities = torch.rand(100, 28, 28, generator=generator)
    sides = torch.tensor([width, height]) * (0.03 + 0.4 * torch.rand(100, 2, generator=generator) ** 2)
    corners = torch.rand(100, 2, generator=generator) * (torch.tensor([width, height]) - sides)
    boxes = torch.cat([corners, corners + sides], dim=1)

    def simple() -> Tensor:
        y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
        whole = []
        for mask, (left, top, right, bottom) in zip(probabilities, boxes.tolist()):
            down, across = (y - top) / (bottom - top) * 2 - 1, (x - left) / (right - left) * 2 - 1
            grid = torch.stack([across.expand(height, -1), down[:, None].expand(-1, width)], dim=-1)
            whole.append(F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0] >= 0.5)
        return torch.stack(whole)

    return {
        "ours": lambda: paste_masks(probabilities, boxes, (height, width)),
        "simple": simple,
        "torchvision": lambda: paste_masks_in_image(probabilities[:, None], boxes, (height, width)) >= 0.5,
    }


def encode(scene: Scene) -> Ways:
    """100 masks of 480 x 640 as run lengths."""
    result = discs(100)
    return {"ours": lambda: encode_masks(result), "simple": lambda: [whole_mask(mask) for mask in result]}


def evaluate(scene: Scene) -> Ways:
    """COCO's twelve numbers of 500 images."""
    ground_truth, result = generate(500, 100)
    ours, simple = (
        partial(box_numbers, ground_truth, result, metric_backend) for metric_backend in ("hotcoco", "pycocotools")
    )
    return {"ours": ours, "simple": simple}


def whole(scene: Scene) -> Ways:
    """Input to detections with pasted masks."""
    geometries = [scene.geometry]
    torchvision = partial(theirs, scene)
    ours = partial(scene.ours.predict, scene.images, geometries)
    return {"ours": ours, "simple": simply(ours), "torchvision": torchvision}


def whole_faster(scene: Scene) -> Ways:
    """The same, ours with its options on."""
    fast: Any = optimizations.apply(scene.ours, FASTER)
    workload = DetectorWorkload(fast, [], precision=FASTER.precision, channels_last=FASTER.channels_last)

    def ours() -> Any:
        with workload.autocast():
            return fast.predict(scene.images, [scene.geometry])

    return {"ours": ours, "torchvision": partial(theirs, scene)}


def theirs(scene: Scene) -> Any:
    """torchvision's network on the image."""
    scene.theirs.transform.images, scene.theirs.transform.geometries = scene.images, [scene.geometry]
    return scene.theirs(list(scene.images))


def by_name(features: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Feature maps as torchvision names and lays them out."""
    return {name: x.contiguous() for name, x in zip(("0", "1", "2", "3", "pool"), features)}


STAGES: dict[str, Callable[[Scene], Ways]] = {
    "preprocess": preprocess,
    "network": network,
    "proposals": proposals,
    "regions": regions,
    "boxes": boxes,
    "masks": masks,
    "paste": paste,
    "encode": encode,
    "evaluate": evaluate,
    "whole": whole,
    "whole, faster": whole_faster,
}


if __name__ == "__main__":
    main()
