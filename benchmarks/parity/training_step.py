"""One training step on a record's image, with three objects that are always the same."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.parity.reference import Reference
from benchmarks.system.random_numbers import SameRandomNumbers
from zoo.training.dataset import Batch


def objects(images: Tensor) -> list[dict[str, Tensor]]:
    """Targets of the first image: three objects with boxes (3, 4), labels, masks, an ignored region, and classes of
    pixels."""
    height, width = images.shape[2:]
    boxes = torch.tensor([[20.0, 30, 140, 150], [100, 60, 220, 200], [5, 5, 60, 45]])
    masks = torch.zeros(3, height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist()):
        mask[y1:y2, x1:x2] = True
    semantic = torch.zeros(height, width, dtype=torch.long)
    semantic[:, width // 2 :] = 1
    target = {"boxes": boxes, "labels": torch.tensor([0, 0, 0]), "masks": masks, "semantic": semantic}
    return [{**target, "ignored": torch.tensor([[200.0, 100, 250, 150]])}]


def batch(recorded: Reference, count: int = 2) -> tuple[Batch, list[list[Tensor]]]:
    """The record's image `count` times, and further arguments of `losses`: the proposals of detectors that get some.

    Two, since batch norm of one value per channel cannot train.
    """
    images = recorded.images
    proposals = [] if recorded.proposals is None else [recorded.proposals * count]
    return Batch(images.repeat(count, 1, 1, 1), [recorded.size] * count, objects(images) * count), proposals


def losses(
    model: Any, recorded: Reference, device: str, precision: torch.dtype | None = None, alike: bool = True
) -> dict[str, Tensor]:
    """The losses of `model`, which is on `device` and in training mode.

    alike: with the same random numbers on every device, which a GPU must be waited for.
    """
    given, proposals = batch(recorded)
    moved = [[boxes.to(device) for boxes in one] for one in proposals]
    torch.manual_seed(0)
    cast = torch.autocast(torch.device(device).type, precision) if precision else nullcontext()
    # Other kernels of attention draw what they drop themselves.
    plain = (SameRandomNumbers(), sdpa_kernel(SDPBackend.MATH)) if alike else (nullcontext(), nullcontext())
    with plain[0], plain[1], cast:
        result: dict[str, Tensor] = model.losses(*given.to(torch.device(device)), *moved)
    return result


def total(values: Mapping[str, Tensor]) -> Tensor:
    """What the optimizer lowers: the sum of all losses; other numbers, such as accuracies, are not among them."""
    return torch.stack([value.sum() for name, value in values.items() if "loss" in name]).sum()


def step(model: Any, values: Mapping[str, Tensor], device: str, precision: torch.dtype | None = None) -> None:
    """Backward, clipping and a step of SGD as the trainer takes them; so small that the weights hardly move."""
    weights = [p for p in model.parameters() if p.requires_grad]
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=precision == torch.float16)
    optimizer = torch.optim.SGD(weights, lr=1e-9, momentum=0.9)
    scaler.scale(total(values)).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(weights, 35.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)


def numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Each loss as a number."""
    return {name: float(value.detach().float().sum()) for name, value in values.items()}


def difference(have: Mapping[str, float], want: Mapping[str, float]) -> float:
    """The largest difference between two sets of losses, relative to those above 1; infinite for NaN."""
    gaps = [abs(value - want[name]) / max(abs(want[name]), 1.0) for name, value in have.items()]
    return max((gap if gap == gap else float("inf") for gap in gaps), default=0.0)
