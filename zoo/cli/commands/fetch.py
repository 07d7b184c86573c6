"""`zoo fetch`: download checkpoints, training logs or backbones into the cache, verified."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Container
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.cli.argument_types import positive
from zoo.download import locations
from zoo.errors import UsageError, ZooError
from zoo.manifest import api
from zoo.settings import download_policy

if TYPE_CHECKING:
    from zoo.download.batch import Outcome, Plan
    from zoo.download.remote_file import RemoteFile


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="model, alias, glob such as 'retinanet_*', or backbone"
    )
    parser.add_argument("--all", action="store_true", help="fetch every model")
    parser.add_argument("--family", help="only models of this family")
    parser.add_argument("--task", help="only models for this task, such as 'instance segmentation'")
    parser.add_argument("--dataset", help="only models of this dataset")
    parser.add_argument("--backbone", action="store_true", help="treat NAMEs as backbones, or globs of backbones")
    parser.add_argument("--logs", "--log", action="store_true", help="fetch training logs instead of checkpoints")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="parallel downloads (default 1)")
    parser.add_argument("--dry-run", action="store_true", help="list downloads without contacting a server")
    parser.add_argument("--offline", action="store_true", help="never open a connection, as with ZOO_OFFLINE=1")
    parser.add_argument(
        "--require-full-hash",
        action="store_true",
        help="reject files whose full hash is not known, as with ZOO_REQUIRE_FULL_HASH=1",
    )
    add_mirror_option(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of paths")


def add_mirror_option(parser: argparse.ArgumentParser) -> None:
    """The option that names the user's own mirrors."""
    parser.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="mirror or folder to try first (may be repeated; ZOO_MIRRORS sets a default)",
    )


def run(args: argparse.Namespace) -> int:
    """Fetch, print the local paths, and say on stderr what failed."""
    from zoo.download import batch
    from zoo.download.progress import bar

    names, remotes = wanted(args)
    if args.dry_run:
        return show_plan(batch.plan(remotes), args.json)
    outcomes = batch.obtain_all(
        remotes,
        jobs=args.jobs,
        mirrors=args.mirror,
        progress=bar,
        done=partial(report, quiet=args.json),
        policy=download_policy(args.offline, args.require_full_hash),
    )
    own = [path for name in names if (path := own_file(name, args)) is not None]
    if args.json:
        print(json.dumps([outcome_row(outcome) for outcome in outcomes] + [{"path": str(p)} for p in own], indent=1))
    else:
        print(*own, sep="\n", end="\n" if own else "")
    if len(outcomes) > 1:
        report_silent_hosts()
    return int(any(outcome.error for outcome in outcomes))


def report_silent_hosts() -> None:
    """Which hosts were given up, once for all files."""
    from zoo.download.fetch_file import silent_hosts

    if sentence := silent_hosts():
        print(f"zoo: {sentence}", file=sys.stderr)


def wanted(args: argparse.Namespace) -> tuple[list[str], list[RemoteFile]]:
    """The names that the options choose, and their files. Raises UnknownModel, UsageError, FetchError."""
    names = chosen(args)
    if args.backbone:
        return names, collect(names, locations.backbone_file, args.names)
    given = {result for name in args.names if not is_glob(name) for result in expand(name, {})}
    if args.logs:
        return names, collect(names, log, given)
    fetched = [name for name in names if locations.is_backbone(name) or not is_own(name)]
    return names, collect(fetched, weights, given)


def log(name: str) -> RemoteFile:
    """The training log of a model. Raises UnknownModel, FetchError."""
    return locations.log_file(api.get(name))


def weights(name: str) -> RemoteFile:
    """The weights of a model or backbone. Raises UnknownModel, FetchError."""
    backbone = locations.is_backbone(name)
    return locations.backbone_file(name) if backbone else locations.model_file(api.get(name))


