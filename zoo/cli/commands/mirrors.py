"""`zoo mirrors`: the hosts of published files, and which files each still serves."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from zoo.manifest import api

if TYPE_CHECKING:
    from zoo.download.mirror_status import Response
    from zoo.download.remote_file import RemoteFile


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    from zoo.cli.commands.fetch import add_mirror_option

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="List mirrors in the order in which they are tried.")
    check = actions.add_parser("check", help="Send HEAD requests for every file; show which mirror serves what.")
    for action in (listed, check):
        action.add_argument("--json", action="store_true", help="print JSON")
        add_mirror_option(action)
    check.add_argument("names", nargs="*", metavar="NAME", help="models or globs (default: all)")
    check.add_argument("--rate", type=float, default=5.0, help="requests per second and host (default 5)")
    check.add_argument(
        "--max-age", type=float, default=24.0, metavar="HOURS", help="reuse younger responses (default 24)"
    )
    check.add_argument("--missing", action="store_true", help="list the files that no mirror serves")


def run(args: argparse.Namespace) -> int:
    """Do one of the subcommands."""
    return {"list": show, "check": check}[args.action](args)


def show(args: argparse.Namespace) -> int:
    """`zoo mirrors list`."""
    from zoo.download.remote_file import user_mirrors

    rows = [{"name": "yours", "url": url} for url in user_mirrors(args.mirror)]
    rows += [{"name": mirror.name, "url": mirror.url} for mirror in api.mirrors()]
    print(json.dumps(rows, indent=1) if args.json else "\n".join(f"{row['name']:10}  {row['url']}" for row in rows))
    return 0


def check(args: argparse.Namespace) -> int:
    """`zoo mirrors check`; status 1 if no mirror serves some file."""
    from zoo.download.mirror_status import check_mirrors
    from zoo.download.remote_file import candidates

    remotes = files(args.names)
    asked = {remote.path: candidates(remote, args.mirror) for remote in remotes}
    responses = check_mirrors(
        (url for urls in asked.values() for url in urls),
        rate=args.rate,
        max_age=args.max_age * 3600,
        progress=bar(),
    )
    rows = [file_row(path, [(mirror, responses[url]) for url, mirror in urls.items()]) for path, urls in asked.items()]
    lost = [row["file"] for row in rows if not row["served"]]
    if args.json:
        print(json.dumps({"mirrors": summary(rows), "files": rows, "lost": lost}, indent=1))
    else:
        print_table(summary(rows), lost if args.missing else [])
        print(f"{len(lost)} of {len(rows)} files are served by no mirror", file=sys.stderr)
    return int(bool(lost))


def files(names: list[str]) -> list[RemoteFile]:
    """The checkpoints of models and their alternates, each once. Raises UnknownModel."""
    from zoo.cli.commands.fetch import collect, expand, weights
    from zoo.download.batch import unique

    chosen = [result for name in names or ["*"] for result in expand(name, {})]
    return unique(file for remote in collect(chosen, weights) for file in (remote, *remote.alternates))


def bar() -> Any:
    """A progress bar on a terminal."""
    from tqdm import tqdm

    shown = tqdm(unit="file", leave=False, disable=None)

    def update(done: int, total: int) -> None:
        shown.total = total
        shown.update(done - shown.n)

    return update


def file_row(path: str, responses: list[tuple[str, Response]]) -> dict[str, Any]:
    """One file: who has it, and what the others said; a mirror may have been asked for several paths."""
    said: dict[str, Response] = {}
    for mirror, response in responses:
        if mirror not in said or response.served:
            said[mirror] = response
    served = [response for response in said.values() if response.served]
    return {
        "file": path,
        "served": bool(served),
        "size": next((response.size for response in served if response.size), None),
        "mirrors": {mirror: {"status": a.status, "url": a.url, "checked": a.checked} for mirror, a in said.items()},
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Mirror -> status -> number of files."""
    result: dict[str, Counter[str]] = {}
    for row in rows:
        for mirror, response in row["mirrors"].items():
            result.setdefault(mirror, Counter())[response["status"]] += 1
    return {mirror: dict(counts) for mirror, counts in result.items()}


def print_table(hosts: dict[str, dict[str, int]], lost: list[str]) -> None:
    """One line per host: files served, missing, and the other responses."""
    from tabulate import tabulate

    rows = []
    for name, counts in hosts.items():
        others = "; ".join(
            f"{count} {status}" for status, count in counts.items() if status not in ("served", "missing")
        )
        rows.append([name, counts.get("served", 0), counts.get("missing", 0), others])
    print(tabulate(rows, ["mirror", "served", "missing", "other responses"], tablefmt="simple"))
    print(*lost, sep="\n", end="\n" if lost else "")
