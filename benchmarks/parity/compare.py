"""How far detections and intermediate outputs are from the recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn
from torchvision.ops import box_iou

from benchmarks.parity.reference import Reference
from zoo.structures import Detections


@dataclass(frozen=True)
class Tolerance:
    """When a detection counts as the recorded one: IoU above, score difference below. relative: of module outputs."""

    iou: float = 0.98
    score: float = 1e-3
    relative: float = 1e-3
    share: float = 0.97


# Half precision has 8 (bf16) or 11 (fp16) bits of mantissa: the same detector, but not the same digits.
TOLERANCES = {None: Tolerance(), "fp16": Tolerance(0.9, 0.02, 0.05, 0.9), "bf16": Tolerance(0.7, 0.1, 0.3, 0.7)}


@dataclass(frozen=True)
class Gap:
    """One output of one module. relative: largest sample difference over the output's standard deviation."""

    module: str
    output: int
    relative: float | None
    note: str = ""


def results(reference: Reference, detections: Detections, tolerance: Tolerance) -> dict[str, float]:
    """Shares (0 to 1) of recorded boxes, masks, panoptic pixels found; largest differences of score and box."""
    want, metrics = reference.result, dict[str, float]()
    if "proposals" in want:
        rows = np.array([[0, *row] for row in want["proposals"]], np.float64).reshape(-1, 6)
        metrics |= boxes(rows, detections[: len(rows)], tolerance)
    if "detections" in want:
        rows = np.array(want["detections"], np.float64).reshape(-1, 6)
        metrics |= boxes(rows, detections[: len(rows) + 5], tolerance)
        metrics["count_difference"] = abs(len(detections) - want["count"])
    if want.get("masks") and detections.masks is not None:
        metrics["masks"] = masks(want, detections, tolerance)
    if "panoptic" in want and detections.panoptic is not None:
        metrics["panoptic"] = panoptic(want["panoptic"], detections.panoptic)
    return metrics


def boxes(rows: np.ndarray, detections: Detections, tolerance: Tolerance) -> dict[str, float]:
    """rows: (K, 6) label, score, x1, y1, x2, y2. `boxes`: share found again, each detection used once."""
    if len(rows) == 0 or len(detections) == 0:
        return {"boxes": float(len(rows) == len(detections))}
    overlap, gap = nearness(rows, detections)
    good = (overlap > tolerance.iou) & (gap < tolerance.score)
    partner = np.full(len(rows), -1)
    for i, candidates in enumerate(good):
        free = [j for j in np.flatnonzero(candidates) if j not in partner]
        partner[i] = free[0] if free else -1
    hit = partner >= 0
    shift = np.abs(rows[:, 2:] - detections.boxes.double().numpy()[partner]).max(axis=1)
    return {
        "boxes": float(hit.mean()),
        "score_difference": float(gap[np.arange(len(rows)), partner][hit].max(initial=0)),
        "box_difference": float(shift[hit].max(initial=0)),
    }


def nearness(rows: np.ndarray, detections: Detections) -> tuple[np.ndarray, np.ndarray]:
    """(K, M) IoU, 0 between different labels and 1 between equal boxes without area; (K, M) score difference."""
    want, have = torch.from_numpy(rows[:, 2:]), detections.boxes.double()
    overlap = box_iou(want, have).nan_to_num()
    overlap[torch.cdist(want, have, p=float("inf")) < 0.05] = 1.0
    overlap[torch.from_numpy(rows[:, 0])[:, None] != detections.labels[None]] = 0.0
    return overlap.numpy(), np.abs(rows[:, 1:2] - detections.scores.double().numpy()[None])


def masks(want: Mapping[str, Any], detections: Detections, tolerance: Tolerance) -> float:
    """Mean IoU of the recorded masks with the best mask among the equal detections."""
    rows = np.array(want["detections"][: len(want["masks"])], np.float64).reshape(-1, 6)
    overlap, gap = nearness(rows, detections)
    assert detections.masks is not None
    values = []
    for i, rle in enumerate(want["masks"]):
        equal = np.flatnonzero((overlap[i] > tolerance.iou) & (gap[i] < tolerance.score))
        values.append(max((mask_iou(decode(rle), detections.masks[j].numpy()) for j in equal), default=0.0))
    return float(np.mean(values))


def mask_iou(want: np.ndarray, have: np.ndarray) -> float:
    """IoU of two (H, W) masks; two empty ones are equal."""
    if want.shape != have.shape:
        return 0.0
    union = (want | have).sum()
    return 1.0 if union == 0 else float((want & have).sum() / union)


def panoptic(want: Mapping[str, Any], result: Tensor) -> float:
    """Share of pixels with the recorded id."""
    ids = np.zeros(want["shape"], np.int64)
    for segment in want["segments"]:
        ids[decode(segment["rle"])] = segment["id"]
    return float((ids == result.numpy()).mean()) if ids.shape == tuple(result.shape) else 0.0


def decode(rle: Mapping[str, Any]) -> np.ndarray:
    """COCO's compressed run lengths as a (H, W) bool mask."""
    return coco_mask.decode({"size": rle["size"], "counts": rle["counts"].encode()}).astype(bool)


def trace(model: nn.Module, reference: Reference, run: Callable[[], Any]) -> list[Gap]:
    """Module by module, in the order of the reference: where does the first difference appear?"""
    with recorded(model, set(reference.trace)) as seen:
        run()
    return [gap for name, outputs in reference.trace.items() for gap in gaps(name, outputs, seen.get(name))]


@contextmanager
def recorded(model: nn.Module, names: set[str]) -> Iterator[dict[str, list[Tensor]]]:
    """The outputs of the first call of each named module, flattened."""
    seen: dict[str, list[Tensor]] = {}

    def remember(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if name not in seen:
            seen[name] = tensors(output)

    modules = [(name, module) for name, module in model.named_modules() if name in names]
    handles = [module.register_forward_hook(partial(remember, name)) for name, module in modules]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def gaps(name: str, outputs: list[dict[str, Any]], result: list[Tensor] | None) -> Iterator[Gap]:
    """Each recorded output of one module against the one found."""
    if not result:
        yield Gap(name, 0, None, "was not called, or there is no such module")
        return
    for i, (want, have) in enumerate(zip(outputs, result)):
        if list(have.shape) != want["shape"]:
            yield Gap(name, i, float("inf"), f"shape {list(have.shape)} instead of {want['shape']}")
        elif want.get("samples"):
            difference = np.abs(sampled(have, len(want["samples"])) - np.array(want["samples"])).max()
            yield Gap(name, i, float(difference / (abs(want["std"]) + 1e-6)))


def sampled(value: Tensor, count: int) -> np.ndarray:
    """`count` values, evenly spaced over the flattened tensor."""
    flat = value.detach().flatten()
    index = torch.arange(count, device=flat.device) * (flat.numel() - 1) // max(count - 1, 1)
    return flat[index].double().cpu().numpy()


def tensors(output: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts, copied before an in-place operation changes them."""
    if isinstance(output, Tensor):
        return [output.detach().clone()]
    if isinstance(output, dict):
        output = list(output.values())
    return [tensor for item in output for tensor in tensors(item)] if isinstance(output, (list, tuple)) else []
