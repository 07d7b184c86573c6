"""Other engines than PyTorch under the same protocols."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed import targets
from benchmarks.speed.targets import Target
from zoo.errors import UsageError

# The image that a graph is traced with; its size does not matter for graphs of free size.
EXAMPLE = (480, 640)
SUFFIX = ".onnx"


def onnx(subject: Target, threads: int | None = None) -> Target:
    """The same network, exported and run by onnxruntime; parameters and operations are the network's."""

    def load() -> Any:
        import numpy as np

        from zoo.export import export

        model = subject.load()
        sample = model.preprocess(np.zeros((*EXAMPLE, 3), np.uint8))  # type: ignore[misc]
        with tempfile.TemporaryDirectory(prefix="bench-onnx-") as folder:
            return export.OnnxDetector(export.to_onnx(model, Path(folder) / "model.onnx", sample), model, threads)

    return replace(subject, load=load, parameters={"engine": "onnxruntime"})


def choose(
    names: Sequence[str], checkpoint: str | None, random_weights: bool, engine: str, threads: int | None
) -> list[Target]:
    """What `subjects.choose` chooses, as the engine runs it. Files of `zoo export --onnx` may be among the names.

    Raises UsageError for such a file and another engine.
    """
    files = [name for name in names if Path(name).suffix == SUFFIX and Path(name).is_file()]
    others = [name for name in names if name not in files]
    if files and engine != "onnxruntime":
        raise UsageError(f"{files[0]} is run by onnxruntime: give --runtime onnxruntime")
    chosen = targets.choose(others, checkpoint, random_weights) if others or not files else []
    if engine == "onnxruntime":
        chosen = [onnx(subject, threads) for subject in chosen]
    return chosen + [exported(Path(name), threads) for name in files]


def exported(path: Path, threads: int | None) -> Target:
    """An ONNX file of `zoo export`; the network that it was made of gives preprocessing, parameters and operations."""
    from zoo.export import export

    original = targets.by_name(export.source_of(path))

    def load() -> Any:
        return export.OnnxDetector(path, original.load(), threads)

    return replace(original, weights=path.name, load=load, parameters={"engine": "onnxruntime"})
