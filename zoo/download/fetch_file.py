"""A remote file -> a verified file in the cache.

One process downloads; mirrors are asked in turn, and what each one says is kept for the final sentence. Trust comes
from the digest alone, so any mirror will do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zoo.download import cache, folders, lock
from zoo.download.digest import Digest, Expected
from zoo.download.partial_download import PartialDownload
from zoo.download.remote_file import RemoteFile, candidates, label, user_mirrors
from zoo.download.stream import Refusal
from zoo.download.transfer import Progress, disk_errors, transfer
from zoo.errors import FetchError, NoNetwork
from zoo.settings import DownloadPolicy, download_policy

ATTEMPTS = 4
"""How often one mirror is asked for one file."""

LONGEST_WAIT = 60.0
"""Seconds that a mirror may ask to wait; one that asks for more is passed over."""

REST = 300.0
"""Seconds for which a host that could not be reached is not asked again."""

unreachable: dict[str, tuple[float, str]] = {}
"""Mirror -> when it could not be reached, and why."""

OFFLINE, UNLOCKED = ("", "offline"), ("", "unlocked")


class Unavailable(FetchError):
    """No mirror has a file; another file of the same weights may be had. responses: (mirror, what it said)."""

    def __init__(self, remote: RemoteFile, responses: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{remote.name} cannot be had")
        self.remote, self.responses = remote, list(responses)

    def text(self, brief: bool) -> str:
        """What the mirrors said. brief: hosts that are out of reach are only counted."""
        away = [mirror for mirror, said in self.responses if brief and unreachable.get(mirror, (0, None))[1] == said]
        lines = [f"{mirror} {said}" for mirror, said in self.responses if mirror not in away]
        if away:
            lines.append(f"{len(away)} {'hosts do' if len(away) > 1 else 'host does'} not answer")
        return f"no mirror serves {self.remote.name}: {'; '.join(lines)}"


def obtain(
    remote: RemoteFile,
    mirrors: Sequence[str] = (),
    progress: Progress | None = None,
    *,
    brief: bool = False,
    policy: DownloadPolicy | None = None,
) -> Path:
    """The verified file in the cache, downloaded if need be; or another file of the same weights.

    mirrors: the user's own, asked first. Raises FetchError that tells what each mirror said. brief: without the reasons
    of hosts that are out of reach, which `silent_hosts` gives once for many files. policy: the environment's if None.
    """
    policy = policy or download_policy()
    choices = [remote, *remote.alternates]
    if (path := next((path for choice in choices if (path := cached(choice, policy))), None)) is not None:
        return path
    failures = []
    for choice in choices:
        try:
            return obtain_one(choice, mirrors, progress, policy)
        except Unavailable as error:
            failures.append(error)
    kind = NoNetwork if all(map(cut_off, failures)) else FetchError
    raise kind(failure(remote, failures, brief))


def cut_off(error: Unavailable) -> bool:
    """Whether no host answered, and there were several: one alone may be switched off."""
    hosts = [(mirror, said) for mirror, said in error.responses if not is_folder(mirror)]
    away = [mirror for mirror, said in hosts if unreachable.get(mirror, (0.0, None))[1] == said]
    return OFFLINE in error.responses or len(hosts) == len(away) > 1


def is_folder(mirror: str) -> bool:
    """Whether a mirror's label is that of a folder of this machine."""
    return mirror.startswith("file:")


def cached(remote: RemoteFile, policy: DownloadPolicy) -> Path | None:
    """The file in the cache if it was verified and is untouched."""
    path, expected = cache.location(remote), lock.expected(remote)
    digest = cache.known_digest(path)
    good = digest is not None and not expected.mismatch(digest) and not expected.needs_md5
    return path if good and not refused(expected, policy) else None


def obtain_one(remote: RemoteFile, mirrors: Sequence[str], progress: Progress | None, policy: DownloadPolicy) -> Path:
    """The verified file itself. Raises FetchError, of which Unavailable where another file may do."""
    path, expected = cache.location(remote), lock.expected(remote)
    if refused(expected, policy):
        raise Unavailable(remote, [UNLOCKED])
    with lock.exclusive(cache.lock_path(remote)) as alone:
        digest = cache.valid(path, expected)  # another process may have been faster
        if digest is not None:
            with suppress(OSError):  # a cache that may only be read is of use too
                remember(remote, path, digest)
            return path
        partial = partial_download(path, alone)
        digest = download(remote, expected, partial, mirrors, progress, policy.offline)
        with disk_errors(path):
            os.replace(partial.path, path)
            partial.discard()
            remember(remote, path, digest)
    return path


def refused(expected: Expected, policy: DownloadPolicy) -> bool:
    """Whether a file must not be used because too little of its hash is known."""
    return policy.require_full_hash and not expected.is_whole


def remember(remote: RemoteFile, path: Path, digest: Digest) -> None:
    """Note that the file is verified, and lock it to its whole digest."""
    cache.mark_verified(path, digest)
    lock.record(remote, digest)


