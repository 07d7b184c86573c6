"""Whether a graph is being recorded or compiled."""

from __future__ import annotations

import torch
from torch import Tensor


def recording() -> bool:
    """Whether an exporter records a graph: then no step may depend on what the example image happens to contain."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def in_graph() -> bool:
    """Whether an exporter or a compiler makes a graph of what is computed, and decides how it is computed."""
    return recording() or torch.compiler.is_compiling()


def compiled_on_cpu(x: Tensor) -> bool:
    """Whether a compiler makes a graph of what is computed of `x`, for inference on a CPU in float32."""
    compiled = torch.compiler.is_compiling() and not recording() and not torch.is_grad_enabled()
    return compiled and x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def at_most(count: int, size: int) -> int:
    """The smaller number of the two; a program of torch.export asks for every image anew which one that is."""
    if torch.compiler.is_exporting():
        return torch.sym_min(count, size)  # type: ignore[return-value]
    return min(count, size)


def sliding(x: Tensor, dim: int, size: int) -> Tensor:
    """`x.unfold(dim, size, 1)`, which ONNX cannot say of a tensor of unknown size."""
    if not torch.jit.is_tracing():
        return x.unfold(dim, size, 1)
    windows = x.shape[dim] - size + 1
    return torch.stack([x[(slice(None),) * dim + (slice(i, i + windows),)] for i in range(size)], dim=-1)


def first(x: Tensor, count: int) -> Tensor:
    """The first `count` entries of a tensor, or all of them, whichever of the two the example has."""
    return x[: at_most(count, x.shape[0]) if torch.compiler.is_exporting() else count]
