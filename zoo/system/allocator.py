"""Whether a process keeps the memory that it frees, for the tensors that come next, or returns it to the system.

By default glibc returns the free end of its heap (mallopt(3)). The next tensors then cost a page fault for every 4 KiB,
in which the system clears the page (docs/cpu.md has the times).
"""

from __future__ import annotations

import ctypes

# Name -> its number in malloc.h, and its value. The end of the heap is never returned, it grows by 64 MiB at least,
# and tensors of more than 32 MiB lie beside it: on it, they would leave gaps that no other tensor fills, with which
# Detectron2's RetinaNet took twice the memory in training.
SETTINGS = {"TRIM_THRESHOLD": (-1, -1), "MMAP_THRESHOLD": (-3, 1 << 25), "TOP_PAD": (-2, 1 << 26)}

_kept = False


def keep_memory() -> bool:
    """Let this process keep the memory that it frees; False where the C library has no such setting (not glibc).

    Its heap stays as large as at its largest moment until the process ends. Tensors above 32 MiB lie beside it.
    """
    global _kept  # of the process, as the setting is
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    _kept = all([mallopt(number, value) for number, value in SETTINGS.values()])
    return _kept


def keeps_memory() -> bool:
    """Whether `keep_memory` had its effect here."""
    return _kept


def variables() -> dict[str, str]:
    """Environment variables with which a process that is started from here keeps memory if this one does."""
    return {f"MALLOC_{name}_": str(value) for name, (_, value) in SETTINGS.items()} if _kept else {}