def partial_download(path: Path, alone: bool) -> PartialDownload:
    """The unfinished download of a file; without locks every process has its own."""
    return PartialDownload(
        path.with_name(f"{path.name}{cache.PART}" if alone else f"{path.name}.{os.getpid()}{cache.PART}")
    )


def download(
    remote: RemoteFile,
    expected: Expected,
    partial: PartialDownload,
    mirrors: Sequence[str],
    progress: Progress | None,
    offline: bool,
) -> Digest:
    """Ask each mirror in turn, the user's folders also for the file under other names. Raises Unavailable."""
    responses: dict[tuple[str, str], None] = {}  # (mirror, what it said), once each, in order
    urls = reachable(remote, mirrors, responses, offline)
    own = {label(mirror) for mirror in user_mirrors(mirrors)}  # may keep the file under several paths
    first = {url: mirror for url, mirror in urls.items() if mirror in own}
    rest = {url: mirror for url, mirror in urls.items() if mirror not in own}
    for group in (first, None, rest):
        result = folder_urls(remote, mirrors) if group is None else group.items()
        if (digest := ask_all(result, partial, expected, progress, responses, own)) is not None:
            return digest
    raise Unavailable(remote, list(responses))


def ask_all(
    urls: Iterable[tuple[str, str]],
    partial: PartialDownload,
    expected: Expected,
    progress: Progress | None,
    responses: dict[tuple[str, str], None],
    own: Container[str],
) -> Digest | None:
    """The digest of the file from the first of some (URL, mirror) that has it; the others fill `responses`."""
    silent: set[str] = set()
    for url, mirror in urls:
        if mirror in silent:
            continue
        try:
            return persist(url, partial, expected, progress)
        except Refusal as refusal:
            if refusal.unreachable:
                unreachable[mirror] = (time.monotonic(), str(refusal))
            if mirror in own and (refusal.unreachable or refusal.stalled or refusal.again):
                silent.add(mirror)  # it would not do better for another path
            responses[mirror, str(refusal)] = None
    return None


def folder_urls(remote: RemoteFile, mirrors: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(URL, mirror) of the file under other names in those of the user's mirrors that are folders of this machine."""
    for mirror in user_mirrors(mirrors):
        if mirror.startswith("file://"):
            for path in folders.renamed(Path(url2pathname(urlsplit(mirror).path)), remote):
                yield path.as_uri(), label(mirror)


def reachable(
    remote: RemoteFile, mirrors: Sequence[str], responses: dict[tuple[str, str], None], offline: bool
) -> dict[str, str]:
    """URL -> mirror of those worth trying now; adds the reasons of others to `responses`. Raises Unavailable."""
    urls = candidates(remote, mirrors)
    if offline:
        urls = {url: mirror for url, mirror in urls.items() if url.startswith("file:")}
        if not urls:
            raise Unavailable(remote, [OFFLINE])
    result = {}
    for url, mirror in urls.items():
        since, reason = unreachable.get(mirror, (-REST, ""))
        if reason and time.monotonic() - since < REST:
            responses[mirror, reason] = None
        else:
            result[url] = mirror
    return result


def persist(url: str, partial: PartialDownload, expected: Expected, progress: Progress | None) -> Digest:
    """Ask one mirror until it serves the file, refuses for good, or has had its attempts. Raises Refusal."""
    mended = False  # wrong bytes were asked for once more
    for attempt in range(1, ATTEMPTS + 1):
        before = partial.size()
        try:
            return transfer(url, partial, expected, progress)
        except Refusal as refusal:
            if refusal.discard:
                partial.discard()
            again = refusal.again or (refusal.stalled and partial.size() > before) or (refusal.wrong and not mended)
            mended = mended or refusal.wrong
            if not again or attempt == ATTEMPTS or refusal.wait > LONGEST_WAIT:
                raise
            time.sleep(refusal.wait or 0.25 * 2**attempt)
    raise AssertionError("unreachable")


def failure(remote: RemoteFile, failures: Sequence[Unavailable], brief: bool = False) -> str:
    """What ends in vain, in one line: each file with what the mirrors said, and what else there is."""
    first = failures[0].responses
    if first == [OFFLINE]:
        return f"{remote.name} is not in the cache ({cache.cache_dir()}) and ZOO_OFFLINE (--offline) is set."
    if first == [UNLOCKED]:
        return (
            f"only part of the hash of {remote.name} is known, and ZOO_REQUIRE_FULL_HASH (--require-full-hash) is set. "
            "Lock it to a copy that you trust with `zoo lock NAME`, or `zoo lock --from-hub` where the Hub has it."
        )
    parts = [item.text(brief) for item in failures if item.responses]
    if not parts:
        said = f"no download location is known for {remote.name}. Name a mirror with --mirror or ZOO_MIRRORS."
    else:
        said = f"{'. And '.join(parts)}. Name another mirror, or a folder that holds it, with --mirror or ZOO_MIRRORS."
    return f"{said} {remote.advice}".rstrip()


def silent_hosts() -> str | None:
    """The hosts that could not be reached, each with its reason, in one sentence; None if there were none."""
    lines = [f"{mirror} {reason}" for mirror, (_, reason) in unreachable.items()]
    return f"given up for all files: {'; '.join(lines)}." if lines else None
