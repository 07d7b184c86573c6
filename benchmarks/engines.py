"""Other engines than PyTorch under the same protocols."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.subjects import Subject

# The picture that a graph is traced with; its size does not matter for graphs of free size.
EXAMPLE = (480, 640)


def onnx(subject: Subject) -> Subject:
    """The same network, exported and run by onnxruntime; parameters and operations are the network's."""

    def load() -> Any:
        import numpy as np

        from zoo import export

        model = subject.load()
        sample = model.preprocess(np.zeros((*EXAMPLE, 3), np.uint8))  # type: ignore[misc]
        with tempfile.TemporaryDirectory(prefix="bench-onnx-") as folder:
            return export.OnnxDetector(export.to_onnx(model, Path(folder) / "model.onnx", sample), model)

    return replace(subject, load=load, parameters={"engine": "onnxruntime"})
