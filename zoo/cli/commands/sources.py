"""`zoo sources`: which hosts should have a model's weights, under which names and licenses, and what was last seen."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from zoo.manifest import api
from zoo.manifest.formatting import plain, table

if TYPE_CHECKING:
    from zoo.download.sources import SourceFile, Sources


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="models or globs (default: all, one line each)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is known; asks no server (`zoo mirrors check` does)."""
    from zoo.cli.commands.fetch import expand
    from zoo.download.mirror_status import load_responses
    from zoo.download.sources import sources

    names = list(dict.fromkeys(result for name in args.names or ["*"] for result in expand(name, {})))
    responses = load_responses()
    result = [sources(api.get(name), responses) for name in names]
    if args.json:
        print(json.dumps([plain(each) for each in result], indent=1))
    elif len(result) == 1 or args.names:
        print("\n\n".join("\n".join(details(each)) for each in result))
    else:
        print("\n".join(table([row(each) for each in result])))
    return 0


def row(result: Sources) -> list[str]:
    """One model in one line: license of the weights, hosts, and at how many locations it was last seen."""
    offered = [source for file in files(result) for source in file.sources]
    served = sum(source.seen == "served" for source in offered)
    hosts = ", ".join(dict.fromkeys(source.host for source in offered)) or "no host known"
    return [result.model, result.licenses["weights"], f"served by {served}" if served else "", hosts]


def files(result: Sources) -> list[SourceFile]:
    """The published file and the others of the same weights."""
    return [*([result.published] if result.published else []), *result.alternates]


def details(result: Sources) -> list[str]:
    """Everything about one model."""
    from zoo.download.locations import substitute_text

    lines = [result.model]
    lines += [f"  license of the {what}: {text}" for what, text in result.licenses.items()]
    for file in files(result):
        kind = "published" if file is result.published else "same weights"
        lines.append(f"  {kind}: {file.path} ({file.format}, {file.hash or 'no hash known'})")
        rows = [[source.host, seen(source.seen, source.checked), source.url] for source in file.sources]
        lines += [f"    {line}" for line in table(rows)] if rows else ["    no host known"]
    if not files(result):
        lines.append("  no weights were ever published")
    lines += [f"  instead: {substitute_text(other)}" for other in result.substitutes]
    offered = [source for file in files(result) for source in file.sources]
    about = dict.fromkeys(f"  {source.host}: {source.note}" for source in offered if source.note)
    return [*lines, *about, *(f"  note: {text}" for text in result.notes)]


def seen(state: str, checked: str | None) -> str:
    """`served 2026-11-25`, or `unknown`."""
    return f"{state} {checked}" if checked and state != "unknown" else state
