"""A mirror of one's own: verified files in the published layout, and an index, for any static server or bucket.

    DIR/mmdetection/v2.0/retinanet/.../retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth
    DIR/index.json      {"schema": 1, "files": {path: {"sha256": ..., "size": ...}}}, as in zoo.lock

Files arrive whole or not at all, and a second run copies only what is missing or was changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from zoo.download import digest as digests
from zoo.download import lock
from zoo.download.digest import Digest, Expected
from zoo.download.remote_file import RemoteFile
from zoo.download.transfer import check_space, disk_errors
from zoo.errors import FetchError
from zoo.system.atomic_write import atomic_path

INDEX = "index.json"


def present(folder: Path, remote: RemoteFile) -> bool:
    """Whether the mirror has a file: listed as the expected one, with the listed size (`verify` hashes it)."""
    digest = lock.read(folder / INDEX).get(remote.path)
    target = folder / remote.path
    if digest is None or not target.is_file() or target.stat().st_size != digest.size:
        return False
    return lock.expected(remote).needs_md5 or lock.expected(remote).mismatch(digest) is None


def add(folder: Path, remote: RemoteFile, source: Path) -> None:
    """Copy a verified file into the mirror, and list it. Raises FetchError."""
    with lock.exclusive(folder / f".{INDEX}.lock"), disk_errors(folder / remote.path):
        digest = copy(source, folder / remote.path, lock.expected(remote))
        lock.write(folder / INDEX, {**lock.read(folder / INDEX), remote.path: digest})


def copy(source: Path, target: Path, expected: Expected) -> Digest:
    """Copy a file, whole, as expected, or not at all; returns the digest of what was written. Raises FetchError."""
    with atomic_path(target, parents=True) as temporary:
        link_or_copy(source, temporary)
        digest = digests.of_file(temporary, with_md5=True)
        if problem := expected.mismatch(digest):
            raise FetchError(f"{source} {problem}; `zoo cache verify` finds such files.")
    return digest


def link_or_copy(source: Path, target: Path, link: bool = True) -> None:
    """A second name for the file where the disk is the same, so that it takes no space twice; else a copy."""
    target.unlink(missing_ok=True)
    try:
        if not link:
            raise OSError("a copy is wanted")
        os.link(source.resolve(), target)
    except OSError:
        check_space(target.parent, source.stat().st_size)
        shutil.copyfile(source, target)


def verify(folder: Path, paths: Iterable[str] | None = None) -> dict[str, str]:
    """Path -> what is wrong with it, for every file of the index (or those of `paths`) that is not as it tells."""
    index = lock.read(folder / INDEX)
    wrong = {}
    for path in index if paths is None else paths:
        if not (folder / path).is_file():
            wrong[path] = "is missing"
        elif digests.of_file(folder / path).sha256 != index[path].sha256:
            wrong[path] = "has another SHA-256 than the index tells"
    return wrong
