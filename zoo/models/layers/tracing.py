"""Whether a graph is being recorded."""

from __future__ import annotations

import torch


def recording() -> bool:
    """Whether an exporter records a graph: then no step may depend on what the example picture happens to contain."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()
