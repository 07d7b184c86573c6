"""Networks as ONNX graphs or as programs of torch.export, post-processing included, and graphs as detectors again.

A graph takes one padded image, `images` (1, 3, H, W), normalized, and the image's height and width inside the
padding, `size` (2,). It gives `boxes` (K, 4) xyxy in input pixels, `scores` (K,), `labels` (K,) and, where the network
has them, masks; `zoo.graphs` says which. Height and width are free. A program of torch.export is of free size wherever
nothing in the network depends on the size of the example.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import torch._dynamo.exc
from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.export.graph_outputs import ExportError, Graph, kind_of
from zoo.export.onnx_operators import OPSET, register_operators
from zoo.models.detectors.base import Detector
from zoo.structures import Detections, ImageGeometry, Sample
from zoo.system.atomic_write import atomic_path

# Under this name an ONNX file says what it was made of.
SOURCE = "detection-zoo.source"
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


def to_onnx(model: Detector, path: str | Path, sample: Sample, source: str = "") -> Path:
    """Write a network as an ONNX file; it appears only when it is whole.

    sample: a preprocessed image; the graph is for any other size too. source: the name or the checkpoint file that
    the network was loaded by, kept in the file. Raises ExportError, and UsageError where ONNX is not installed.
    """
    onnx = extra("onnx")
    register_operators()
    path = Path(path)
    kind_of(model)  # refuses what has no graph at all
    with atomic_path(path, ".part") as part:
        try:
            write_graph(model, part, sample)
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ExportError(f"{type(model).__name__} cannot be exported: {reason(error)}") from error
        graph = onnx.load(part)
        onnx.helper.set_model_props(graph, {SOURCE: source})
        onnx.save(graph, part)
    return path


def write_graph(model: Detector, path: Path, sample: Sample) -> None:
    """Have PyTorch write the ONNX file, with free dimensions by name."""
    graph = Graph(model.eval()).eval()
    names = list(graph.kind.outputs)
    with torch.no_grad(), quiet():
        torch.onnx.export(
            graph,
            (sample.image[None], torch.tensor(sample.size)),
            str(path),
            input_names=["images", "size"],
            output_names=names,
            dynamic_axes={name: {0: "detections"} for name in names} | {"images": {2: "height", 3: "width"}},
            opset_version=OPSET,
            dynamo=False,
        )


def source_of(path: str | Path) -> str:
    """The name or the checkpoint file that an ONNX file was made of. Raises UsageError where it does not say."""
    runtime = extra("onnxruntime")
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise UsageError(f"{path} cannot be read as an ONNX file: {reason(error)}") from error
    source: str = session.get_modelmeta().custom_metadata_map.get(SOURCE, "")
    if not source:
        raise UsageError(f"{path} does not say which network it was made of; `zoo export` writes that")
    return source


def to_program(model: Detector, path: str | Path, sample: Sample) -> Path:
    """Write a network as a program of torch.export (`.pt2`); it appears only when it is whole.

    sample: a preprocessed image. The program is for any height and width if the network can be recorded so, else for
    multiples of 32, else for this size. Raises ExportError.
    """
    path = Path(path)
    with atomic_path(path, ".part.pt2") as part:
        program = recorded_freely(model, sample)
        # Tensors of a checkpoint share memory, which a program's file cannot say where their types differ.
        for value in program.state_dict.values():
            value.data = value.data.clone()
        torch.export.save(program, part)
    return path


def reason(error: Exception) -> str:
    """What an exporter has to say, without its advice for programmers."""
    if "because it is not constant" in str(error):
        return "it computes a size that ONNX must know beforehand from the size of the image"
    return str(error).partition("\n")[0].partition(" Please feel free")[0].partition("  [Caused by")[0]


def recorded_freely(model: Detector, sample: Sample) -> torch.export.ExportedProgram:
    """The program for the most input sizes. Raises ExportError where there is none for any."""
    kind_of(model)  # refuses what has no graph at all
    height, width = (torch.export.Dim(name, min=1) for name in ("height", "width"))
    whole, free = MULTIPLE, torch.export.Dim.DYNAMIC
    for sizes in ({2: free, 3: free}, {2: whole * height, 3: whole * width}, None):
        try:
            program = record(model, sample, {"images": sizes, "size": (free, free)})
            if sizes is not None:
                try_larger(program, sample)
            return program
        except RECORDING_ERRORS as error:
            last = error
    raise ExportError(f"{type(model).__name__} cannot be exported: {reason(last)}") from last


def try_larger(program: torch.export.ExportedProgram, sample: Sample) -> None:
    """Run a program on a larger image: some that promise any size have conditions that only show then."""
    larger = torch.nn.functional.pad(sample.image[None], (0, 2 * MULTIPLE, 0, MULTIPLE))
    with torch.inference_mode(), quiet():
        program.module()(larger, tuple(sample.size))


def record(model: Detector, sample: Sample, free: Any) -> torch.export.ExportedProgram:
    """What the network does to an image. free: dimensions that are not those of the example."""
    with torch.no_grad(), quiet():
        graph, example = Graph(model.eval()).eval(), (sample.image[None], tuple(sample.size))
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


class ExportedDetector(nn.Module):
    """Base of graphs with the interface of a `Detector`: `preprocess`, `predict`, `detect`. One image at a time.

    original: the network it was made of, for its preprocessing, classes, parameters and operations. shape: of the
    input, None where it is free.
    """

    def __init__(self, original: Detector, shape: Sequence[int | None]) -> None:
        super().__init__()
        self.shape = list(shape)
        self.__dict__["original"] = original  # not a submodule: moving this one must not move that one
        self.preprocess, self.classes = original.preprocess, original.classes
        self.kind = kind_of(original)
        self.pixel_center = original.pixel_center

    def outputs(self, image: Tensor, size: tuple[int, int]) -> Sequence[Tensor]:
        """What the graph gives for one padded image (1, 3, H, W). size: (h, w) inside the padding."""
        raise NotImplementedError

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in the frames' output coordinates. images: (N, 3, H, W), run one by one."""
        return [self.predict_one(image[None], geometry) for image, geometry in zip(images, geometries)]

    def predict_one(self, image: Tensor, geometry: ImageGeometry) -> Detections:
        """One image (1, 3, H, W). Raises UsageError for another input size than the graph's."""
        fixed = self.shape[2:]
        if None not in fixed and list(image.shape[2:]) != fixed:
            raise UsageError(f"this graph is for inputs of {fixed[0]} x {fixed[1]}, not {tuple(image.shape[2:])}")
        outputs = self.outputs(image.cpu(), geometry.size)
        return self.kind.finish(self.original, outputs, geometry, (image.shape[2], image.shape[3]))

    def detect(self, images: Sequence[Any], device: Any = None) -> list[Detections]:
        """Detections in original image coordinates. images: files, or BGR uint8 arrays (H, W, 3)."""
        samples = [self.preprocess(image) for image in images]  # type: ignore[misc]
        return [self.predict_one(sample.image[None], sample.geometry) for sample in samples]


