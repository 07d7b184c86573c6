"""Detectron2's format: one pickle of NumPy arrays, as its published files are."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from torch import Tensor

AUTHOR = "detection-zoo"


Pickler: Any = pickle._Pickler  # type: ignore[attr-defined]  # the C version cannot be told how to name a function


class OldNamesPickler(Pickler):  # type: ignore[misc]
    """Writes NumPy's functions under the module names of NumPy 1, which both NumPy 1 and 2 read."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Functions and classes by module and name."""
        module = getattr(obj, "__module__", "") or ""
        if not module.startswith("numpy._core"):
            super().save_global(obj, name)
            return
        line = f"{module.replace('numpy._core', 'numpy.core', 1)}\n{obj.__name__}\n"
        self.write(pickle.GLOBAL + line.encode("ascii"))
        self.memoize(obj)


def write_detectron2(state: Mapping[str, Tensor], file: IO[bytes]) -> None:
    """Write a state dict as `{"model": {name: array}, "__author__": ...}`, in protocol 3."""
    arrays = {name: np.ascontiguousarray(tensor.detach().cpu().numpy()) for name, tensor in state.items()}
    OldNamesPickler(file, protocol=3).dump({"model": arrays, "__author__": AUTHOR})
