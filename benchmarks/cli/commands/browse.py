"""`bench browse`: the ground truth of a dataset, drawn on its images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.accuracy.config import DEFAULT_DATASET
from zoo.cli.argument_types import positive


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="the dataset's folder, in COCO's layout")
    add("--out", type=Path, default=Path("browsed"), metavar="DIR", help="new or empty folder (%(default)s)")
    add("--dataset", default=DEFAULT_DATASET, metavar="NAME", help="layout of the folder (%(default)s)")
    add("--split", metavar="NAME", help="part of the dataset; by default the one that results are published for")
    add("--limit", type=positive, default=20, metavar="N", help="at most N images, the first ones (%(default)s)")
    add("--masks", action="store_true", help="draw masks too")


def run(args: argparse.Namespace) -> None:
    """Draw, and print the files."""
    from benchmarks.accuracy import browse

    dataset = browse.opened(args.data, args.dataset, args.split, args.masks, args.out)
    for path in browse.draw_all(dataset, args.out, args.limit, args.masks):
        print(path)
    print(f"bench: drawn into {args.out}", file=sys.stderr)
