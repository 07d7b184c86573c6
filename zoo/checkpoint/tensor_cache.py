"""The fast copy of a cached checkpoint: its tensors as safetensors, which can be used without being read first.

It is made after the first complete read of a file whose SHA-256 is known, under that digest, and is used only while the
file itself is unchanged.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from zoo.checkpoint.checkpoint import NAMES, Checkpoint
from zoo.checkpoint.formats.contents import Contents
from zoo.checkpoint.formats.open import open_checkpoint
from zoo.checkpoint.save import save
from zoo.download import cache
from zoo.download.transfer import check_space
from zoo.errors import ZooError


def copy_path(path: Path) -> Path | None:
    """Where the fast copy of a file in the cache is or would be; None for any other file."""
    digest = cache.known_digest(path)
    return cache.tensors_path(digest.sha256) if digest is not None else None


def open_copy(path: Path | None) -> Contents | None:
    """The fast copy, opened; None if there is none, or it is not as it was written."""
    if path is None or not path.is_file():
        return None
    with suppress(ZooError):
        contents = open_checkpoint(path)
        if contents.format == "safetensors" and in_order(contents) is not None:
            return contents
    path.unlink(missing_ok=True)
    return None


def in_order(contents: Contents) -> list[str] | None:
    """The names in the order of the original, and None for a file that does not tell."""
    root = contents.root
    assert isinstance(root, dict)
    try:
        names = json.loads(root["__metadata__"][NAMES])
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and set(names) == set(root["state_dict"]) else None


def keep(checkpoint: Checkpoint, path: Path | None) -> None:
    """Write the fast copy; a full disk or an unusual tensor is no reason to fail."""
    if path is None:
        return
    with suppress(ZooError, OSError):
        size = sum(tensor.numel() * tensor.element_size() for tensor in checkpoint.state_dict.values())
        check_space(path.parent, size)
        save(checkpoint, path)
