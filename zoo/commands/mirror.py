"""`zoo mirror DIR`: a folder of verified files in the published layout, with an index, for any static server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.commands import fetch

if TYPE_CHECKING:
    from zoo.files.remote import RemoteFile


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; without a choice of models, all are mirrored."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the mirror; made or continued")
    fetch.configure(parser)
    parser.add_argument("--verify", action="store_true", help="only hash the files that are there and compare")


def run(args: argparse.Namespace) -> int:
    """Fetch what is missing and copy it; status 1 if something failed."""
    from zoo.files import batch

    if args.verify:
        return verify(args.folder, args.json)
    if not (args.names or args.family or args.task or args.dataset):
        args.all = True
    _, remotes = fetch.wanted(args)
    if args.dry_run:
        return fetch.show_plan(batch.plan(remotes), args.json)
    rows = []
    for remote in batch.unique(remotes):
        rows.append(mirrored(args, remote))
        if not args.json:
            print(f"{rows[-1]['status']:8}  {remote.path}", flush=True)
        if rows[-1]["status"] == "failed":
            print(f"zoo: {rows[-1]['error']}", file=sys.stderr)
    if args.json:
        print(json.dumps(rows, indent=1))
    return int(any(item["status"] == "failed" for item in rows))


def mirrored(args: argparse.Namespace, remote: RemoteFile) -> dict[str, object]:
    """Bring one file into the mirror, by way of the cache."""
    from zoo.files import batch, mirror

    if mirror.present(args.folder, remote):
        return {"file": remote.path, "status": "present", "error": None}
    outcome = batch.obtain_all([remote], mirrors=args.mirror, progress=fetch.bars())[0]
    if outcome.path is not None:
        mirror.add(args.folder, remote, outcome.path)
    return {"file": remote.path, "status": "failed" if outcome.error else "added", "error": outcome.error}


def verify(folder: Path, as_json: bool) -> int:
    """Compare every file with the index."""
    from zoo.files import mirror

    wrong = mirror.verify(folder)
    if as_json:
        print(json.dumps(wrong, indent=1))
    else:
        print(*(f"{path} {problem}" for path, problem in wrong.items()), sep="\n", end="\n" if wrong else "")
    print(f"{len(wrong)} files are not as {folder / mirror.INDEX} tells", file=sys.stderr)
    return int(bool(wrong))
