"""`zoo export`: a network as an ONNX file, a torch.export program or an OpenVINO file, checked against the network."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo.cli.argument_types import positive
from zoo.cli.checkpoint_files import means_file
from zoo.cli.commands import detect
from zoo.cli.detection import inputs
from zoo.errors import UsageError
from zoo.manifest import api

if TYPE_CHECKING:
    from zoo.export.artifact import Artifact
    from zoo.export.difference import Difference
    from zoo.export.files import Origin
    from zoo.models.detectors.base import Detector
    from zoo.structures import Sample

# From this share of equal detections on, a float32 graph passes for the network.
ENOUGH = 0.97
# Images of --calibrate that are compared with the network where no --images are given.
COMPARED = 4
EXAMPLE = (480, 640)
# Images at once, whose detections are compared with those of each alone.
BATCH = 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model of the zoo, or your own checkpoint file")
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--onnx", metavar="FILE", type=Path, help="write an ONNX file")
    files.add_argument("--torch-export", metavar="FILE", type=Path, help="write a torch.export program (.pt2)")
    files.add_argument("--openvino", metavar="DIR", type=Path, help="write an OpenVINO file, NAME.xml and NAME.bin")
    add("--fp16", action="store_true", help="weights in float16 (OpenVINO)")
    add("--int8", action="store_true", help="convolutions in 8 bits (ONNX, OpenVINO); needs --calibrate")
    add("--calibrate", metavar="DIR", help="folder of images whose activations decide the ranges of --int8")
    add("--limit", type=positive, metavar="N", help="calibrate with at most N images")
    add("--dynamic-batch", action="store_true", help="for any number of images at once, without post-processing")
    add("--name", metavar="NAME", help="architecture of a checkpoint file that does not state it")
    add("--images", nargs="+", metavar="IMAGE", default=[], help="images to trace and to compare with the network on")
    add("--random-weights", action="store_true", help="use random weights; download nothing")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Export, compare, print. Exit status 1 if a float32 graph detects something else."""
    precision = checked(args)
    paths = [one.path for given in args.images for one in inputs.find(given)]
    calibration = [one.path for one in inputs.find(args.calibrate)][: args.limit] if args.calibrate else []
    from zoo.export import files, runtimes  # import torch, so they come after all checks
    from zoo.export.difference import SAME, SIMILAR, difference, of_batch
    from zoo.export.formats import runtime_of

    model, origin = network(args)
    if model.preprocess is None:
        raise UsageError("nothing to export with: the model's preprocessing is not known.")
    samples = samples_of(model, paths or calibration[:COMPARED])
    path = target(args, origin.name, precision)
    calibrated = samples_of(model, calibration)
    artifact = files.write(model, path, samples[0], origin, precision, calibrated, args.dynamic_batch)
    exported = runtimes.opened(artifact, runtime_of(path))
    iou = SAME if precision == "fp32" else SIMILAR
    free = None in exported.shape[2:]
    samples = [s for s in samples if free or s.image.shape == samples[0].image.shape]
    batch = of_batch(exported, samples, BATCH, iou) if args.dynamic_batch and (paths or calibration) else None
    return report(args, artifact, difference(model, exported, samples, iou), len(samples), free, batch)


def checked(args: argparse.Namespace) -> str:
    """The precision, where the options make sense. Raises UsageError, UnknownModel, ZooError."""
    if args.fp16 and args.int8:
        raise UsageError("--fp16 and --int8 are two precisions; give one of them.")
    if args.fp16 and not args.openvino:
        raise UsageError("--fp16 is for --openvino.")
    if args.int8 and args.torch_export:
        raise UsageError("--int8 is for --onnx and --openvino.")
    if args.int8 != bool(args.calibrate):
        raise UsageError("--int8 needs --calibrate DIR, a folder of images; --calibrate is for --int8.")
    if args.random_weights:
        api.architecture_name(args.model)
    else:
        detect.check_model(args.model, args.name)
    check_libraries(args)
    return "fp16" if args.fp16 else "int8" if args.int8 else "fp32"


