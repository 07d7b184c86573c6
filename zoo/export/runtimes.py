"""Exported files as detectors: a file, run by onnxruntime, OpenVINO or PyTorch, with a `Detector`'s interface.

    runtimes.open_file("retinanet.onnx", "openvino").detect(["image.jpg"])

Everything that the file's outputs need to become detections in the image (its preprocessing, classes, thresholds, how
masks are pasted) comes from what `zoo export` wrote into the file or beside it; no checkpoint is read.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError, UnsafeCheckpoint, UsageError
from zoo.export import artifact as artifacts
from zoo.export import program_guard
from zoo.export.artifact import Artifact
from zoo.export.batch_graph import BatchKind, batch_kind_of, with_constants
from zoo.export.extras import extra, reason
from zoo.export.formats import runtime_of
from zoo.export.graph_outputs import ExportError, Kind, kind_of
from zoo.loading import build, preprocessor
from zoo.models.build_budget import Budget, limited
from zoo.models.detectors.base import Detector
from zoo.preprocessing.plain import from_plain
from zoo.structures import Detections, ImageGeometry, Sample

# The largest published network has about 7,000 tensors; what a file describes is built without memory for them.
TENSORS = 20_000
# Elements of the heads that are built with their anchors; the largest published ones have 30 million.
HEAD = 100_000_000


class ExportedDetector(nn.Module):
    """Base of graphs with the interface of a `Detector`: `preprocess`, `predict`, `detect`.

    original: the network it was made of, or its skeleton without weights, for what follows the graph. shape: of the
    input, None where it is free. free_batch: whether the graph takes any number of images at once (`batch_graph`);
    others run them one by one. named: a graph's outputs of several images. artifact: the file, if `open_file`
    opened it.
    """

    runtime: str
    artifact: Artifact | None = None
    original: Detector
    named: Sequence[str] = ()
    free_batch = False

    def __init__(self, original: Detector, shape: Sequence[int | None]) -> None:
        super().__init__()
        self.shape = list(shape)
        self.__dict__["original"] = original  # not a submodule: moving this one must not move that one
        self.preprocess, self.classes, self.label_count = original.preprocess, original.classes, original.label_count
        self.pixel_center = original.pixel_center

    @cached_property
    def kind(self) -> Kind:
        """Of the graph of one image. Raises ExportError for a network that has none."""
        return kind_of(self.original)

    @cached_property
    def batch_kind(self) -> BatchKind:
        """Of the graph of several images. Raises ExportError for a network that has none."""
        return batch_kind_of(self.original)

    @property
    def runtime_version(self) -> str:
        """Of the library that runs the graph."""
        return torch.__version__ if self.runtime == "torch" else str(extra(self.runtime).__version__)

    def batched(self, names: Sequence[str]) -> ExportedDetector:
        """The same, of a graph of any number of images. names: of its outputs."""
        self.free_batch, self.named = True, list(names)
        return self

    def outputs(self, image: Tensor, size: Any) -> Sequence[Tensor]:
        """What the graph gives for one padded image (1, 3, H, W). size: (h, w) inside the padding.

        A graph of several images takes (N, 3, H, W) and N such sizes.
        """
        raise NotImplementedError

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in the geometries' output coordinates. images: (N, 3, H, W), run at once or one by one."""
        if self.free_batch:
            return self.finish(self.run(images, geometries), images, geometries)
        return [self.predict_one(image[None], geometry) for image, geometry in zip(images, geometries)]

    def predict_one(self, image: Tensor, geometry: ImageGeometry) -> Detections:
        """One image (1, 3, H, W). Raises UsageError for another input size than the graph's."""
        return self.finish(self.run(image, [geometry]), image, [geometry])[0]

    def run(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> Sequence[Tensor]:
        """The graph's outputs for one image (1, 3, H, W), or for as many as a graph of several images is given.

        Raises UsageError for another input size than the graph's.
        """
        fixed = self.shape[2:]
        if None not in fixed and list(images.shape[2:]) != fixed:
            raise UsageError(f"this graph is for inputs of {fixed[0]} x {fixed[1]}, not {tuple(images.shape[2:])}")
        sizes = [geometry.size for geometry in geometries]
        return self.outputs(images.cpu(), sizes if self.free_batch else sizes[0])

    def finish(
        self, outputs: Sequence[Tensor], images: Tensor, geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """What follows the graph: coordinates of the image, pasted masks, panoptic maps.

        Behind a graph of several images also choosing candidates and suppression.
        """
        size = (images.shape[2], images.shape[3])
        if self.free_batch:
            return self.batch_kind.finish(self.original, dict(zip(self.named, outputs)), geometries, size)
        return [self.kind.finish(self.original, outputs, geometries[0], size)]

    def detect(self, images: Sequence[Any], device: Any = None) -> list[Detections]:
        """Detections in original image coordinates. images: files, or BGR uint8 arrays (H, W, 3)."""
        samples = [self.preprocess(image) for image in images]  # type: ignore[misc]
        return [self.detect_sample(sample) for sample in samples]

    def detect_sample(self, sample: Sample, home: Tensor | None = None) -> Detections:
        """One preprocessed image, in original coordinates."""
        return self.predict_one(sample.image[None], sample.geometry)


class OnnxDetector(ExportedDetector):
    """An ONNX graph, run by onnxruntime."""

    runtime = "onnxruntime"

    def __init__(self, path: str | Path, original: Detector, threads: int | None = None, device: str = "cpu") -> None:
        runtime = extra("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # warnings are advice for programmers
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = runtime.InferenceSession(str(path), options, providers=providers(runtime, device))
        except UsageError:
            raise
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise ExportError(f"onnxruntime {runtime.__version__} cannot run {path}: {reason(error)}") from error
        super().__init__(original, [n if isinstance(n, int) else None for n in session.get_inputs()[0].shape])
        self.session = session

    def outputs(self, image: Tensor, size: Any) -> Sequence[Tensor]:
        """What the graph gives for one padded image (1, 3, H, W). size: (h, w) inside the padding."""
        given = {"images": image.numpy(), "size": torch.tensor(size).numpy()}
        wanted = {entry.name: given[entry.name] for entry in self.session.get_inputs()}
        try:
            result = self.session.run(None, wanted)
        except Exception as error:
            raise failure(image, error) from error
        return [torch.from_numpy(value) for value in result]


class OpenVinoDetector(ExportedDetector):
    """An OpenVINO or ONNX file, run by OpenVINO on the processor, in float32 where the file does not say int8."""

    runtime = "openvino"

    def __init__(self, path: str | Path, original: Detector, threads: int | None = None, device: str = "cpu") -> None:
        openvino = extra("openvino")
        if torch.device(device).type != "cpu":
            raise UsageError(f"OpenVINO runs on the CPU here, not on {device}")
        # Without the precision, OpenVINO computes in bfloat16 wherever the processor has it.
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        options |= {"INFERENCE_NUM_THREADS": str(threads)} if threads is not None else {}
        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", options)
        except RuntimeError as error:
            raise ExportError(f"OpenVINO {openvino.__version__} cannot run {path}: {reason(error)}") from error
        sides = compiled.input("images").partial_shape
        super().__init__(original, [side.get_length() if side.is_static else None for side in sides])
        self.compiled, self.own = compiled, threading.local()
        self.names = {name for entry in compiled.inputs for name in entry.names}

    def outputs(self, image: Tensor, size: Any) -> Sequence[Tensor]:
        """What the graph gives for one padded image (1, 3, H, W). size: (h, w) inside the padding."""
        if not hasattr(self.own, "request"):  # a request serves one thread at a time
            self.own.request = self.compiled.create_infer_request()
        given = {"images": image.contiguous().numpy(), "size": torch.tensor(size).numpy()}
        try:
            result = self.own.request.infer({name: value for name, value in given.items() if name in self.names})
        except RuntimeError as error:
            raise failure(image, error) from error
        return [torch.from_numpy(result[i]) for i in range(len(result))]


class ProgramDetector(ExportedDetector):
    """A program of torch.export."""

    runtime = "torch"
    program: Any

    def __init__(self, path: str | Path, original: Detector, device: str = "cpu") -> None:
        if torch.device(device).type != "cpu":
            raise UsageError(f"a program of torch.export runs where it was recorded, on the CPU, not on {device}")
        try:
            program = program_guard.load(Path(path))
        except UnsafeCheckpoint:
            raise
        except Exception as error:  # whatever an archive that is none makes torch stumble over
            raise ExportError(f"PyTorch {torch.__version__} cannot run {path}: {reason(error)}") from error
        entry = next(n for n in program.graph.nodes if n.name == program.graph_signature.user_inputs[0])
        super().__init__(original, [n if isinstance(n, int) else None for n in entry.meta["val"].shape])
        self.__dict__["program"] = program.module(
            check_guards=False
        )  # not a submodule: its parameters are copies of the original's

    def outputs(self, image: Tensor, size: Any) -> Sequence[Tensor]:
        """What the program gives for one padded image (1, 3, H, W). size: (h, w) inside the padding."""
        with torch.inference_mode():
            inside = torch.tensor(size) if self.free_batch else tuple(size)
            result: Sequence[Tensor] = self.program(image, inside)
            return result


def providers(runtime: Any, device: str) -> list[str]:
    """What onnxruntime computes with. Raises UsageError where it is not built for the device."""
    if torch.device(device).type == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        raise UsageError(f"this onnxruntime does not run on {device}: pip install onnxruntime-gpu")
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def failure(image: Tensor, error: Exception) -> ExportError:
    """The error for a graph that fails on an input."""
    size = "x".join(str(side) for side in image.shape[2:])
    return ExportError(f"the graph fails on an input of {size} pixels: {reason(error)}")


def open_file(
    path: str | Path, runtime: str | None = None, threads: int | None = None, device: str = "cpu"
) -> ExportedDetector:
    """A file of `zoo export` as a detector; no other file is needed.

    runtime: "torch", "onnxruntime" or "openvino", or the usual one of the format. threads: of the runtime; those of
    PyTorch are the process's. Raises UsageError for a file that does not say what it is, ZooError if it is not there.
    """
    path = Path(path)
    return opened(artifacts.read(path), runtime_of(path, runtime), threads, device)


def opened(artifact: Artifact, runtime: str, threads: int | None = None, device: str = "cpu") -> ExportedDetector:
    """The same for a file that has been read."""
    original, detector = skeleton(artifact), run_by(runtime, artifact.path, threads, device)
    result: ExportedDetector = detector(original)
    if artifact.facts.free_batch:
        result.batched(artifact.facts.outputs)
    result.artifact = artifact
    return result.eval()


def run_by(runtime: str, path: Path, threads: int | None, device: str) -> Any:
    """What makes a detector of a file, for the skeleton of its network."""
    if runtime == "torch":
        return lambda original: ProgramDetector(path, original, device)
    kind = OnnxDetector if runtime == "onnxruntime" else OpenVinoDetector
    return lambda original: kind(path, original, threads, device)


def skeleton(artifact: Artifact) -> Detector:
    """The network that a file describes, without memory for its weights. Raises UsageError where that is none."""
    facts = artifact.facts
    try:
        with torch.device("meta"), limited(Budget.of_tensors([10**9] + [0] * TENSORS)):
            model = build(facts.description)
        if facts.free_batch:
            with limited(Budget.of_tensors([HEAD] + [0] * TENSORS)):
                model = with_constants(model)
        model.preprocess = preprocessor(from_plain(facts.preprocessing))
    except (BuildError, ValueError, NotImplementedError) as error:
        raise UsageError(f"{artifact.path}: what it says about its network makes none: {error}") from error
    model.classes, model.label_count = facts.classes, facts.label_count
    return model.eval()
