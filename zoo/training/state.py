"""Everything that a run needs to go on as if it had never been stopped."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.errors import CorruptCheckpoint

Random = dict[str, Any]


def random_state(device: torch.device) -> Random:
    """The states of all random number generators of this process."""
    legacy: Any = np.random.get_state()
    kind, keys, position, has_gauss, gauss = legacy
    return {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random(state: Random, device: torch.device) -> None:
    """Put all generators back."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def seed_everything(seed: int) -> None:
    """Seed all generators of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def read_state(path: Path) -> dict[str, Any]:
    """A training state that `zoo train` wrote: tensors and plain values only. Raises CorruptCheckpoint."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorruptCheckpoint(f"{path} cannot be read as a training state: {reason:.200}") from None
    if "training" not in content:
        raise CorruptCheckpoint(f"{path} is a checkpoint, but not one that a training run can go on from.")
    return content
