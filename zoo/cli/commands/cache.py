"""`zoo cache`: what is in the local cache, whether it is intact, and removing what is not needed."""

from __future__ import annotations

import argparse
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError
from zoo.settings import cache_dir

if TYPE_CHECKING:
    from zoo.download.cache import Cached
    from zoo.download.recognize import Found


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser
    texts = {
        "list": "List the files in the cache, with size and state.",
        "verify": "Hash every file again and compare it with the published and recorded hashes.",
        "prune": "Delete partial downloads and fast copies, or the files matching GLOB.",
        "path": "Print the cache folder, or the path of one model's file in it.",
    }
    for name, text in texts.items():
        action = add(name, help=text, description=text)
        action.add_argument("--json", action="store_true", help="print JSON")
        if name == "path":
            action.add_argument("name", nargs="?", metavar="NAME", help="a model")
        else:
            action.add_argument("pattern", nargs="?", metavar="GLOB", help="glob of paths or file names in the cache")
        if name == "prune":
            action.add_argument("--all", action="store_true", help="delete everything but the lock file")
            action.add_argument("--dry-run", action="store_true", help="list what would be deleted")
    text = "Recognize published files by content, regardless of their names, and link them into the cache."
    action = add("add", help=text, description=text)
    action.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders or files")
    action.add_argument("--copy", action="store_true", help="copy instead of linking")
    action.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do one of the subcommands."""
    return {"list": show, "verify": verify, "prune": prune, "path": path, "add": add}[args.action](args)


def matching(pattern: str | None) -> list[Cached]:
    """The cached files that a glob matches, by path or name; all without one."""
    from zoo.download import cache

    files = list(cache.files())
    if pattern is None:
        return files
    return [file for file in files if fnmatchcase(file.name, pattern) or fnmatchcase(file.path.name, pattern)]


def row(file: Cached) -> dict[str, object]:
    """One file of a JSON list."""
    return {"file": file.name, "path": str(file.path), "size": file.size, "state": file.state, "sha256": file.sha256}


def show(args: argparse.Namespace) -> int:
    """`zoo cache list`."""
    from zoo.download import cache

    files = matching(args.pattern)
    if args.json:
        print(json.dumps([row(file) for file in files], indent=1))
        return 0
    for file in files:
        print(f"{file.state:10}  {file.size / 2**20:9.1f} MiB  {file.name}")
    copies = sum(path.stat().st_size for path in cache.derived())
    total = f"{len(files)} files, {sum(file.size for file in files) / 2**20:,.1f} MiB in {cache_dir()}"
    print(f"{total}, and {copies / 2**20:,.1f} MiB of fast copies", file=sys.stderr)
    return 0


def verify(args: argparse.Namespace) -> int:
    """`zoo cache verify`; status 1 if a file is not what it should be."""
    from zoo.download.audit import audit

    results = [audit(file) for file in matching(args.pattern) if file.state != "part"]
    if args.json:
        rows = [{**row(result.file), "state": result.problem or "ok"} for result in results]
        print(json.dumps(rows, indent=1))
    else:
        for result in results:
            print(f"{'ok' if result.problem is None else 'BAD'}  {result.file.name}  {result.problem or ''}".rstrip())
    return int(any(result.problem for result in results))


def prune(args: argparse.Namespace) -> int:
    """`zoo cache prune`."""
    from zoo.download import cache

    chosen = matching(args.pattern) if args.pattern or args.all else [f for f in matching(None) if f.state == "part"]
    paths = [file.path for file in chosen] + ([] if args.pattern else cache.derived())
    freed = 0
    for target in paths:
        freed += target.stat().st_size if args.dry_run else cache.remove(target)
    facts = {"deleted": [str(target) for target in paths], "bytes": freed, "dry_run": args.dry_run}
    print(json.dumps(facts, indent=1) if args.json else "\n".join(facts["deleted"]) or "nothing to delete")
    print(f"{'would free' if args.dry_run else 'freed'} {freed / 2**20:,.1f} MiB", file=sys.stderr)
    return 0


def add(args: argparse.Namespace) -> int:
    """`zoo cache add`; status 1 if a file could not be read."""
    from tqdm import tqdm

    from zoo.download import folders, recognize

    missing = [path for path in args.paths if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]} does not exist.")
    known, results = recognize.published(), []
    for file in tqdm(folders.bounded(args.paths), unit="file", leave=False, disable=None):
        results.append(recognize.add(file, known, copy=args.copy))
        if not args.json:
            tell(results[-1])
    if args.json:
        print(json.dumps([found_row(result) for result in results], indent=1))
    counts = {
        state: sum(result.state == state for result in results) for state in ("added", "present", "unknown", "failed")
    }
    print(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no files", file=sys.stderr)
    return int(bool(counts["failed"]))


def tell(result: Found) -> None:
    """One line: a recognized file on stdout with its path in the cache; others on stderr."""
    from zoo.checkpoint.describe_file import one_line

    if result.state in ("added", "present"):
        for cached in result.cached:
            print(f"{result.state:8}  {result.path}  {cached}", flush=True)
    elif result.state == "failed":
        print(f"zoo: {result.path}: {result.problem}", file=sys.stderr)
    else:
        print(f"unknown   {result.path}: {one_line(result.path)}", file=sys.stderr)


def found_row(result: Found) -> dict[str, object]:
    """One file of the JSON list."""
    from zoo.checkpoint.describe_file import one_line

    cached: object = [str(cached) for cached in result.cached]
    row = {"path": str(result.path), "state": result.state, "cached": cached}
    if result.state == "unknown":
        return {**row, "description": one_line(result.path)}
    return {**row, "problem": result.problem} if result.problem else row


def path(args: argparse.Namespace) -> int:
    """`zoo cache path`; status 1 if the model's file is not in the cache."""
    target = cache_dir()
    if args.name:
        from zoo.download.cache import location
        from zoo.download.locations import model_file
        from zoo.manifest import api

        target = location(model_file(api.get(args.name)))
    if args.json:
        print(json.dumps({"path": str(target), "exists": target.exists()}))
    elif args.name and not target.exists():
        print(f"zoo: {args.name} is not in the cache; `zoo fetch {args.name}` downloads it.", file=sys.stderr)
    else:
        print(target)
    return int(bool(args.name) and not target.exists())
