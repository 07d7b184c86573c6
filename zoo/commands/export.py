"""`zoo export`: a network as an ONNX file, checked against the network."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from zoo.errors import UsageError

# From this share of equal detections on, a graph passes for the network.
ENOUGH = 0.97


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model of the zoo, or a checkpoint file of your own")
    add("--onnx", metavar="FILE", type=Path, required=True, help="the file to write")
    add("--name", metavar="NAME", help="the architecture of a checkpoint file that does not say it itself")
    add("--images", nargs="+", metavar="IMAGE", required=True, help="pictures to export with and to check with")
    add("--random-weights", action="store_true", help="a freshly initialised network, without a download")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Export, compare, print. Exit status 1 if the graph detects something else."""
    import zoo
    from zoo import export, pictures
    from zoo.commands.detect import load

    model = zoo.build(args.model) if args.random_weights else load(args.model, args.name, "cpu")
    paths = [path for given in args.images for path in pictures.find(given)]
    if not paths or model.preprocess is None:
        raise UsageError("nothing to export with: give at least one picture, and a model with known preprocessing.")
    samples = [model.preprocess(path) for path in paths]
    if not export.is_dynamic(model):
        samples = [s for s in samples if s.image.shape == samples[0].image.shape]
    export.to_onnx(model, args.onnx, samples[0])
    found = export.difference(model, export.OnnxDetector(args.onnx, model), samples)
    print(json.dumps(asdict(found)) if args.json else text(found, len(samples)))
    if found.matched < ENOUGH:
        print(f"zoo: {args.onnx} finds {found.matched:.1%} of what the network finds", file=sys.stderr)
    return int(found.matched < ENOUGH)


def text(found, pictures: int) -> str:  # type: ignore[no-untyped-def]  # its type needs torch
    """The comparison in a sentence."""
    return (
        f"{found.matched:.1%} of {found.detections} detections on {pictures} pictures are the same; largest "
        f"differences: score {found.score:.1e}, box {found.box:.1e} pixels"
    )
