"""Where a network's time goes by kind of operator, in PyTorch and as the exported graph in other runtimes.

    python -m benchmarks.perf.by_operator [NAME ...] [--runtimes onnxruntime,openvino] [--threads 2] [--calls 5]

Random weights, one generated image, milliseconds per call by the profilers of PyTorch, onnxruntime and OpenVINO. A
runtime fuses operators: what PyTorch computes as normalization and activation may be part of its convolutions.
Profilers slow all of them down, so the sums tell where time goes and `bench compare` tells who is faster.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

import zoo
from benchmarks.reports.text_table import format_table
from benchmarks.speed.images import generated
from benchmarks.speed.peers.random_weights import randomize
from zoo.export import files
from zoo.structures import Sample

Milliseconds = Counter[str]

# Kind -> parts of the operators' names, in lower case; the first kind with a part in the name counts.
KINDS = {
    "convolution": ("conv",),
    "product": ("addmm", "mm", "linear", "gemm", "matmul", "fullyconnected"),
    "normalization": ("norm", "mvn"),
    "NMS": ("nms", "nonmaxsuppression"),
    "region alignment": ("roi", "index_add", "embedding_bag"),
    "pooling": ("pool",),
    "resizing": ("upsample", "resize", "interpolate"),
    "activation": ("relu", "silu", "sigmoid", "swish", "gelu", "softmax", "exp", "tanh", "clamp", "clip", "hard"),
    "selection": ("topk", "sort", "nonzero", "index", "gather", "where", "unique", "select", "scatter"),
    "copying": ("copy", "cat", "concat", "transpose", "reorder", "slice", "pad", "split", "contiguous", "reshape"),
}


def main() -> None:
    """Print a table for each network, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", default=["yolox_s_8x8_300e_coco"], metavar="NAME")
    parser.add_argument("--runtimes", default="onnxruntime,openvino", help="separated by commas (%(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runtimes = ["torch", *filter(None, args.runtimes.split(","))]
    result = {name: measured(name, runtimes, args.threads, args.calls) for name in args.names}
    print(json.dumps(result, indent=1) if args.json else "\n\n".join(f"{n}\n{text(r)}" for n, r in result.items()))


def measured(name: str, runtimes: Sequence[str], threads: int, calls: int) -> dict[str, dict[str, float]]:
    """Runtime -> kind -> milliseconds per call."""
    model: Any = zoo.build(name).eval()
    randomize(model)
    sample = model.preprocess(generated(1)[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if len(runtimes) > 1:
            files.write(model, path, sample, files.Origin(name, "random", None))
        return {runtime: dict(PROFILERS[runtime](model, path, sample, threads, calls)) for runtime in runtimes}


@torch.inference_mode()
def in_pytorch(model: Any, path: Path, sample: Sample, threads: int, calls: int) -> Milliseconds:
    """The network itself."""
    images = sample.image[None]
    model.predict(images, [sample.geometry])
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(calls):
            model.predict(images, [sample.geometry])
    events = ((event.key, event.self_cpu_time_total / 1000) for event in found.key_averages())
    return by_kind(events, calls)


def in_onnxruntime(model: Any, path: Path, sample: Sample, threads: int, calls: int) -> Milliseconds:
    """The exported graph in onnxruntime, whose profile is a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.enable_profiling, options.profile_file_prefix = True, str(path.with_suffix(""))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = inputs(sample, [entry.name for entry in session.get_inputs()])
    for _ in range(calls + 1):
        session.run(None, given)
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    return by_kind(((event["args"]["op_name"], event["dur"] / 1000) for event in nodes), calls + 1)


def in_openvino(model: Any, path: Path, sample: Sample, threads: int, calls: int) -> Milliseconds:
    """The exported graph in OpenVINO, which counts each call on its own."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": "YES"}
    settings |= {"INFERENCE_NUM_THREADS": str(threads)}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    given = inputs(sample, [entry.any_name for entry in compiled.inputs])
    request.infer(given)
    events: list[tuple[str, float]] = []
    for _ in range(calls):
        request.infer(given)
        events += [
            (info.exec_type + info.node_type, info.real_time / np.timedelta64(1, "ms")) for info in infos(request)
        ]
    return by_kind(events, calls)


def infos(request: Any) -> list[Any]:
    """The profile of a request's last call."""
    return list(request.profiling_info)


def inputs(sample: Sample, names: Sequence[str]) -> dict[str, np.ndarray]:
    """What a graph takes: the image, and its size inside the padding."""
    given = {"images": sample.image[None].numpy(), "size": np.array(sample.geometry.size)}
    return {name: given[name] for name in names}


def by_kind(events: Any, calls: int) -> Milliseconds:
    """Milliseconds per call by kind. events: (operator, milliseconds)."""
    result: Milliseconds = Counter()
    for operator, milliseconds in events:
        result[kind_of(operator)] += milliseconds / calls
    return result


def kind_of(operator: str) -> str:
    """The kind of an operator by its name, "other" if none fits."""
    name = operator.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")


def text(result: dict[str, dict[str, float]]) -> str:
    """A table of one network: a line per kind, a column per runtime, the sum last."""
    kinds = [kind for kind in (*KINDS, "other") if any(kind in times for times in result.values())]
    rows: list[dict[str, Any]] = [{"ms": k, **{r: round(t.get(k, 0), 1) for r, t in result.items()}} for k in kinds]
    total = {runtime: round(sum(times.values()), 1) for runtime, times in result.items()}
    return format_table([*rows, {"ms": "sum", **total}])


PROFILERS: dict[str, Callable[[Any, Path, Sample, int, int], Milliseconds]] = {
    "torch": in_pytorch,
    "onnxruntime": in_onnxruntime,
    "openvino": in_openvino,
}


if __name__ == "__main__":
    main()