class OnnxDetector(ExportedDetector):
    """An ONNX graph, run by onnxruntime."""

    def __init__(self, path: str | Path, original: Detector, threads: int | None = None) -> None:
        runtime = extra("onnxruntime")
        options = runtime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = runtime.InferenceSession(str(path), options, providers=runtime.get_available_providers())
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise ExportError(f"onnxruntime {runtime.__version__} cannot run {path}: {reason(error)}") from error
        super().__init__(original, [n if isinstance(n, int) else None for n in session.get_inputs()[0].shape])
        self.session = session

    def outputs(self, image: Tensor, size: tuple[int, int]) -> Sequence[Tensor]:
        """What the graph gives for one padded image (1, 3, H, W). size: (h, w) inside the padding."""
        given = {"images": image.numpy(), "size": torch.tensor(size).numpy()}
        wanted = {entry.name: given[entry.name] for entry in self.session.get_inputs()}
        try:
            result = self.session.run(None, wanted)
        except Exception as error:
            place = "x".join(str(side) for side in image.shape[2:])
            raise ExportError(f"the graph fails on an input of {place} pixels: {reason(error)}") from error
        return [torch.from_numpy(value) for value in result]


class ProgramDetector(ExportedDetector):
    """A program of torch.export."""

    program: Any

    def __init__(self, path: str | Path, original: Detector) -> None:
        program = torch.export.load(path)
        entry = next(n for n in program.graph.nodes if n.name == program.graph_signature.user_inputs[0])
        super().__init__(original, [n if isinstance(n, int) else None for n in entry.meta["val"].shape])
        self.__dict__["program"] = program.module()  # not a submodule: its parameters are copies of the original's

    def outputs(self, image: Tensor, size: tuple[int, int]) -> Sequence[Tensor]:
        """What the program gives for one padded image (1, 3, H, W). size: (h, w) inside the padding."""
        with torch.inference_mode():
            result: Sequence[Tensor] = self.program(image, tuple(size))
            return result


