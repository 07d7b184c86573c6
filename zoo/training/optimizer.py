"""Optimizer and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from zoo.errors import UsageError
from zoo.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, batch: int) -> Optimizer:
    """The recipe's optimizer for steps of `batch` images, with one group for each kind of parameter."""
    rate = recipe.learning_rate * batch / recipe.batch
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for in_backbone, decays, parameter in trained(model):
        groups.setdefault((in_backbone, decays or not recipe.plain_weights), []).append(parameter)
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "lr": rate * (recipe.backbone_rate if in_backbone else 1),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), parameters in groups.items()
    ]
    if recipe.optimizer == "SGD":
        return torch.optim.SGD(settings, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if recipe.optimizer == "AdamW":
        return torch.optim.AdamW(settings, lr=rate)
    raise UsageError(f"no optimizer '{recipe.optimizer}': there are SGD and AdamW.")


def trained(model: nn.Module) -> Iterator[tuple[bool, bool, nn.Parameter]]:
    """(in the backbone, weight of a convolution or linear layer, parameter) for each one that is not frozen."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name.removeprefix("student.").startswith("backbone."), parameter.ndim > 1, parameter


def make_scheduler(optimizer: Optimizer, recipe: Recipe, per_epoch: int) -> LambdaLR:
    """Learning rates by iteration, of which an epoch has `per_epoch`."""
    return LambdaLR(optimizer, rate_factor(recipe, per_epoch))


def rate_factor(recipe: Recipe, per_epoch: int) -> Callable[[int], float]:
    """Iteration (from 0) -> factor of the learning rate."""
    warmup = min(recipe.warmup, recipe.epochs * per_epoch // 4)

    def factor(iteration: int) -> float:
        later = decayed(recipe, iteration, per_epoch, warmup)
        if iteration >= warmup:
            return later
        start = recipe.warmup_ratio
        return later * (start + (1 - start) * (iteration / warmup) ** recipe.warmup_power)

    return factor


def decayed(recipe: Recipe, iteration: int, per_epoch: int, warmup: int) -> float:
    """The factor without warm-up. Raises UsageError for an unknown decay."""
    if recipe.decay == "constant":
        return 1.0
    if recipe.decay == "step":
        epoch = iteration // per_epoch
        return 0.1 ** sum(epoch >= round(part * recipe.epochs) for part in recipe.steps)
    if recipe.decay == "cosine":
        plain = recipe.augmentation.plain_epochs if recipe.augmentation.mosaic else 0
        return annealed(recipe, iteration, warmup, (recipe.epochs - plain) * per_epoch)
    if recipe.decay == "flat_cosine":
        return annealed(recipe, iteration, recipe.epochs // 2 * per_epoch, recipe.epochs * per_epoch)
    raise UsageError(f"no decay '{recipe.decay}': there are step, cosine, flat_cosine and constant.")


def annealed(recipe: Recipe, iteration: int, start: int, end: int) -> float:
    """Half a cosine from 1 at iteration `start` to the recipe's last rate at `end`, constant before and after."""
    progress = min(max(iteration - start, 0) / max(end - start, 1), 1.0)
    return recipe.last_rate + (1 - recipe.last_rate) * (1 + math.cos(math.pi * progress)) / 2
