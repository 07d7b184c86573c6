"""Networks as ONNX graphs or as programs of torch.export, post-processing included, and graphs as detectors again.

A graph takes one picture, `images` (1, 3, H, W), normalised and padded, and gives `boxes` (K, 4) xyxy in input pixels,
`scores` (K,), `labels` (K,) and, for Mask R-CNN, `masks` (K, h, w), the probabilities inside each box, which
`OnnxDetector` pastes into the picture. Height and width are free for detectors with dense heads and regions of
interest; an ONNX graph of a transformer over queries is for one input size. A program of torch.export is of free size
wherever nothing in the network depends on the size of the example.
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

from zoo.errors import UsageError, ZooError
from zoo.models.detectors.base import Detector
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.layers.masks import paste_masks
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.standard import StandardRoIHead
from zoo.structures import Detections, Frame, Sample

OPSET = 17
# Heads over queries: what they do depends on the input size in ways that a graph cannot follow.
FIXED_SIZE = ("DETRHead", "DeformableDETRHead", "SparseRoIHead")

RECORDING_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, IndexError, torch._dynamo.exc.TorchDynamoException)


class ExportError(ZooError):
    """A network that cannot be exported, or a graph that does not do what the network does."""


class Graph(nn.Module):
    """What is exported: one picture in, plain tensors out."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images: (1, 3, H, W). Returns boxes, scores, labels and for Mask R-CNN region masks."""
        size: Any = (images.shape[2], images.shape[3])
        frames = [Frame(size, size)]
        roi_head: Any = getattr(self.model, "roi_head", None)
        if getattr(roi_head, "mask_head", None) is None:
            found = self.model.predict(images, frames)[0]
            return found.boxes, found.scores, found.labels
        model: Any = self.model
        features = model.features(images)
        found = roi_head.predict_boxes(features, model.propose(features, frames), frames)[0]
        logits = roi_head.mask_logits(features, rois_of([found.boxes]))
        return found.boxes, found.scores, found.labels, roi_head.mask_head.probabilities(logits, found.labels)


def is_dynamic(model: Detector) -> bool:
    """Whether a graph of this network works for pictures of any size. Raises ExportError for one without a graph."""
    if not isinstance(model, (SingleStageDetector, TwoStageDetector)):
        raise ExportError(f"{type(model).__name__} cannot be exported: its results are made outside of the network")
    head: Any = model.bbox_head if isinstance(model, SingleStageDetector) else model.roi_head
    if getattr(head, "mask_head", None) is not None and type(head) is not StandardRoIHead:
        raise ExportError(f"the masks of {type(head).__name__} cannot be exported yet")
    return type(head).__name__ not in FIXED_SIZE


