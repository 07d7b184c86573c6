"""`zoo export`: a network as an ONNX file or a program of torch.export, checked against the network."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import zoo
from zoo.cli.commands import detect
from zoo.cli.detection import inputs
from zoo.errors import UsageError
from zoo.manifest import api

# From this share of equal detections on, a graph passes for the network.
ENOUGH = 0.97


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model of the zoo, or your own checkpoint file")
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--onnx", metavar="FILE", type=Path, help="write an ONNX file")
    files.add_argument("--torch-export", metavar="FILE", type=Path, help="write a torch.export program (.pt2)")
    add("--name", metavar="NAME", help="architecture of a checkpoint file that does not state it")
    add("--images", nargs="+", metavar="IMAGE", required=True, help="images to trace and to check with")
    add("--random-weights", action="store_true", help="use random weights; download nothing")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Export, compare, print. Exit status 1 if the graph detects something else."""
    if args.random_weights:
        api.architecture_name(args.model)
    else:
        detect.check_model(args.model, args.name)
    paths = [one.path for given in args.images for one in inputs.find(given)]
    from zoo.export import export  # imports torch, so it comes after all checks

    model = zoo.build(args.model) if args.random_weights else detect.load(args.model, args.name, "cpu")
    if not paths or model.preprocess is None:
        raise UsageError("nothing to export with: give at least one image, and a model with known preprocessing.")
    samples = [model.preprocess(path) for path in paths]
    path = args.onnx or args.torch_export
    if args.onnx:
        exported: export.ExportedDetector = export.OnnxDetector(
            export.to_onnx(model, path, samples[0], source(args)), model
        )
    else:
        exported = export.ProgramDetector(export.to_program(model, path, samples[0]), model)
    free = None in exported.shape[2:]
    samples = [s for s in samples if free or s.image.shape == samples[0].image.shape]
    result = export.difference(model, exported, samples)
    print(json.dumps(asdict(result) | {"free_size": free}) if args.json else text(result, len(samples), free))
    same = min(result.matched, 1.0 if result.panoptic is None else result.panoptic)
    if same < ENOUGH:
        print(f"zoo: {path} finds {same:.1%} of what the network finds", file=sys.stderr)
    return int(same < ENOUGH)


def source(args: argparse.Namespace) -> str:
    """What the exported file says about its origin: a model's name, or where the checkpoint lies."""
    if Path(args.model).is_file():
        return str(Path(args.model).resolve())
    return str(args.model)


def text(result, images: int, free: bool) -> str:  # type: ignore[no-untyped-def]  # its type needs torch
    """The comparison in a sentence."""
    sizes = "any input size" if free else "one input size"
    line = (
        f"{sizes}: {result.matched:.1%} of {result.detections} detections on {images} images are the same; largest "
        f"differences: score {result.score:.1e}, box {result.box:.1e} pixels"
    )
    if result.mask is not None:
        line += f", mask IoU {result.mask:.3f}"
    if result.keypoints is not None:
        line += f", {result.keypoints:.1%} of the worst detection's keypoints within half a pixel"
    return line + ("" if result.panoptic is None else f"; equal pixels of panoptic maps {result.panoptic:.3%}")
