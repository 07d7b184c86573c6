"""Optional libraries, and what an exporter's or a runtime's error says in one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zoo.errors import UsageError

# Library -> the extra of setup.cfg that brings it, and what to install.
EXTRAS = {
    "onnx": ("onnx", "onnx onnxruntime"),
    "onnxruntime": ("onnx", "onnx onnxruntime"),
    "openvino": ("openvino", "openvino"),
}


def extra(name: str) -> Any:
    """An optional library. Raises UsageError with the extra that brings it, and the command that installs it."""
    try:
        return import_module(name)
    except ImportError:
        group, packages = EXTRAS[name.partition(".")[0]]
        raise UsageError(f"{name} is not installed; it is of the extra '{group}': pip install {packages}") from None


def reason(error: Exception) -> str:
    """What an exporter or a runtime has to say, without its advice for programmers."""
    if "because it is not constant" in str(error):
        return "it computes a size that ONNX must know beforehand from the size of the image"
    lines = [line for line in str(error).splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith("Exception from")), lines[0] if lines else "no reason")
    return first.partition(" Please feel free")[0].partition("  [Caused by")[0]
