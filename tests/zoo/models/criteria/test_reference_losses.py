"""Losses and their gradients equal the reference's, for weights and images that a formula gives."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoo
from benchmarks.parity import formula
from benchmarks.parity.compare import decode
from benchmarks.parity.reference import Reference

RECORDS = sorted((Path(__file__).parent / "records").glob("*.json.gz"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_losses_and_gradients_equal_the_reference(path: Path) -> None:
    record = json.loads(gzip.decompress(path.read_bytes()))
    model = prepared(record)
    losses = model.losses(images(record), [size_of(record)], [target(record)], proposals(record))
    assert {name: float(value.detach()) for name, value in losses.items()} == pytest.approx(
        record["losses"], rel=1e-3, abs=1e-5
    )
    sum(losses.values()).backward()
    gradients = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    assert len(gradients) == record["parameters_with_gradient"]
    wanted = record["gradients"]
    assert {name: gradients.get(name) for name in wanted} == pytest.approx(wanted, rel=5e-3, abs=1e-6)


def prepared(record: dict[str, Any]) -> Any:
    """The record's network with its weights, in training, without dropout, in the record's precision."""
    model = zoo.build(record["description"])
    gains = [(prefix, gain) for prefix, gain in record["gains"]]
    formula.fill(model, gains)
    if "teacher" in record:
        teacher = zoo.build(record["teacher"])
        formula.fill(teacher, [*gains, ("bbox_head", 0.8)])
        model.teach(teacher)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return model.to(precision(record))


def precision(record: dict[str, Any]) -> torch.dtype:
    """What the reference computed in: float32, or float64 where float32 amplifies rounding.

    CornerNet's and CentripetalNet's hourglasses normalize over a few positions at their bottom, so that input noise of
    1e-6 moves gradients by 96% and AVX2 instead of AVX-512 by 57%; recorded in float32, they were 50% off themselves.
    YOLOv3's with MobileNet V2 move by 0.5%, all of the tolerance. In float64 MMDetection's gradients and ours agree
    within 4e-6 on both instruction sets. In other records noise, alone or with AVX2, takes at most 33% of it.
    """
    return getattr(torch, record.get("dtype", "float32"))


def images(record: dict[str, Any]) -> Tensor:
    """The network's input (1, 3, H, W)."""
    empty: dict[str, Any] = {"gains": [], "state": [], "trace": {}, "result": {}}
    return Reference(record["name"], record["config"], "", "", record["input"], **empty).images.to(precision(record))


def size_of(record: dict[str, Any]) -> tuple[int, int]:
    return record["input"]["height"], record["input"]["width"]


def proposals(record: dict[str, Any]) -> list[Tensor] | None:
    """What Fast R-CNN classifies."""
    return [formula.proposals(*size_of(record))] if record["description"]["type"] == "FastRCNN" else None


def target(record: dict[str, Any]) -> dict[str, Tensor]:
    """The objects of the one image."""
    gt = record["gt"]
    masks = torch.stack([torch.from_numpy(decode(rle)).bool() for rle in gt["masks"]])
    boxes = torch.tensor(gt["boxes"], dtype=precision(record))
    result = {"boxes": boxes, "labels": torch.tensor(gt["labels"]), "masks": masks}
    return {**result, "semantic": classes(*gt["semantic"])} if "semantic" in gt else result


def classes(height: int, width: int, count: int) -> Tensor:
    """Classes of all pixels (H, W); the first two rows are unknown."""
    result = (3 * torch.arange(height)[:, None] + 5 * torch.arange(width)) % count
    result[:2] = 255
    return result
