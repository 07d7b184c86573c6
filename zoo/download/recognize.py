"""Files by their content: which published file is it, whatever it is called and wherever it lies?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.download import cache, lock
from zoo.download.digest import Digest, of_file
from zoo.download.locations import backbone_file, checkpoint_file, remote
from zoo.download.mirror import link_or_copy
from zoo.download.remote_file import RemoteFile
from zoo.download.transfer import disk_errors
from zoo.errors import FetchError
from zoo.manifest import api
from zoo.manifest.entry import Entry
from zoo.system.atomic_write import atomic_path


class Published:
    """Every published file whose hash, or a part of it, is known."""

    def __init__(self, files: Iterable[RemoteFile]) -> None:
        self.by_sha256: dict[str, list[RemoteFile]] = {}
        self.by_md5: dict[str, list[RemoteFile]] = {}
        for file in dict.fromkeys(files):
            if file.sha256:
                self.by_sha256.setdefault(file.sha256[:8], []).append(file)
            if file.md5:
                self.by_md5.setdefault(file.md5[:6], []).append(file)

    def find(self, digest: Digest) -> list[RemoteFile]:
        """The published files with this content; several where one file was published twice."""
        likely = [*self.by_sha256.get(digest.sha256[:8], []), *self.by_md5.get((digest.md5 or "")[:6], [])]
        return [file for file in dict.fromkeys(likely) if lock.expected(file).mismatch(digest) is None]


def published() -> Published:
    """The checkpoints of all models, older and other files of them, and the backbones."""
    known = api.catalog()
    models = (file for name in known.models for file in files_of(known.entry(name)))
    backbones = (backbone_file(key) for key in known.backbones if known.backbone(key).url)
    return Published([*models, *backbones])


def files_of(entry: Entry) -> Iterator[RemoteFile]:
    """All published files of a model, but not local ones."""
    for file in (entry.checkpoint, *entry.alternates, *entry.superseded):
        if file is not None and file.file is None:
            yield (
                checkpoint_file(entry, file)
                if file is entry.checkpoint
                else remote(file.path, file.urls, file.sha256, file.md5)
            )


@dataclass(frozen=True, slots=True)
class Found:
    """What one file turned out to be. files: the published files that it is; cached: where it is now in the cache.

    state: `added`, `present` (it was in the cache), `unknown`, or `failed`; problem: why it failed.
    """

    path: Path
    state: str
    files: tuple[RemoteFile, ...] = ()
    cached: tuple[Path, ...] = ()
    problem: str | None = None


def add(path: Path, known: Published, *, copy: bool = False) -> Found:
    """Take a file into the cache if it is a published one. Hard links where the disk is the same, unless `copy`."""
    try:
        before = cache.stamp(path)
        digest = of_file(path, with_md5=True)
        files = tuple(known.find(digest))
        if not files:
            return Found(path, "unknown")
        cached = [adopt(path, before, digest, file, copy) for file in files]
    except (OSError, FetchError) as error:
        return Found(path, "failed", problem=getattr(error, "strerror", None) or str(error))
    state = "added" if any(new for _, new in cached) else "present"
    return Found(path, state, files, tuple(path for path, _ in cached))


def adopt(path: Path, before: list[int], digest: Digest, remote: RemoteFile, copy: bool) -> tuple[Path, bool]:
    """Put a recognized file into the cache; returns its path there, and whether it was not there before."""
    target = cache.location(remote)
    with lock.exclusive(cache.lock_path(remote)), disk_errors(target):
        if cache.valid(target, lock.expected(remote)) is not None:
            return target, False
        with atomic_path(target, parents=True) as temporary:
            link_or_copy(path, temporary, link=not copy)
            check_unchanged(temporary, before, digest)
        cache.mark_verified(target, digest)
        lock.record(remote, digest)
    return target, True


def check_unchanged(path: Path, before: list[int], digest: Digest) -> None:
    """Whether a link or copy is what was hashed. Raises FetchError."""
    if cache.stamp(path) != before and of_file(path).sha256 != digest.sha256:
        raise FetchError("it changed while it was read.")
