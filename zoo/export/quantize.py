"""Static quantization of ONNX graphs to 8 bits, by onnxruntime: convolutions and linear layers of backbone and neck.

Heads, whose outputs are scores and coordinates, stay in float as a whole, and so does everything behind them; a
transformer behind the backbone counts as head. So do the first layers, whose activations have the widest ranges
and whose weights are few bytes (Nagel et al., A White Paper on Neural Network Quantization, 2021).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
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
# Scopes of the nodes that are quantized, which are a detector's parts before its heads.
BODY = ("/backbone/", "/neck/")
SMALLEST = 256  # elements of a weight that is stored in float16; a cast takes as many bytes as it saves on less


class Samples:
    """Preprocessed images, as onnxruntime's calibration asks for them: in ranges, each read once.

    Ranges of one image: activations of other sizes, or of other numbers of regions, have no common array.
    """

    def __init__(self, samples: Sequence[Sample], inputs: Sequence[str], free_batch: bool = False) -> None:
        self.all, self.inputs, self.free_batch = samples, inputs, free_batch
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
        size = np.array([sample.size] if self.free_batch else sample.size)
        given = {"images": sample.image[None].numpy(), "size": size}
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
                run_quantizer(tools, prepared, part, samples, layers, facts.free_batch)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise ExportError(f"{facts.model} cannot be quantized: {reason(error)}") from error
        written = onnx.load(part)
        facts = replace(facts, quantization=describe(samples, layers) | {"float16_weights": halve(written.graph)})
        shorten(written.graph)
        onnx.helper.set_model_props(written, {artifacts.KEY: artifacts.to_text(facts)})
        onnx.save(written, part)
    return facts


def run_quantizer(
    tools: Any, plain: Path, part: Path, samples: Sequence[Sample], layers: Sequence[str], free_batch: bool
) -> None:
    """Have onnxruntime write the int8 file."""
    inputs = [entry.name for entry in extra("onnx").load(plain, load_external_data=False).graph.input]
    tools.quantize_static(
        str(plain),
        str(part),
        Samples(samples, inputs, free_batch),
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
    """Names of the convolutions and linear layers with constant weights in the backbone and neck, without the first.

    The exporter names nodes after the modules that they are of. Raises ExportError where there is nothing else.
    """
    constants = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in QUANTIZED and node.input[1] in constants]
    sizes = list(accumulate(constants[node.input[1]] for node in layers))
    later = [node for node, size in zip(layers, sizes) if size > FIRST_SHARE * sizes[-1]]
    chosen = [node.name for node in later if node.name.startswith(BODY)]
    if not chosen:
        raise ExportError("it has no convolution in its backbone or neck")
    return chosen


def halve(graph: Any) -> int:
    """Store the weights of the layers that stayed in float as float16, cast when the file is opened; returns how many.

    They are computed with in float32. Weights beyond float16's range stay as they are.
    """
    onnx = extra("onnx")
    weights = {node.input[1] for node in graph.node if node.op_type in QUANTIZED}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in weights or tensor.data_type != onnx.TensorProto.FLOAT or prod(tensor.dims) < SMALLEST:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    listed = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(listed)
    return len(casts)


@contextmanager
def silent() -> Iterator[None]:
    """Without the advice that onnxruntime's tools log, and the progress that they print."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
