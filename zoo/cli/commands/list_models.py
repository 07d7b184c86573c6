"""`zoo list`: models and everything else that the manifests name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from zoo.errors import UsageError
from zoo.manifest import api, query
from zoo.manifest.entry import Entry
from zoo.manifest.formatting import one_line, plain, table

_HELP = {
    "architectures": "networks that `zoo build` can make, with the models that have them",
    "backbones": "weights that training started from",
    "datasets": "datasets with their classes",
    "families": "method families with their number of models",
    "logs": "published training logs",
    "mirrors": "hosts of published files, in order",
    "normalizations": "what is subtracted from and divided out of pixels",
    "recipes": "how images become network inputs",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pattern", nargs="?", default="*", metavar="GLOB", help="such as 'faster_rcnn_r50*'")
    parser.add_argument("--family", help="method family, such as retinanet; --families lists them")
    parser.add_argument("--task", help="such as 'instance segmentation'")
    parser.add_argument("--dataset", help="such as coco_2017; --datasets lists them")
    parser.add_argument("--origin", help="whose weights: mmdetection or detectron2")
    parser.add_argument("--license", help="only models whose weights have this license, such as Apache-2.0")
    parser.add_argument("--source", metavar="HOST", help="only models that this host should have; --mirrors lists them")
    parser.add_argument("--metric", help="only models with this published figure, such as mask_ap")
    parser.add_argument("--min", type=float, metavar="X", help="only models whose --metric is at least this")
    parser.add_argument("--sort", metavar="KEY", help="best first: a metric such as box_ap, fps, or memory_gb")
    parser.add_argument("--unpublished", action="store_true", help="also configurations without published weights")
    parser.add_argument("--json", action="store_true", help="everything that is known, as JSON")
    kinds = parser.add_mutually_exclusive_group()
    for kind, text in _HELP.items():
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=f"list {text} instead")


def run(args: argparse.Namespace) -> int:
    """Print names with their figures, or JSON."""
    if args.kind is not None:
        rows = query.KINDS[args.kind](args.pattern)
        print_rows(rows, args.json, list(map(row_text, rows)))
        return 0
    check_names(args)
    where = {key: getattr(args, key) for key in ("family", "task", "dataset", "origin", "unpublished")}
    where |= {"license": args.license, "source": args.source}
    entries = query.models(args.pattern, metric=args.metric, minimum=args.min, sort=args.sort, **where)
    print_rows([plain(entry) for entry in entries] if args.json else [], args.json, list(map(entry_text, entries)))
    return 0


def check_names(args: argparse.Namespace) -> None:
    """A family, task, dataset, origin, license or source that no model has is a mistake, not an empty list."""
    for key in ("family", "task", "dataset", "origin", "license", "source"):
        given = getattr(args, key)
        if given is not None and api.normal(key, given) not in {name.lower() for name in known(key)}:
            raise UsageError(f"no model has the {key} '{given}'; there are {_some(known(key))}.")


def known(key: str) -> set[str]:
    """What the models have of one kind, whoever published them."""
    entries = map(api.get, api.catalog().models)
    if key == "task":
        return {task for entry in entries for task in entry.tasks}
    if key == "source":
        return query.sources()
    return {getattr(entry, key) or "unknown" for entry in entries}


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def entry_text(entry: Entry) -> list[str]:
    """Name, first alias, dataset and published metrics."""
    figures = "; ".join(one_line(values) for values in entry.metrics.values())
    return [entry.name, entry.aliases[0] if entry.aliases else "", entry.dataset, figures]


def row_text(row: query.Row) -> list[str]:
    """The name and what else a row says; long lists only as their length, files without their folder."""
    return [_short(key, value) for key, value in row.items()]


def _short(key: str, value: Any) -> str:
    if isinstance(value, list) and len(one_line(value)) > 60:
        return f"{len(value)} {key}"
    return PurePath(value).name if key == "source" and value.endswith(".yaml") else one_line(value)


def print_rows(rows: list, as_json: bool, text: list[list[str]]) -> None:
    """JSON or an aligned table on stdout; a word on stderr when there is nothing."""
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    if not text:
        print("nothing matches", file=sys.stderr)
        return
    print("\n".join(table(text)))
