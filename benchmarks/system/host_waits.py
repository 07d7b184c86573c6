"""How often the host waits for a GPU, as CUDA's own checks in PyTorch see it."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

OWN = re.compile(r"(?:^|/)((?:zoo|benchmarks)/[\w/]+\.py)$")


def host_waits(function: Callable[[], Any]) -> Counter[str]:
    """Calls `function` on a GPU and counts the operators that waited for it, by the line of Python that called them.

    What autograd's own threads wait for is not in it, and neither are explicit synchronizations.
    """
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Counter(location(w.filename, w.lineno) for w in seen if "synchronizing CUDA operation" in str(w.message))


def location(file: str, line: int) -> str:
    """`zoo/...py:line` of this project's files, the file's name and line of others."""
    own = OWN.search(file)
    return f"{own[1] if own and 'site-packages' not in file else file.rpartition('/')[2]}:{line}"
