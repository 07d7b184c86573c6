"""Whether a process keeps the memory that it frees, for the tensors that come next, or returns it to the system.

By default glibc returns the free end of its heap (mallopt(3)). The next tensors then cost a page fault for every 4 KiB,
in which the system clears the page (docs/cpu.md has the times).
"""

from __future__ import annotations

import ctypes

# Name -> its number in malloc.h, and its value. The end of the heap is never returned, and tensors of more than 32 MiB
# lie beside the heap, unless it has room: if all were on it, they would leave gaps that no other tensor fills, with
# which Detectron2's RetinaNet took twice the memory in training.
SETTINGS = {"TRIM_THRESHOLD": (-1, -1), "MMAP_THRESHOLD": (-3, 1 << 25)}

# By how much the heap grows at least. What is beyond its end takes no memory until it is used. In inference there is
# room for maps of 62 MB, which then cost no page faults: RetinaNet is 1.04 to 1.06 times as fast. In training that
# gains nothing, and Faster R-CNN took 7% more memory.
GROWTH, GROWTH_IN_TRAINING = 1 << 28, 1 << 26
TOP_PAD = -2

_growth: int | None = None


def keep_memory() -> bool:
    """Let this process keep the memory that it frees; False where the C library has no such setting (not glibc).

    Its heap stays as large as at its largest moment until the process ends. Tensors above 32 MiB are on it only where
    it has room for them.
    """
    return kept_with(GROWTH)


def prepare_for_training() -> None:
    """Let the heap grow as suits training, if this process keeps memory."""
    if keeps_memory():
        kept_with(GROWTH_IN_TRAINING)


def kept_with(growth: int) -> bool:
    """Keep memory in a heap that grows by so many bytes at least; False where that is not possible."""
    global _growth  # of the process, as the setting is
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    done = all([mallopt(number, value) for number, value in (*SETTINGS.values(), (TOP_PAD, growth))])
    _growth = growth if done else None
    return done


def keeps_memory() -> bool:
    """Whether `keep_memory` had its effect here."""
    return _growth is not None


def variables() -> dict[str, str]:
    """Environment variables with which a process that is started from here keeps memory if this one does."""
    if _growth is None:
        return {}
    values = {name: value for name, (_, value) in SETTINGS.items()} | {"TOP_PAD": _growth}
    return {f"MALLOC_{name}_": str(value) for name, value in values.items()}
