"""A network as a file that says itself what it is: ONNX, a program of torch.export, or OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zoo.manifest.api as api
from zoo.errors import UnknownModel, UsageError
from zoo.export import artifact as artifacts
from zoo.export import export, openvino
from zoo.export.artifact import Artifact, Facts
from zoo.export.batch_graph import output_names
from zoo.export.graph_outputs import kind_of
from zoo.export.quantize import quantize
from zoo.models.detectors.base import Detector
from zoo.models.operations import counted_operations
from zoo.preprocessing.plain import to_plain
from zoo.preprocessing.preprocess import Preprocessor
from zoo.structures import Sample

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Origin:
    """Where a network came from. name: of the model, or of its checkpoint file. weights: "published", "random" or a
    file's name. source: the checkpoint's SHA-256."""

    name: str
    weights: str = "random"
    source: str | None = None


def write(
    model: Detector,
    path: str | Path,
    sample: Sample,
    origin: Origin,
    precision: str = "fp32",
    calibration: Sequence[Sample] = (),
    free_batch: bool = False,
) -> Artifact:
    """Write a network in the format that the ending of `path` means (.onnx, .pt2 or .xml), with facts about it.

    sample: a preprocessed image to record with. precision: fp16 of OpenVINO files, int8 of ONNX and OpenVINO files.
    calibration: preprocessed images whose activations decide int8's ranges. free_batch: for any number of images,
    without the post-processing. Files appear only when they are whole.
    Raises ExportError, and UsageError for what a format does not have.
    """
    path = Path(path)
    check(path, precision, calibration)
    facts = replace(facts_of(model, sample, origin, free_batch), precision=precision)
    if path.suffix == ".pt2":
        export.to_program(model, path, sample, free_batch)
        artifacts.write_beside(path, facts)
    elif path.suffix == ".onnx":
        write_onnx(model, path, sample, facts, calibration)
    else:
        with TemporaryDirectory(prefix="zoo-export-") as folder:
            facts = write_onnx(model, Path(folder) / "graph.onnx", sample, facts, calibration)
            path.parent.mkdir(parents=True, exist_ok=True)
            openvino.convert(Path(folder) / "graph.onnx", path, half=precision == "fp16")
        artifacts.write_beside(path, facts)
    return artifacts.read(path)


def check(path: Path, precision: str, calibration: Sequence[Any]) -> None:
    """Raise UsageError for a precision that a format does not have, or cannot be made of what is given."""
    if precision == "fp16" and path.suffix != ".xml":
        raise UsageError(f"fp16 is for OpenVINO files, not for {path.name}")
    if precision == "int8" and path.suffix == ".pt2":
        raise UsageError(f"int8 is for ONNX and OpenVINO files, not for {path.name}")
    if precision == "int8" and not calibration:
        raise UsageError("int8 needs images to calibrate with")


def write_onnx(model: Detector, path: Path, sample: Sample, facts: Facts, calibration: Sequence[Sample]) -> Facts:
    """An ONNX file of a network, quantized where the facts say int8; returns the facts that it holds."""
    if facts.precision != "int8":
        export.to_onnx(model, path, sample, {artifacts.KEY: artifacts.to_text(facts)}, facts.free_batch)
        return facts
    with TemporaryDirectory(prefix="zoo-export-") as folder:
        plain = export.to_onnx(model, Path(folder) / "float.onnx", sample, free_batch=facts.free_batch)
        return quantize(plain, path, calibration, facts)


def facts_of(model: Detector, sample: Sample, origin: Origin, free_batch: bool = False) -> Facts:
    """What a file says about the network. Raises UsageError for one that was not built from a description."""
    if model.description is None or not isinstance(model.preprocess, Preprocessor):
        raise UsageError("only a network that `zoo.build`, `load` or `load_file` made can be exported as a file")
    dataset, tasks = published_for(origin.name)
    return Facts(
        model=origin.name,
        weights=origin.weights,
        source=origin.source,
        dataset=dataset,
        tasks=tasks,
        description=dict(model.description),
        preprocessing=to_plain(model.preprocess.recipe),
        classes=None if model.classes is None else list(model.classes),
        label_count=model.label_count,
        outputs=output_names(model.eval(), sample.image) if free_batch else list(kind_of(model).outputs),
        precision="fp32",
        quantization=None,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        flops=flops(model, sample),
        flops_input=list(sample.image.shape[1:]),
        version=package_version(),
        free_batch=free_batch,
    )


def package_version() -> str:
    """Of this package, where it is installed."""
    try:
        return version("detection-zoo")
    except PackageNotFoundError:
        return "unknown"


def published_for(name: str) -> tuple[str | None, list[str] | None]:
    """Dataset and tasks of a model of the zoo."""
    with suppress(UnknownModel):
        entry = api.get(name)
        return entry.dataset, list(entry.tasks)
    return None, None


def flops(model: Detector, sample: Sample) -> int:
    """Operations for one preprocessed image, a multiply-add as two."""
    with counted_operations() as counter:
        model.eval().predict(sample.image[None], [sample.geometry])
    return int(counter.get_total_flops())
