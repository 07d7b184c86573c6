"""How a command line tells a checkpoint file from a model's name."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors", ".ckpt", ".tar", ".bin")


def means_file(text: str) -> bool:
    """Whether a word means a checkpoint file: by its ending, or since there is such a file and no such model."""
    if text.lower().endswith(SUFFIXES):
        return True
    return Path(text).is_file() and not is_name(text)


def is_name(text: str) -> bool:
    """Whether a model or an architecture has this name."""
    from zoo.errors import UnknownModel
    from zoo.manifest import api

    try:
        api.architecture_name(text)
    except UnknownModel:
        return False
    return True
