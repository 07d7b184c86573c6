"""Many files at once: several downloads side by side, failures collected instead of stopping the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from zoo.download import cache, lock, mirror_status
from zoo.download.fetch import in_cache
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile, user_mirrors
from zoo.download.transfer import Progress, check_space
from zoo.errors import FetchError, ZooError
from zoo.settings import DownloadPolicy, cache_dir


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. path: where it is now; error: why it is not."""

    remote: RemoteFile
    path: Path | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What fetching a file would mean. size: in bytes, where a lock file, the cache or a check of mirrors tells it."""

    remote: RemoteFile
    path: Path
    cached: bool
    size: int | None


def plan(remotes: Iterable[RemoteFile]) -> list[Plan]:
    """What is in the cache and what would be downloaded; asks no server and hashes nothing."""
    wanted, result = unique(remotes), []
    told = mirror_status.sizes(wanted)
    for remote in wanted:
        if (path := next(filter(None, map(in_cache, (remote, *remote.alternates))), None)) is not None:
            result.append(Plan(remote, path, True, path.stat().st_size))
            continue
        expected = lock.expected(remote)
        size = expected.size if expected.size is not None else told.get(remote.path)
        result.append(Plan(remote, cache.location(remote), False, size))
    return result


def unique(remotes: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Two models may share one file."""
    return list({remote.path: remote for remote in remotes}.values())


def obtain_all(
    remotes: Sequence[RemoteFile],
    *,
    jobs: int = 1,
    mirrors: Sequence[str] = (),
    progress: Callable[[RemoteFile], Progress | None] | None = None,
    done: Callable[[Outcome], None] | None = None,
    policy: DownloadPolicy | None = None,
) -> list[Outcome]:
    """Fetch files, `jobs` at a time; returns an outcome for each, in order.

    progress: makes the callback for one file. done: called with each outcome as it comes. policy: the environment's if
    None. Raises FetchError at once if the disk cannot hold what is to come as far as its size is known; UsageError for
    an invalid mirror.
    """
    wanted = unique(remotes)
    user_mirrors(mirrors)  # a mistake in them is not a failure of a file
    check_space(cache_dir(), sum(item.size or 0 for item in plan(wanted) if not item.cached))
    stop, brief = threading.Event(), len(wanted) > 1
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        futures = {}
        for remote in wanted:
            report = stoppable(progress(remote) if progress else None, stop)
            futures[pool.submit(attempt, remote, mirrors, report, brief, policy)] = remote
        try:
            for future in as_completed(futures):
                if done is not None:
                    done(future.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def attempt(
    remote: RemoteFile,
    mirrors: Sequence[str],
    progress: Progress | None,
    brief: bool,
    policy: DownloadPolicy | None,
) -> Outcome:
    """Fetch one file; a failure is an outcome."""
    try:
        return Outcome(remote, obtain(remote, mirrors, progress, brief=brief, policy=policy))
    except ZooError as error:
        return Outcome(remote, error=str(error))


def stoppable(progress: Progress | None, stop: threading.Event) -> Progress:
    """A callback that ends its download once `stop` is set."""

    def report(count: int, total: int | None) -> None:
        if stop.is_set():
            raise FetchError("interrupted.")
        if progress is not None:
            progress(count, total)

    return report
