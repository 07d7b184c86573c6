"""ONNX files as OpenVINO files: NAME.xml with its weights in NAME.bin."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from zoo.export.extras import extra, reason
from zoo.export.graph_outputs import ExportError


def convert(onnx_file: Path, path: Path, half: bool = False) -> Path:
    """Write an ONNX file as `path` (.xml) and its weights beside it. half: in float16. Raises ExportError.

    The core reads the file, not `openvino.convert_model`, which sends statistics of its use.
    """
    openvino = extra("openvino")
    with TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        part = Path(folder) / path.name
        try:
            graph = openvino.Core().read_model(str(onnx_file))
            openvino.save_model(graph, str(part), compress_to_fp16=half)
        except RuntimeError as error:
            raise ExportError(f"OpenVINO {openvino.__version__} cannot convert it: {reason(error)}") from error
        os.replace(part.with_suffix(".bin"), path.with_suffix(".bin"))
        os.replace(part, path)
    return path
