"""`zoo lock`: write the full SHA-256 of verified files into a lock file that a team commits."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from zoo.download.digest import Digest
from zoo.errors import UsageError
from zoo.manifest import api


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to fetch and lock (default: all in the cache)")
    parser.add_argument(
        "--from-hub",
        action="store_true",
        help="use the hashes published on Hugging Face for NAMEs (default: all); download nothing",
    )
    parser.add_argument("--file", type=Path, default=Path("zoo.lock"), help="lock file (default ./zoo.lock)")
    parser.add_argument("--check", action="store_true", help="compare only; exit with 1 if the file would change")
    parser.add_argument("--json", action="store_true", help="print the lock file's content")


def run(args: argparse.Namespace) -> int:
    """Add to the lock file; entries that are there stay as they are."""
    from zoo.download import lock

    before = lock.read(args.file)
    after = {**(from_hub(args.names) if args.from_hub else verified(args.names)), **before}
    if args.json:
        print(json.dumps({path: {"sha256": d.sha256, "size": d.size} for path, d in after.items()}, indent=1))
    new = sorted(after.keys() - before.keys())
    if args.check:
        print(f"{args.file} lacks {len(new)} files" if new else f"{args.file} is complete", file=sys.stderr)
        return int(bool(new))
    lock.write(args.file, after)
    print(f"{args.file} locks {len(after)} files, {len(new)} of them new", file=sys.stderr)
    return 0


def verified(names: list[str]) -> dict[str, Digest]:
    """Path -> digest of the models' files, or of everything verified in the cache. Raises UsageError for none."""
    from zoo.download import cache
    from zoo.download.fetch import fetch

    if names:
        paths = {Path(fetch(name)) for name in names if api.get(name)}
        files = [cache.describe(path) for path in sorted(paths) if cache.verified_path(path) is not None]
    else:
        files = [file for file in cache.files() if file.state == "verified"]
    if not files:
        raise UsageError("there is no verified file in the cache to lock; name models to fetch them first.")
    return {file.name: Digest(str(file.sha256), file.size) for file in files}


def from_hub(names: list[str]) -> dict[str, Digest]:
    """Path -> digest of the files that the Hub has; what does not fit is told on stderr. Raises UsageError for none."""
    from zoo.cli.commands.fetch import collect, weights
    from zoo.download.hub_hashes import published

    known = api.catalog()
    remotes = collect(names or [*known.models, *known.backbones], weights, names)
    result, problems = published(every for remote in remotes for every in (remote, *remote.alternates))
    for path, reason in problems.items():
        print(f"zoo: {path}: the Hub {reason}", file=sys.stderr)
    if not result:
        raise UsageError("the Hub states the hash of none of these files.")
    return result
