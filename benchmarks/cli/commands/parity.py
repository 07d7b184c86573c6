"""`bench parity`: is this still the detector that the reference computed?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.speed import options
from zoo.errors import UsageError, ZooError
from zoo.system.device import usable_device

if TYPE_CHECKING:
    from benchmarks.results.record import Record


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="models or architectures")
    add("--family", help="all of one family, such as faster_rcnn")
    add("--all", action="store_true", help="every recorded architecture")
    add("--list", action="store_true", help="only show the architectures that have a recorded result")
    add("--trace", action="store_true", help="module by module: where does the first difference appear?")
    add("--device", default="cpu", help="cpu, cuda ... (%(default)s)")
    add("--results", metavar="FILE", help="also keep the records there")
    add("--json", action="store_true", help="print the records")
    options.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Compare each one, print, and exit with 1 if any differs or does not run."""
    names = choose(args)
    if args.list:
        print(json.dumps(names) if args.json else "\n".join(names))
        return 0
    from tqdm import tqdm

    from benchmarks.results.store import Store

    usable_device(args.device)
    chosen, records = options.from_args(args), []
    for name in tqdm(names, unit="network", disable=None):
        records.append(measure(name, args.device, chosen, args.trace))
        if args.results:
            Store(args.results).append(records[-1])
    show(records, args)
    equal = sum(record.ok and record.metrics["equal"] for record in records)
    print(f"{equal} of {len(records)} equal the reference", file=sys.stderr)
    return int(equal < len(records))


def choose(args: argparse.Namespace) -> list[str]:
    """The architectures that the command line asks for."""
    from benchmarks.parity import reference

    if args.all or (args.list and not args.names and not args.family):
        return reference.names()
    if args.family:
        return reference.of_family(args.family)
    if not args.names:
        raise UsageError("Name models, or say --family F or --all. `bench parity --list` shows what there is.")
    return [reference.read(name).name for name in args.names]


def measure(name: str, device: str, chosen: options.Options, trace: bool) -> Record:
    """The record of one architecture; a failed one if it does not build or run."""
    from benchmarks.parity import run as parity
    from benchmarks.results.record import unmeasured

    try:
        return parity.measure(name, device, chosen, trace)
    except (ZooError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        return unmeasured(name, "parity", error, protocol="recorded-reference")


def show(records: Sequence[Record], args: argparse.Namespace) -> None:
    """Records as JSON, or a table, and the traces below it."""
    if args.json:
        print(json.dumps([record.to_dict() for record in records], indent=1))
        return
    from benchmarks.reports.text_table import format_table

    print(format_table([row(record) for record in records]))
    if args.trace:
        for record in records:
            print_trace(record)


def row(record: Record) -> dict[str, object]:
    """One line of the table."""
    if not record.ok:
        return {"architecture": record.model, "verdict": f"{record.status}: {record.reason}"}
    m = record.metrics
    shares = {name: f"{m[name]:.1%}" for name in ("boxes", "masks", "panoptic", "trace") if name in m}
    gaps = {name: f"{m[name]:.2g}" for name in ("score_difference", "box_difference") if name in m}
    return {"architecture": record.model, "verdict": "equal" if m["equal"] else "DIFFERS", **shares, **gaps}


def print_trace(record: Record) -> None:
    """Each module's relative difference."""
    print(f"\n{record.model}")
    for gap in record.metrics.get("trace_gaps", []):
        value = "not called" if gap["relative"] is None else f"{gap['relative']:.1e}"
        print(f"  {gap['module']}[{gap['output']}]  {value}")