@dataclass(frozen=True)
class Difference:
    """How far a graph's detections are from the network's.

    detections: of the network. matched: share of them that the graph has too (same label, and IoU at least 0.98 of
    the boxes). score, box: largest differences among the matched ones, boxes in pixels. mask: smallest IoU of two
    matched masks, panoptic: smallest share of equal pixels in an image, keypoints: smallest share of a detection's
    keypoints that are within half a pixel; None where there are none.
    """

    detections: int
    matched: float
    score: float
    box: float
    mask: float | None = None
    panoptic: float | None = None
    keypoints: float | None = None


def difference(model: Detector, exported: ExportedDetector, samples: Sequence[Sample]) -> Difference:
    """Compare a graph with its network on preprocessed images."""
    count, score, box, mask, panoptic, keypoints = 0, [], [], [], [], []
    for sample in samples:
        with torch.inference_mode():
            want = model.predict(sample.image[None], [sample.geometry])[0]
        have = exported.predict_one(sample.image[None], sample.geometry)
        count += len(want)
        if want.panoptic is not None and have.panoptic is not None:
            panoptic.append(float((want.panoptic == have.panoptic).float().mean()))
        if not len(want) or not len(have):
            continue
        matched, partner = partners(want, have)
        want, have = want[matched], have[partner]
        score += (want.scores - have.scores).abs().tolist()
        box += (want.boxes - have.boxes).abs().amax(dim=1).tolist()
        if want.masks is not None and have.masks is not None:
            mask += mask_overlaps(want.masks, have.masks).tolist()
        if want.keypoints is not None and have.keypoints is not None:
            near = (want.keypoints - have.keypoints)[..., :2].abs().amax(dim=2) < 0.5
            keypoints += near.float().mean(dim=1).tolist()
    share = len(score) / count if count else 1.0
    lowest = (min(values) if values else None for values in (mask, panoptic, keypoints))
    return Difference(count, share, max(score, default=0.0), max(box, default=0.0), *lowest)


def partners(want: Detections, have: Detections) -> tuple[Tensor, Tensor]:
    """Indices of the detections that others repeat, and of those others. Neither may be empty."""
    from zoo.models.box_ops import pairwise_iou

    near = (want.boxes[:, None] - have.boxes).abs().amax(dim=2) < 0.05  # boxes without area have no IoU
    quality = pairwise_iou(want.boxes, have.boxes).maximum(near.float())
    quality -= 2.0 * (want.labels[:, None] != have.labels)
    quality -= (want.scores[:, None] - have.scores).abs()  # of equal boxes the one with the same score
    best, partner = quality.max(dim=1)
    matched = (best > 0.97).nonzero().squeeze(1)
    return matched, partner[matched]


def mask_overlaps(a: Tensor, b: Tensor) -> Tensor:
    """IoU (K,) of masks (K, H, W) bool one by one; of two empty masks it is 1."""
    both, either = (a & b).flatten(1).sum(1), (a | b).flatten(1).sum(1)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def extra(name: str) -> Any:
    """An optional library. Raises UsageError with the command that installs it."""
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"exporting needs {name}: pip install onnx onnxruntime") from None