def to_onnx(model: Detector, path: str | Path, sample: Sample) -> Path:
    """Write a network as an ONNX file; it appears only when it is whole.

    sample: a preprocessed picture; for a network without free input size, the graph is for this size. Raises
    ExportError, and UsageError where ONNX is not installed.
    """
    extra("onnx")
    path, axes = Path(path), is_dynamic(model)
    masks = getattr(getattr(model, "roi_head", None), "mask_head", None) is not None
    names = ["boxes", "scores", "labels"] + ["masks"] * masks
    free: dict[str, dict[int, str]] = {name: {0: "detections"} for name in names}
    if axes:
        free["images"] = {2: "height", 3: "width"}
    part = path.with_name(path.name + ".part")
    graph = Graph(model.eval()).eval()
    try:
        with torch.no_grad(), quiet():
            torch.onnx.export(
                graph,
                (sample.image[None],),
                str(part),
                input_names=["images"],
                output_names=names,
                dynamic_axes=free,
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        part.unlink(missing_ok=True)
        raise ExportError(f"{type(model).__name__} cannot be exported: {str(error).splitlines()[0]}") from error
    os.replace(part, path)
    return path


def to_program(model: Detector, path: str | Path, sample: Sample) -> Path:
    """Write a network as a program of torch.export (`.pt2`); it appears only when it is whole.

    sample: a preprocessed picture. The program is for any height and width if the network can be recorded so, else for
    this size. Raises ExportError.
    """
    is_dynamic(model)  # refuses what has no graph at all
    path = Path(path)
    free = {"images": {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}}
    try:
        program = record(model, sample, free)
    except RECORDING_ERRORS:
        try:
            program = record(model, sample, None)
        except RECORDING_ERRORS as error:
            reason = str(error).partition("\n")[0]
            raise ExportError(f"{type(model).__name__} cannot be exported: {reason}") from error
    part = path.with_name(path.name + ".part.pt2")
    try:
        torch.export.save(program, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def record(model: Detector, sample: Sample, free: Any) -> torch.export.ExportedProgram:
    """What the network does to a picture. free: dimensions that are not those of the example."""
    with torch.no_grad(), quiet():
        return torch.export.export(Graph(model.eval()).eval(), (sample.image[None],), dynamic_shapes=free, strict=False)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no printed graphs, and attention in steps that exporters know."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")  # tracing warns of every Python number, and so of every one that is meant
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class ExportedDetector(nn.Module):
    """Base of graphs with the interface of a `Detector`: `preprocess`, `predict`, `detect`. One picture at a time.

    original: the network it was made of, for its preprocessing, classes, parameters and operations. shape: of the
    input, None where it is free.
    """

    def __init__(self, original: Detector, shape: Sequence[int | None]) -> None:
        super().__init__()
        self.shape = list(shape)
        self.__dict__["original"] = original  # not a submodule: moving this one must not move that one
        self.preprocess, self.classes = original.preprocess, original.classes
        head: Any = getattr(original, "roi_head", None)
        self.threshold = (head.test_cfg or {}).get("mask_thr_binary", 0.5) if head is not None else 0.5

    def outputs(self, image: Tensor) -> Sequence[Tensor]:
        """Boxes, scores, labels and for Mask R-CNN region masks of one picture (1, 3, H, W)."""
        raise NotImplementedError

    def predict(self, images: Tensor, frames: Sequence[Frame]) -> list[Detections]:
        """Detections in the frames' output coordinates. images: (N, 3, H, W), run one by one."""
        return [self.predict_one(image[None], frame) for image, frame in zip(images, frames)]

    def predict_one(self, image: Tensor, frame: Frame) -> Detections:
        """One picture (1, 3, H, W). Raises UsageError for another input size than the graph's."""
        fixed = self.shape[2:]
        if None not in fixed and list(image.shape[2:]) != fixed:
            raise UsageError(f"this graph is for inputs of {fixed[0]} x {fixed[1]}, not {tuple(image.shape[2:])}")
        boxes, scores, labels, *masks = self.outputs(image.cpu())
        found = Detections(boxes, scores, labels).to_output(frame)
        if masks:
            found.masks = paste_masks(masks[0], found.boxes, frame.output_size, self.threshold)
        return found

    def detect(self, images: Sequence[Any], device: Any = None) -> list[Detections]:
        """Detections in original image coordinates. images: files, or BGR uint8 arrays (H, W, 3)."""
        samples = [self.preprocess(image) for image in images]  # type: ignore[misc]
        return [self.predict_one(sample.image[None], sample.frame) for sample in samples]


class OnnxDetector(ExportedDetector):
    """An ONNX graph, run by onnxruntime."""

    def __init__(self, path: str | Path, original: Detector, threads: int | None = None) -> None:
        runtime = extra("onnxruntime")
        options = runtime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        session = runtime.InferenceSession(str(path), options, providers=runtime.get_available_providers())
        super().__init__(original, [n if isinstance(n, int) else None for n in session.get_inputs()[0].shape])
        self.session = session

    def outputs(self, image: Tensor) -> Sequence[Tensor]:
        """What the graph gives for one picture (1, 3, H, W)."""
        return [torch.from_numpy(value) for value in self.session.run(None, {"images": image.numpy()})]


class ProgramDetector(ExportedDetector):
    """A program of torch.export."""

    program: Any

    def __init__(self, path: str | Path, original: Detector) -> None:
        program = torch.export.load(path)
        entry = next(n for n in program.graph.nodes if n.name == program.graph_signature.user_inputs[0])
        super().__init__(original, [n if isinstance(n, int) else None for n in entry.meta["val"].shape])
        self.__dict__["program"] = program.module()  # not a submodule: its parameters are copies of the original's

    def outputs(self, image: Tensor) -> Sequence[Tensor]:
        """What the program gives for one picture (1, 3, H, W)."""
        with torch.inference_mode():
            found: Sequence[Tensor] = self.program(image)
            return found


@dataclass(frozen=True)
class Difference:
    """How far a graph's detections are from the network's.

    detections: of the network. matched: share of them that the graph has too (same label, IoU at least 0.98). score,
    box: largest differences among the matched ones, boxes in pixels.
    """

    detections: int
    matched: float
    score: float
    box: float


def difference(model: Detector, exported: ExportedDetector, samples: Sequence[Sample]) -> Difference:
    """Compare a graph with its network on preprocessed pictures."""
    from zoo.models.overlaps import pairwise_iou

    count, matched, score, box = 0, 0, 0.0, 0.0
    for sample in samples:
        with torch.inference_mode():
            want = model.predict(sample.image[None], [sample.frame])[0]
        have = exported.predict_one(sample.image[None], sample.frame)
        count += len(want)
        if not len(want) or not len(have):
            continue
        near = (want.boxes[:, None] - have.boxes).abs().amax(dim=2) < 0.05  # boxes without area have no IoU
        quality = pairwise_iou(want.boxes, have.boxes).maximum(near.float())
        quality -= 2.0 * (want.labels[:, None] != have.labels)
        quality -= (want.scores[:, None] - have.scores).abs()  # of equal boxes the one with the same score
        best, index = quality.max(dim=1)
        good = best > 0.97
        matched += int(good.sum())
        if good.any():
            score = max(score, float((want.scores - have.scores[index])[good].abs().max()))
            box = max(box, float((want.boxes - have.boxes[index])[good].abs().max()))
    return Difference(count, matched / count if count else 1.0, score, box)


def extra(name: str) -> Any:
    """An optional library. Raises UsageError with the command that installs it."""
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"exporting needs {name}: pip install 'detection-zoo[onnx]'") from None
