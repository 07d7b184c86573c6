"""What a network keeps fixed while it trains."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze(modules: Iterable[nn.Module]) -> None:
    """Parameters of these modules get no gradient, and batch norm uses its stored statistics."""
    for module in modules:
        module.eval().requires_grad_(False)


def keep_statistics(root: nn.Module) -> None:
    """Batch norm below `root` uses, and keeps, its stored statistics; its scale and shift may still train."""
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
