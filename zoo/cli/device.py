"""`--device` on a command line."""

from __future__ import annotations

from zoo.errors import UsageError


def checked_device(name: str) -> str:
    """A device that exists here. Raises UsageError. It imports torch, so commands check everything else first."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return name
