"""Compares the losses of a first training step with another implementation's, network by network.

    python -m benchmarks.perf.first_losses [NAME ...] [--against mmdet] --python mmdet=PATH [--out FILE.csv] [--json]

Both sides have the same weights and the same batch of two generated images, and leave nothing to chance (see `bench
compare --training`). Without names, one network of each family and kind is taken. `difference` is the largest of a
loss, relative where it is above 1; `result` is `equal` up to 1e-3, `differs`, or `not compared`, with the reason. Exit
status 1 if a network differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.reports.text_table import format_table
from benchmarks.speed import inference
from benchmarks.speed.compare_training import OURS, TrainingComparison, check_supervision, difference, gather, verdict
from benchmarks.speed.peers import training_batch
from zoo.cli.argument_types import key_value
from zoo.errors import UsageError, ZooError
from zoo.manifest import api
from zoo.system.atomic_write import atomic_write

ORIGINS = {"mmdet": "mmdetection", "detectron2": "detectron2", "torchvision": "torchvision"}
FIELDS = ("architecture", "against", "result", "difference", "losses", "reason")
PATIENCE = 240.0  # seconds for one answer: taking all regions of a cascade is slow
Row = dict[str, Any]


def rows(names: Sequence[str], peer: str, pythons: dict[str, str], size: int, threads: int) -> Iterator[Row]:
    """One row per network."""
    for name in names:
        row: Row = dict.fromkeys(FIELDS) | {"architecture": name, "against": peer}
        request = partial(TrainingComparison, name, [peer], pythons, threads=threads, patience=PATIENCE)
        try:
            yield row | compared(request(shorter=fitting(name, size)))
        except (ZooError, RuntimeError, ValueError) as error:
            yield row | {"result": "not compared", "reason": f"ours: {' '.join(str(error).split())[:200]}"}


def fitting(name: str, size: int) -> int | None:
    """The size, or None, the published one, for a network that cannot take it."""
    try:
        training_batch.check_size(api.preprocessing(name), size)
    except UsageError:
        return None
    return size


def compared(request: TrainingComparison) -> Row:
    """What the first losses of a network and its peer's say."""
    check_supervision(request.name)
    (peer,) = request.against
    with ExitStack() as stack:
        stack.enter_context(inference.thread_count(request.threads))
        sides, unavailable = gather(request, stack)
    if peer in unavailable:
        return {"result": "not compared", "reason": unavailable[peer][:200]}
    ours, theirs = sides[OURS].losses, sides[peer].losses
    remark = verdict(ours, theirs)
    gap = difference(ours, theirs)
    said = {"losses": len(ours), "difference": None if gap is None else float(f"{gap:.1e}")}
    return {"result": "differs" if remark else "equal", "reason": remark, **said}


def one_of_each_kind(origin: str) -> list[str]:
    """Of each family, detector and heads in it, the network with the shortest name, those with R-50 before others."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name in api.architecture_names():
        entry = api.representative(name)
        if entry.origin == origin:
            kinds.setdefault((entry.family, *types(api.architecture(name))), []).append(name)
    return sorted(min(names, key=lambda name: ("r50" not in name.lower(), len(name), name)) for names in kinds.values())


def types(description: dict[str, Any]) -> Iterator[str]:
    """The types of a detector and of its heads."""
    yield str(description["type"])
    for key in ("rpn_head", "bbox_head", "mask_head", "panoptic_head", "roi_head"):
        part = description.get(key)
        yield str(part.get("type")) if isinstance(part, dict) else ""


def main() -> int:
    """Compare, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="architectures; without any, one of each kind")
    parser.add_argument("--against", choices=ORIGINS, default="mmdet", help="implementation (%(default)s)")
    parser.add_argument("--python", metavar="PEER=PATH", action="append", default=[], help="Python that has it")
    parser.add_argument("--size", type=int, default=192, help="pixels of the shorter side (%(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="CSV file")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        pythons = dict(key_value(word, "--python") for word in args.python)
    except UsageError as error:
        parser.error(str(error))
    table: list[Row] = []
    names = args.names or one_of_each_kind(ORIGINS[args.against])
    for row in rows(names, args.against, pythons, args.size, args.threads):
        print(f"{row['architecture']}: {row['result']} {row['reason'] or ''}", file=sys.stderr, flush=True)
        table.append(row)
        if args.out is not None:
            write(args.out, table)
    print(json.dumps(table, indent=1) if args.json else format_table(table))
    return int(any(row["result"] == "differs" for row in table))


def write(path: Path, table: Sequence[Row]) -> None:
    """The rows as CSV; a run that is stopped leaves those it has."""
    text = StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    atomic_write(path, text.getvalue())


if __name__ == "__main__":
    sys.exit(main())