def check_libraries(args: argparse.Namespace) -> None:
    """Complain about what is not installed, and about a file that cannot be written, before the work."""
    from zoo.export.extras import extra

    needed = [] if args.torch_export else ["onnx", "onnxruntime"]
    for library in [*needed, *(["openvino"] if args.openvino else [])]:
        extra(library)
    for path, suffix in ((args.onnx, ".onnx"), (args.torch_export, ".pt2")):
        if path is not None and path.suffix != suffix:
            raise UsageError(f"{path}: the name of such a file ends in {suffix}, by which others know it.")


def network(args: argparse.Namespace) -> tuple[Detector, Origin]:
    """What to export, and where it came from."""
    from hashlib import sha256

    from zoo.export.files import Origin

    if args.random_weights:
        import torch

        torch.manual_seed(0)
        return zoo.build(args.model), Origin(args.model)
    model = detect.load(args.model, args.name, "cpu")
    file = Path(args.model) if means_file(args.model) else zoo.fetch(args.model)
    source = sha256(file.read_bytes()).hexdigest()
    if means_file(args.model):
        return model, Origin(file.stem, file.name, source)
    return model, Origin(api.get(args.model).name, "published", source)


def samples_of(model: Detector, paths: Sequence[Path]) -> list[Sample]:
    """Preprocessed images; a gray one where there are none."""
    import numpy as np

    images: Sequence[Any] = paths or [np.full((*EXAMPLE, 3), 127, np.uint8)]
    assert model.preprocess is not None
    return [model.preprocess(image) for image in images]


def target(args: argparse.Namespace, name: str, precision: str) -> Path:
    """The file to write; OpenVINO's is called like the model and its precision."""
    if args.openvino is None:
        return Path(args.onnx or args.torch_export)
    if args.openvino.exists() and not args.openvino.is_dir():
        raise UsageError(f"{args.openvino} is a file; --openvino takes a folder.")
    suffix = "" if precision == "fp32" else f"-{precision}"
    return Path(args.openvino) / f"{name.replace('/', '_')}{suffix}.xml"


def report(
    args: argparse.Namespace,
    artifact: Artifact,
    result: Difference,
    images: int,
    free: bool,
    batch: Difference | None,
) -> int:
    """Print what was written and how it agrees; the exit status. batch: of several images at once."""
    compared = bool(args.images or args.calibrate)
    if args.json:
        facts = artifact.to_record() | {"path": str(artifact.path), "compared_images": images if compared else 0}
        several = {} if batch is None else {"batch": {"images": BATCH} | asdict(batch)}
        print(json.dumps(asdict(result) | {"free_size": free} | facts | several))
    else:
        print(text(result, images, free) if compared else "not compared: give --images to see what it detects")
        if batch is not None:
            print(f"{BATCH} images at once: {agreement(batch)}, against each alone")
        print(f"{artifact.path}: {artifact.facts.precision}, {artifact.bytes:,} bytes, SHA-256 {artifact.sha256}")
    same = min(
        share
        for one in (result, batch)
        if one is not None
        for share in (one.matched, one.panoptic)
        if share is not None
    )
    if same < ENOUGH:
        print(f"zoo: {artifact.path} finds {same:.1%} of what the network finds", file=sys.stderr)
    return int(same < ENOUGH and artifact.facts.precision == "fp32")


def text(result: Difference, images: int, free: bool) -> str:
    """The comparison in a sentence."""
    sizes = "any input size" if free else "one input size"
    return f"{sizes}: {agreement(result, f' on {images} images')}"


def agreement(result: Difference, where: str = "") -> str:
    """How many detections are the same, and how far these are apart."""
    line = (
        f"{result.matched:.1%} of {result.detections} detections{where} are the same; largest differences: score "
        f"{result.score:.1e}, box {result.box:.1e} pixels"
    )
    if result.mask is not None:
        line += f", mask IoU {result.mask:.3f}"
    if result.keypoints is not None:
        line += f", {result.keypoints:.1%} of the worst detection's keypoints within half a pixel"
    return line + ("" if result.panoptic is None else f"; equal pixels of panoptic maps {result.panoptic:.3%}")
