"""Smaller ONNX files: short names of tensors, and nothing that a runtime finds out by itself.

In a small quantized network the names of scopes take as many bytes as the weights.
"""

from __future__ import annotations

from typing import Any


def shorten(graph: Any) -> None:
    """Give all tensors of a graph short names but its inputs and outputs, and drop names of nodes and shapes."""
    kept = {value.name for value in [*graph.input, *graph.output]}
    names: dict[str, str] = {}

    def short(name: str) -> str:
        return name if not name or name in kept else names.setdefault(name, f"t{len(names)}")

    def rename(part: Any, inner: bool) -> None:
        del part.value_info[:]
        for node in part.node:
            node.name = node.doc_string = ""
            for listed in (node.input, node.output):
                listed[:] = [short(name) for name in listed]
            for attribute in node.attribute:
                for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                    rename(body, True)
        for tensor in [*part.initializer, *([*part.input, *part.output] if inner else [])]:
            tensor.name = short(tensor.name)

    rename(graph, False)
