"""`bench check`: fail when accuracy, size or speed has become worse than a baseline."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.results import baseline
    from benchmarks.results.record import Record

NOT_LATER = (
    "bench: no record is later than the baseline: it was compared with its own records. Measure again, then check."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("baseline", metavar="BASELINE", help="a file written by `bench baseline`")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--since", metavar="TIME", help="only records from this ISO time on, so that old ones cannot stand in")
    add("--junit", metavar="FILE", help="write JUnit XML")
    add("--summary", metavar="FILE", help="append Markdown (default: $GITHUB_STEP_SUMMARY, where set)")
    add("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and exit with 1 if anything failed."""
    from benchmarks.reports import findings as output
    from benchmarks.reports import markdown
    from benchmarks.results import baseline, regression
    from benchmarks.results.store import Store

    expected = baseline.read(Path(args.baseline))
    conditions = {"since": args.since} if args.since else {}
    records = list(Store(args.results).stream(**conditions))
    result = regression.check(expected, records)
    if args.junit:
        markdown.write(output.junit(result), Path(args.junit))
    summary = args.summary or os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with open(summary, "a", encoding="utf-8") as file:
            file.write(output.summary(result))
    print(json.dumps(output.as_json(result), indent=1) if args.json else output.table(result))
    print(f"bench: {output.verdict(result)}", file=sys.stderr)
    if expected.newest and records and not any(is_later(record, expected) for record in records):
        print(NOT_LATER, file=sys.stderr)
    return int(any(f.fails for f in result))


def is_later(record: Record, expected: baseline.Baseline) -> bool:
    """Whether a record is newer than a baseline, and of a kind that the baseline has; logs, for example, are not."""
    return record.time > expected.newest and record.kind in {entry.kind for entry in expected.entries}
