"""`zoo mirror DIR`: a folder of verified files in the published layout, with an index, for any static server."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.commands import fetch
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.download.batch import Outcome
    from zoo.download.remote_file import RemoteFile


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options; without a choice of models, all are mirrored."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the mirror; created if missing")
    fetch.configure(parser)
    parser.add_argument("--verify", action="store_true", help="only verify the hashes of existing files")


def run(args: argparse.Namespace) -> int:
    """Fetch what is missing and copy it; status 1 if something failed."""
    from zoo.download import batch, mirror
    from zoo.download.progress import bar

    if args.verify:
        return verify(args.folder, args.json)
    if not (args.names or args.family or args.task or args.dataset):
        args.all = True
    _, remotes = fetch.wanted(args)
    present = {remote.path for remote in remotes if mirror.present(args.folder, remote)}
    missing = [remote for remote in batch.unique(remotes) if remote.path not in present]
    if args.dry_run:
        return fetch.show_plan(batch.plan(missing), args.json)
    rows = [row(remote, "present") for remote in batch.unique(remotes) if remote.path in present]
    for line in rows:
        tell(line, args.json)

    def add(outcome: Outcome) -> None:
        rows.append(copy(args.folder, outcome))
        tell(rows[-1], args.json)

    batch.obtain_all(missing, jobs=args.jobs, mirrors=args.mirror, progress=bar, done=add)
    if len(missing) > 1:
        fetch.report_silent_hosts()
    if args.json:
        print(json.dumps(rows, indent=1))
    return int(any(item["status"] == "failed" for item in rows))


def copy(folder: Path, outcome: Outcome) -> dict[str, Any]:
    """Add a fetched file to the mirror; returns the row of the result."""
    from zoo.download import mirror

    error = outcome.error
    if outcome.path is not None:
        try:
            mirror.add(folder, outcome.remote.at(outcome.path), outcome.path)
        except ZooError as problem:
            error = str(problem)
    return row(outcome.remote, "failed" if error else "added", error)


def row(remote: RemoteFile, status: str, error: str | None = None) -> dict[str, Any]:
    """One file of the result. status: `present`, `added` or `failed`."""
    return {"file": remote.path, "status": status, "error": error}


def tell(line: dict[str, Any], quiet: bool) -> None:
    """One line on stdout, unless `quiet`; the reason of a failure on stderr."""
    if not quiet:
        print(f"{line['status']:8}  {line['file']}", flush=True)
    if line["error"]:
        print(f"zoo: {line['error']}", file=sys.stderr)


def verify(folder: Path, as_json: bool) -> int:
    """Compare every file with the index."""
    from zoo.download import mirror

    wrong = mirror.verify(folder)
    if as_json:
        print(json.dumps(wrong, indent=1))
    else:
        print(*(f"{path} {problem}" for path, problem in wrong.items()), sep="\n", end="\n" if wrong else "")
    print(f"{len(wrong)} files are not as {folder / mirror.INDEX} tells", file=sys.stderr)
    return int(bool(wrong))
