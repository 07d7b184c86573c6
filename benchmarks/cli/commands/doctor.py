"""`bench doctor`: why a number is another one than expected."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.accuracy.config import DEFAULT_DATASET
from zoo.cli.argument_types import positive
from zoo.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--predictions", type=Path, metavar="FILE", help="detections in COCO's results format, of any detector")
    add("--data", type=Path, metavar="DIR", help="the dataset's folder, in COCO's layout")
    add("--dataset", default=DEFAULT_DATASET, metavar="NAME", help="layout of the folder (%(default)s)")
    add("--split", metavar="NAME", help="part of the dataset; by default the one that results are published for")
    add("--limit", type=positive, metavar="N", help="examine at most N images, evenly chosen (200)")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Examine and print."""
    if args.predictions is None or args.data is None:
        raise UsageError("say what to examine: --predictions FILE --data DIR.")
    result = of_predictions(args)
    print(json.dumps(result, indent=1) if args.json else text(result))


def of_predictions(args: argparse.Namespace) -> dict[str, Any]:
    """What is wrong with a file of detections."""
    from benchmarks.doctor import detections

    return detections.diagnose(args.predictions, args.data, args.dataset, args.split, args.limit)


def text(result: dict[str, Any]) -> str:
    """A diagnosis for people."""
    lines = [f"{result['images']} images examined; box AP {100 * result['box_ap']:.1f} as the file is."]
    if not result["explanations"]:
        lines.append("No known mistake explains a different number.")
    for number, one in enumerate(result["explanations"], 1):
        lines.append(f"{number}. {one['sentence']}{points_text(one['points'])}")
    if result["repaired_box_ap"] > result["box_ap"]:
        lines.append(f"Without what can be taken back: box AP {100 * result['repaired_box_ap']:.1f}.")
    return "\n".join([*lines, *(f"Note: {note}" for note in result["notices"])])


def points_text(points: float | None) -> str:
    """What a mistake costs."""
    return " (its price cannot be read from the file)" if points is None else f" ({points:+.1f} points without it)"
