"""`bench doctor`: explain an unexpected accuracy."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.config import DEFAULT_DATASET
from zoo.cli.argument_types import positive
from zoo.errors import UsageError, ZooError

if TYPE_CHECKING:
    from benchmarks.doctor.detections import Known


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--predictions", type=Path, metavar="FILE", help="detections in COCO's results format, of any detector")
    add("--preprocessor", metavar="MODULE:FUNCTION", help="a function from an image's path to the network's input")
    add("--model", metavar="NAME", help="model that produced the detections, or whose preprocessing is compared")
    add("--checkpoint", type=Path, metavar="FILE", help="weights of the model, instead of the published ones")
    add("--data", type=Path, metavar="DIR", help="the dataset's folder, in COCO's layout")
    add("--images", type=Path, metavar="DIR", help="images for --preprocessor, where there is no dataset")
    add("--dataset", default=DEFAULT_DATASET, metavar="NAME", help="layout of the folder (%(default)s)")
    add("--split", metavar="NAME", help="part of the dataset; by default the one that results are published for")
    add("--limit", type=positive, metavar="N", help="examine at most N images, evenly chosen (200)")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Examine and print."""
    check(args)
    if args.preprocessor:
        result = of_preprocessor(args)
    elif args.predictions:
        result = of_predictions(args)
    else:
        result = of_checkpoint(args)
    print(json.dumps(result, indent=1) if args.json else text(result))


def check(args: argparse.Namespace) -> None:
    """Raise UsageError unless it is said what to examine."""
    if args.preprocessor and args.predictions:
        raise UsageError("--preprocessor and --predictions are examined one at a time.")
    if args.preprocessor and not (args.model and (args.data or args.images)):
        raise UsageError("--preprocessor needs --model NAME, and --data DIR or --images DIR.")
    if args.predictions and not args.data:
        raise UsageError("--predictions needs --data DIR, the dataset that the detections are of.")
    if not (args.preprocessor or args.predictions or (args.checkpoint and args.model)):
        raise UsageError(
            "say what to examine: --predictions FILE --data DIR, --preprocessor MODULE:FUNCTION --model NAME, "
            "or --checkpoint FILE --model NAME."
        )
    if args.checkpoint and not args.checkpoint.is_file():
        raise ZooError(f"{args.checkpoint} does not exist, or is not a file.")


def of_predictions(args: argparse.Namespace) -> dict[str, Any]:
    """What is wrong with a file of detections."""
    from benchmarks.doctor import detections

    where = (args.predictions, args.data, args.dataset, args.split, args.limit)
    return detections.diagnose(*where, known_model(args) if args.model else None)


def of_preprocessor(args: argparse.Namespace) -> dict[str, Any]:
    """What is wrong with a function that prepares images."""
    from benchmarks.doctor import preprocessor

    paths = preprocessor.image_files(args.data, args.images, args.dataset, args.split)
    return preprocessor.diagnose(args.preprocessor, args.model, paths)


def of_checkpoint(args: argparse.Namespace) -> dict[str, Any]:
    """Why a checkpoint does not fit a model."""
    from benchmarks.doctor import checkpoint

    return checkpoint.diagnose(args.checkpoint, args.model)


def known_model(args: argparse.Namespace) -> Known:
    """The model with its published preprocessing."""
    import zoo
    from benchmarks.doctor.detections import Known
    from zoo.manifest import api

    recipe = api.preprocessing(args.model)
    model = zoo.load_file(args.checkpoint, args.model) if args.checkpoint else zoo.load(args.model)
    return Known(model, recipe)


def text(result: dict[str, Any]) -> str:
    """A diagnosis for people."""
    lines = [result["summary"]] if "summary" in result else [ap_text(result)]
    if not result["explanations"] and not result["notices"]:
        lines.append("No known mistake.")
    for number, one in enumerate(result["explanations"], 1):
        lines.append(f"{number}. {one['sentence']}{points_text(one['points'], result)}")
    if result.get("repaired_box_ap", 0) > result.get("box_ap", 0):
        lines.append(f"Without what can be taken back: box AP {100 * result['repaired_box_ap']:.1f}.")
    if result.get("model_box_ap") is not None:
        lines.append(f"The model as published: box AP {100 * result['model_box_ap']:.1f} on these images.")
    return "\n".join([*lines, *(f"Note: {note}" for note in result["notices"])])


def ap_text(result: dict[str, Any]) -> str:
    """What was examined."""
    return f"{result['images']} images examined; box AP {100 * result['box_ap']:.1f} as the file is."


def points_text(points: float | None, result: dict[str, Any]) -> str:
    """What a mistake costs."""
    if "box_ap" not in result:
        return ""
    if points is None:
        return " (its price cannot be read from the file)"
    return f" (it costs {points:.1f} points)" if points >= 0 else f" (it gains {-points:.1f} points)"
