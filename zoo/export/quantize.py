"""Static quantization of ONNX graphs to 8 bits, by onnxruntime: convolutions and linear layers, but no predictor.

What turns the network's last maps into detections stays in float: the last layers of every head, whose outputs are
scores and coordinates, and everything behind them. So do the first layers, whose activations have the widest ranges
and whose weights are few bytes (Nagel et al., A White Paper on Neural Network Quantization, 2021).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from zoo.export import artifact as artifacts
from zoo.export.artifact import Facts
from zoo.export.compact import shorten
from zoo.export.extras import extra, reason
from zoo.export.graph_outputs import ExportError
from zoo.structures import Sample
from zoo.system.atomic_write import atomic_path

QUANTIZED = ("Conv", "Gemm")
# The first layers, with this share of the weights, stay in float: their activations have the widest ranges and they
# are few bytes. A range leaves out the outermost activations.
FIRST_SHARE = 0.01
PERCENTILE = 99.99
# Operators that choose among candidates: what reaches these without another layer is a score or a coordinate.
SELECTION = {"TopK", "NonMaxSuppression", "NonZero", "RoiAlign", "GatherND", "ScatterND", "ArgMax", "Loop", "If"}


class Samples:
    """Preprocessed images, as onnxruntime's calibration asks for them: in ranges, each read once.

    Ranges of one image: activations of other sizes, or of other numbers of regions, have no common array.
    """

    def __init__(self, samples: Sequence[Sample], inputs: Sequence[str]) -> None:
        self.all, self.inputs = samples, inputs
        self.samples = iter(samples)

    def __len__(self) -> int:
        return len(self.all)

    def set_range(self, start_index: int, end_index: int) -> None:
        """What `get_next` gives from now on."""
        self.samples = iter(self.all[start_index:end_index])

    def get_next(self) -> dict[str, Any] | None:
        """The inputs for the next image."""
        sample = next(self.samples, None)
        if sample is None:
            return None
        given = {"images": sample.image[None].numpy(), "size": np.array(sample.size)}
        return {name: given[name] for name in self.inputs}


def quantize(plain: Path, path: Path, samples: Sequence[Sample], facts: Facts) -> Facts:
    """Write the float ONNX file `plain` as an int8 file; returns its facts. Raises ExportError if it cannot be.

    samples: preprocessed images; the activations on them decide the ranges.
    """
    onnx, tools = extra("onnx"), extra("onnxruntime.quantization")
    with atomic_path(path, ".part.onnx") as part, TemporaryDirectory(prefix="zoo-int8-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            with silent():
                tools.shape_inference.quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
                layers = quantizable(onnx.load(prepared).graph)
                run_quantizer(tools, prepared, part, samples, layers)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise ExportError(f"{facts.model} cannot be quantized: {reason(error)}") from error
        facts = replace(facts, quantization=describe(samples, layers))
        written = onnx.load(part)
        shorten(written.graph)
        onnx.helper.set_model_props(written, {artifacts.KEY: artifacts.to_text(facts)})
        onnx.save(written, part)
    return facts


def run_quantizer(tools: Any, plain: Path, part: Path, samples: Sequence[Sample], layers: Sequence[str]) -> None:
    """Have onnxruntime write the int8 file."""
    inputs = [entry.name for entry in extra("onnx").load(plain, load_external_data=False).graph.input]
    tools.quantize_static(
        str(plain),
        str(part),
        Samples(samples, inputs),
        quant_format=tools.QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTIZED),
        nodes_to_quantize=list(layers),
        per_channel=True,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        calibrate_method=tools.CalibrationMethod.Percentile,
        extra_options={"CalibPercentile": PERCENTILE, "QuantizeBias": False, "CalibStridedMinMax": 1},
    )


def describe(samples: Sequence[Sample], layers: Sequence[str]) -> dict[str, Any]:
    """How the file was made, for its facts."""
    return {
        "library": f"onnxruntime {extra('onnxruntime').__version__}",
        "format": "QDQ, activations uint8, weights int8 per channel",
        "calibration": f"percentile {PERCENTILE}",
        "calibration_images": len(samples),
        "layers": len(layers),
    }


def quantizable(graph: Any) -> list[str]:
    """Names of the convolutions and linear layers with constant weights, without the first ones and the predictors.

    A predictor's outputs reach the graph's, or an operator that selects, without passing another such layer. Raises
    ExportError where there is nothing else.
    """
    constants = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in QUANTIZED and node.input[1] in constants]
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    sizes = list(accumulate(constants[node.input[1]] for node in layers))
    later = [node for node, size in zip(layers, sizes) if size > FIRST_SHARE * sizes[-1]]
    chosen = [node.name for node in later if leads_to_layer(node, readers, {id(layer) for layer in layers})]
    if not chosen:
        raise ExportError("it has no convolution besides its predictors")
    return chosen


def leads_to_layer(start: Any, readers: dict[str, list[Any]], layers: set[int]) -> bool:
    """Whether another layer follows before anything is selected."""
    waiting, seen = [start], set()
    while waiting:
        for name in waiting.pop().output:
            for node in readers.get(name, ()):
                if id(node) in layers:
                    return True
                if id(node) not in seen and node.op_type not in SELECTION:
                    seen.add(id(node))
                    waiting.append(node)
    return False


@contextmanager
def silent() -> Iterator[None]:
    """Without the advice that onnxruntime's tools log."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
