"""Formats of exported files and the runtimes that run them. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import UsageError, ZooError

RUNTIMES = ("torch", "onnxruntime", "openvino")
# Ending -> the runtimes of such a file, the usual one first.
FORMATS = {".onnx": ("onnxruntime", "openvino"), ".pt2": ("torch",), ".xml": ("openvino",)}
# Runtime -> the ending of the file that it gets when a network is exported on the way.
NATIVE = {"torch": ".pt2", "onnxruntime": ".onnx", "openvino": ".xml"}


def means_exported(text: str) -> bool:
    """Whether a word on a command line means an exported file, which its ending tells."""
    return Path(text).suffix.lower() in FORMATS


def existing(path: Path) -> Path:
    """An exported file that is there. Raises ZooError, for an OpenVINO file without its weights too."""
    if not path.is_file():
        raise ZooError(f"{path} does not exist.")
    if path.suffix.lower() == ".xml" and not path.with_suffix(".bin").is_file():
        raise ZooError(f"{path.with_suffix('.bin')} does not exist; {path.name} has its weights there.")
    return path


def runtime_of(path: Path, wanted: str | None = None) -> str:
    """What runs a file: the runtime that is wanted, or the usual one. Raises UsageError for one that cannot."""
    known = FORMATS[path.suffix.lower()]
    if wanted is not None and wanted not in known:
        raise UsageError(f"{path} is run by {' or '.join(known)}: give --runtime {known[0]}")
    return wanted or known[0]


def files_of(path: Path) -> list[Path]:
    """What makes up an exported file: itself, and the weights of an OpenVINO file."""
    return [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]