def chosen(args: argparse.Namespace) -> list[str]:
    """Names of models or backbones. Raises UnknownModel, UsageError."""
    conditions = {key: value for key in ("family", "task", "dataset") if (value := getattr(args, key)) is not None}
    if not args.names and not args.all and not conditions:
        raise UsageError("name a model, or use --all, --family, --task or --dataset.")
    if args.backbone:
        from fnmatch import filter as matching

        keys = list(api.catalog().backbones)
        return keys if args.all else [key for name in args.names for key in matching(keys, name) or [name]]
    names = [result for pattern in args.names or ["*"] for result in expand(pattern, conditions)]
    if not names:
        wishes = [*map(repr, args.names), *(f"{key} {value!r}" for key, value in conditions.items())]
        raise UsageError(f"no model matches {', '.join(wishes)}.")
    return list(dict.fromkeys(names))


def expand(pattern: str, conditions: dict[str, str]) -> list[str]:
    """The models of a name, alias or glob. Raises UnknownModel."""
    if locations.is_backbone(pattern):
        return [pattern]
    if not is_glob(pattern):
        return [api.get(pattern).name]
    return api.list_models(pattern, **conditions)  # type: ignore[arg-type]


def is_glob(pattern: str) -> bool:
    """Whether a pattern may mean several models."""
    return any(sign in pattern for sign in "*?[")


def collect(names: list[str], locate: Callable[[str], RemoteFile], given: Container[str] = ()) -> list[RemoteFile]:
    """The files of models; those chosen by a condition or a glob may lack one. Raises FetchError for one of `given`."""
    files = []
    for name in names:
        try:
            files.append(locate(name))
        except ZooError:
            if name in given or len(names) == 1:
                raise
    if len(files) < len(names):
        print(f"{len(names) - len(files)} of {len(names)} were never published, and are left out", file=sys.stderr)
    return files


def is_own(name: str) -> bool:
    """Whether a model is a local file of the user's own."""
    checkpoint = api.get(name).checkpoint
    return checkpoint is not None and checkpoint.own_file is not None


def own_file(name: str, args: argparse.Namespace) -> str | None:
    """The local file of such a model. Raises FetchError when it is missing."""
    from zoo.download.fetch import local_file

    if args.backbone or args.logs or locations.is_backbone(name):
        return None
    path = local_file(api.get(name))
    return None if path is None else str(path)


def report(outcome: Outcome, quiet: bool) -> None:
    """The path on stdout, unless `quiet`, or the reason on stderr, as soon as a file is done."""
    if outcome.error:
        print(f"zoo: {outcome.error}", file=sys.stderr)
    elif not quiet:
        print(outcome.path, flush=True)


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """One file of the JSON list."""
    from zoo.download.cache import known_digest

    if outcome.path is None:
        return {"file": outcome.remote.path, "status": "failed", "error": outcome.error}
    digest = known_digest(outcome.path)
    remote = outcome.remote.at(outcome.path)
    facts = {"sha256": digest.sha256, "size": digest.size} if digest else {}
    return {"file": remote.path, "status": "ok", "path": str(outcome.path), **facts}


def show_plan(plans: list[Plan], as_json: bool) -> int:
    """What would be downloaded, and how much of it is known."""
    if as_json:
        rows = [
            {"file": p.remote.path, "path": str(p.path), "cached": p.cached, "size": p.size, "urls": p.remote.urls}
            for p in plans
        ]
        print(json.dumps(rows, indent=1))
        return 0
    for item in plans:
        state = "cached" if item.cached else "fetch "
        print(f"{state}  {size_text(item.size):>10}  {item.remote.path}")
    missing = [item for item in plans if not item.cached]
    known = [item.size for item in missing if item.size is not None]
    total = f"{size_text(sum(known))} for the {len(known)} whose size is known" if known else "no size is known"
    print(f"{len(missing)} of {len(plans)} files to download, {total}", file=sys.stderr)
    return 0


def size_text(size: int | None) -> str:
    """Bytes in MiB."""
    return "?" if size is None else f"{size / 2**20:.1f} MiB"
