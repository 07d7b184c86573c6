"""Networks as ONNX graphs or as programs of torch.export, post-processing included.

A graph takes one padded image, `images` (1, 3, H, W), normalized, and the image's height and width inside the
padding, `size` (2,); one of any number of images takes (N, 3, H, W) and (N, 2), and ends before the post-processing
(`batch_graph`). It gives `boxes` (K, 4) xyxy in input pixels, `scores` (K,), `labels` (K,) and, where the network
has them, masks; `graph_outputs` says which. Height and width are free. A program of torch.export is of free size
wherever nothing in the network depends on the size of the example. `files` writes either with what it needs to be run,
`runtimes` runs it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import torch._dynamo.exc
from torch import Tensor

from zoo.export.batch_graph import BatchGraph, batch_kind_of, output_names
from zoo.export.extras import extra, reason
from zoo.export.graph_outputs import ExportError, Graph, kind_of
from zoo.export.onnx_operators import OPSET, register_operators
from zoo.models.detectors.base import Detector
from zoo.structures import Sample
from zoo.system.atomic_write import atomic_path

# Images in the example of a graph of any number: of one, exporters take the number for a constant.
EXAMPLES = 2
# Images are padded to multiples of this, or to none.
MULTIPLE = 32

RECORDING_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AssertionError,
    torch._dynamo.exc.TorchDynamoException,
)


def to_onnx(
    model: Detector,
    path: str | Path,
    sample: Sample,
    metadata: Mapping[str, str] | None = None,
    free_batch: bool = False,
) -> Path:
    """Write a network as an ONNX file; it appears only when it is whole.

    sample: a preprocessed image; the graph is for any other size too. metadata: kept in the file. free_batch: for any
    number of images. Raises ExportError, and UsageError where ONNX is not installed.
    """
    onnx = extra("onnx")
    register_operators()
    path = Path(path)
    require_graph(model, free_batch)
    with atomic_path(path, ".part") as part:
        try:
            write_graph(model, part, sample, free_batch)
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ExportError(f"{type(model).__name__} cannot be exported: {reason(error)}") from error
        graph = onnx.load(part)
        onnx.helper.set_model_props(graph, dict(metadata or {}))
        onnx.save(graph, part)
    return path


def require_graph(model: Detector, free_batch: bool) -> None:
    """Raise ExportError for a network that has no graph, or none of several images."""
    if free_batch:
        batch_kind_of(model)
    else:
        kind_of(model)


def graph_of(model: Detector, sample: Sample, free_batch: bool) -> tuple[Any, tuple[Tensor, Tensor]]:
    """The module that is recorded, and its inputs: one image, or two."""
    if not free_batch:
        return Graph(model.eval()).eval(), (sample.image[None], torch.tensor(sample.size))
    images, sizes = torch.stack([sample.image] * EXAMPLES), torch.tensor([sample.size] * EXAMPLES)
    return BatchGraph(model.eval()).eval(), (images, sizes)


def write_graph(model: Detector, path: Path, sample: Sample, free_batch: bool) -> None:
    """Have PyTorch write the ONNX file, with free dimensions by name."""
    graph, example = graph_of(model, sample, free_batch)
    names = output_names(model, sample.image) if free_batch else list(graph.kind.outputs)
    count = {0: "images"} if free_batch else {0: "detections"}
    free = {"images": {2: "height", 3: "width"} | (count if free_batch else {}), "size": count if free_batch else {}}
    with torch.no_grad(), quiet():
        torch.onnx.export(
            graph,
            example,
            str(path),
            input_names=["images", "size"],
            output_names=names,
            dynamic_axes={name: count for name in names} | free,
            opset_version=OPSET,
            dynamo=False,
        )


def to_program(model: Detector, path: str | Path, sample: Sample, free_batch: bool = False) -> Path:
    """Write a network as a program of torch.export (`.pt2`); it appears only when it is whole.

    sample: a preprocessed image. The program is for any height and width if the network can be recorded so, else for
    multiples of 32, else for this size. free_batch: for any number of images. Raises ExportError.
    """
    path = Path(path)
    with atomic_path(path, ".part.pt2") as part:
        program = recorded_freely(model, sample, free_batch)
        # Tensors of a checkpoint share memory, which a program's file cannot say where their types differ.
        for value in program.state_dict.values():
            value.data = value.data.clone()
        torch.export.save(program, part)
    return path


def recorded_freely(model: Detector, sample: Sample, free_batch: bool) -> torch.export.ExportedProgram:
    """The program for the most input sizes. Raises ExportError where there is none for any."""
    require_graph(model, free_batch)
    height, width, count = (torch.export.Dim(name, min=1) for name in ("height", "width", "count"))
    whole, free = MULTIPLE, torch.export.Dim.DYNAMIC
    for sizes in ({2: free, 3: free}, {2: whole * height, 3: whole * width}, None):
        try:
            if free_batch:
                program = record(model, sample, {"images": {0: count} | (sizes or {}), "size": {0: count}}, free_batch)
            else:
                program = record(model, sample, {"images": sizes, "size": (free, free)}, free_batch)
            if sizes is not None or free_batch:
                try_others(program, sample, sizes is not None, free_batch)
            return program
        except RECORDING_ERRORS as error:
            last = error
    raise ExportError(f"{type(model).__name__} cannot be exported: {reason(last)}") from last


def try_others(program: torch.export.ExportedProgram, sample: Sample, larger: bool, free_batch: bool) -> None:
    """Run a program on a larger image, and on one and three of them: some that promise any size or number have
    conditions that only show then."""
    image = sample.image[None]
    image = torch.nn.functional.pad(image, (0, 2 * MULTIPLE, 0, MULTIPLE)) if larger else image
    with torch.inference_mode(), quiet():
        for count in (1, EXAMPLES + 1) if free_batch else ():
            program.module(check_guards=False)(image.repeat(count, 1, 1, 1), torch.tensor([sample.size] * count))
        if not free_batch:
            program.module()(image, tuple(sample.size))


def record(model: Detector, sample: Sample, free: Any, free_batch: bool) -> torch.export.ExportedProgram:
    """What the network does to an image, or to two. free: dimensions that are not those of the example."""
    with torch.no_grad(), quiet():
        graph, (images, size) = graph_of(model, sample, free_batch)
        example = (images, size if free_batch else tuple(sample.size))
        return torch.export.export(graph, example, dynamic_shapes=free, strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no printed graphs, and attention in steps that exporters know."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()), unheard():
            warnings.simplefilter("ignore")  # tracing warns of every Python number, and so of every one that is meant
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def unheard() -> Iterator[None]:
    """Nothing that PyTorch's C++ code writes, such as the whole graph of an export that fails."""
    torch._C._jit_set_onnx_log_output_stream("stderr")
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
