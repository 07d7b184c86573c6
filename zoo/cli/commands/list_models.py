"""`zoo list`: models and everything else that the manifests name."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

from zoo.errors import UsageError
from zoo.manifest import api, query
from zoo.manifest.entry import Entry
from zoo.manifest.formatting import one_line, plain, table

_HELP = {
    "architectures": "networks that `zoo build` can build, with their models",
    "backbones": "weights that training started from",
    "datasets": "datasets with their classes",
    "families": "method families with their number of models",
    "logs": "published training logs",
    "mirrors": "hosts of published files, in the order in which they are tried",
    "normalizations": "normalizations of pixels, with mean and standard deviation",
    "recipes": "preprocessing recipes, from image to network input",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    text = "part of a name, such as yolox, or a glob, such as 'faster_rcnn_r50*'"
    parser.add_argument("pattern", nargs="?", default="*", metavar="NAME", help=text)
    parser.add_argument("--family", help="method family, such as retinanet; --families lists them")
    parser.add_argument("--task", help="task, such as 'instance segmentation'")
    parser.add_argument("--dataset", help="dataset, such as coco_2017; --datasets lists them")
    parser.add_argument("--origin", help="publisher of the weights, such as mmdetection or detectron2")
    parser.add_argument("--license", help="only models whose weights have this license, such as Apache-2.0")
    parser.add_argument("--source", metavar="HOST", help="only models available from this host; --mirrors lists them")
    parser.add_argument("--metric", help="only models with this published metric, such as mask_ap")
    parser.add_argument("--min", type=float, metavar="X", help="only models whose --metric is at least this")
    parser.add_argument(
        "--sort",
        metavar="KEY",
        help="sort by a metric such as box_ap (best first, one dataset after another), fps, or memory_gb",
    )
    parser.add_argument("--unpublished", action="store_true", help="include configurations without published weights")
    parser.add_argument("--json", action="store_true", help="print all fields as JSON")
    kinds = parser.add_mutually_exclusive_group()
    for kind, text in _HELP.items():
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=f"list {text}")


def run(args: argparse.Namespace) -> int:
    """Print names with their figures, or JSON. Exit status 1 if nothing matches."""
    pattern = contains(args.pattern)
    if args.kind is not None:
        rows = query.KINDS[args.kind](pattern)
        names = [next(iter(row.values())) for row in query.KINDS[args.kind]("*")]
        print_rows(rows, args.json, columns(rows))
        return report_empty(args.pattern, names) if not rows else 0
    check_names(args)
    where = {key: getattr(args, key) for key in ("family", "task", "dataset", "origin", "unpublished")}
    where |= {"license": args.license, "source": args.source}
    entries = query.models(pattern, metric=args.metric, minimum=args.min, sort=args.sort, **where)
    if args.sort not in (None, "fps", "memory_gb"):
        entries = by_dataset(entries)
    print_rows([plain(entry) for entry in entries] if args.json else [], args.json, entry_table(entries, args.sort))
    return report_empty(args.pattern, [*api.catalog().models, *api.catalog().aliases]) if not entries else 0


def contains(pattern: str) -> str:
    """The glob of a pattern: a word without wildcards matches every name that contains it."""
    return pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"


def by_dataset(entries: Sequence[Entry]) -> list[Entry]:
    """The same models, one dataset after another, that of most models first: their metrics are not comparable."""
    counts = Counter(entry.dataset for entry in entries)
    return sorted(entries, key=lambda entry: (-counts[entry.dataset], entry.dataset))


def report_empty(pattern: str, names: Sequence[str]) -> int:
    """Say that nothing matches, with the nearest names; the exit status."""
    near = "" if pattern == "*" else api.nearest(pattern.strip("*"), names)
    what = "no model matches these options." if pattern == "*" else f"nothing matches '{pattern}'.{near}"
    print(f"zoo: {what}", file=sys.stderr)
    return 1


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


def entry_table(entries: Sequence[Entry], sort: str | None = None) -> list[list[str]]:
    """A header, and per model its name, dataset, the figure it is sorted by, published metrics and first alias."""
    header = ["model", "dataset", *([sort] if sort else []), "published", "alias"]
    return [header, *(entry_text(entry, sort) for entry in entries)] if entries else []


def entry_text(entry: Entry, sort: str | None) -> list[str]:
    """One row of the table."""
    figures = "; ".join(one_line(values) for values in entry.metrics.values())
    value = query.figure(entry, sort) if sort else None
    key = [one_line(value)] if sort else []
    return [entry.name, entry.dataset, *key, figures, entry.aliases[0] if entry.aliases else ""]


def columns(rows: Sequence[query.Row]) -> list[list[str]]:
    """A header, and what each row says; long lists only as their length, files without their folder."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    return [header, *([_short(key, row.get(key)) for key in header] for row in rows)] if rows else []


def _short(key: str, value: Any) -> str:
    if isinstance(value, list) and len(one_line(value)) > 60:
        return f"{len(value)} {key}"
    return PurePath(value).name if key == "source" and str(value).endswith(".yaml") else one_line(value)


def print_rows(rows: list, as_json: bool, text: list[list[str]]) -> None:
    """JSON or an aligned table on stdout; on a terminal, lines are cut at its width."""
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table(text) if text else ():
        print(line if width is None or len(line) <= width else line[: width - 1] + "…")
