"""The local cache: files in the published layout below one folder, and for each a record that it was verified.

CACHE/mmdetection/v2.0/retinanet/.../retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth      whole and verified, always
CACHE/mmdetection/v2.0/retinanet/.../....pth.part, ....pth.part.json                       a download to be resumed
CACHE/.zoo/verified/PATH.json       digest, size and time of the file when it was last hashed
CACHE/.zoo/locks/PATH.lock          held while a process downloads PATH
CACHE/.zoo/tensors/SHA256.1.safetensors  its tensors, for fast loading
CACHE/.zoo/foreign/KEY.json         digests of files in folders that serve as mirrors
CACHE/zoo.lock                      full digests of everything ever verified here
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.download import digest as digests
from zoo.download.digest import Digest, Expected
from zoo.download.remote_file import RemoteFile
from zoo.errors import FetchError
from zoo.settings import cache_dir
from zoo.system.atomic_write import atomic_write

PRIVATE = ".zoo"
PART = ".part"
COPY_VERSION = 1
"""Raised when the reader begins to yield something else, so that older fast copies are no longer used."""


def location(remote: RemoteFile) -> Path:
    """Where a file is or will be kept."""
    return cache_dir() / remote.path


def lock_path(remote: RemoteFile) -> Path:
    """The lock that whoever downloads the file holds."""
    return cache_dir() / PRIVATE / "locks" / f"{remote.path}.lock"


def verified_path(path: Path) -> Path | None:
    """Where the record about a cached file is; None for a file outside the cache."""
    try:
        relative = path.absolute().relative_to(cache_dir().absolute())
    except ValueError:
        return None
    return cache_dir() / PRIVATE / "verified" / f"{relative}.json"


def tensors_path(sha256: str) -> Path:
    """Where the tensors of the file with this digest are kept for fast loading."""
    return cache_dir() / PRIVATE / "tensors" / f"{sha256}.{COPY_VERSION}.safetensors"


def stamp(path: Path) -> list[int]:
    """Size, modification time and inode: what changes when a file is changed."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def mark_verified(path: Path, digest: Digest) -> None:
    """Remember that the file as it is now has this digest."""
    if (target := verified_path(path)) is not None:
        atomic_write(
            target, json.dumps({"sha256": digest.sha256, "md5": digest.md5, "stamp": stamp(path)}), parents=True
        )


def known_digest(path: Path) -> Digest | None:
    """The digest of a cached file that has not been touched since it was verified; None if unknown."""
    target = verified_path(path)
    try:
        facts = json.loads(target.read_text()) if target is not None else None
        if facts is None or facts["stamp"] != stamp(path):
            return None
        return Digest(facts["sha256"], facts["stamp"][0], facts["md5"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def foreign_digest(path: Path) -> Digest:
    """The digest of a file outside the cache, remembered until it is changed. Raises OSError."""
    key = hashlib.sha256(str(path.absolute()).encode()).hexdigest()
    target = cache_dir() / PRIVATE / "foreign" / f"{key[:32]}.json"
    before = stamp(path)
    with suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(target.read_text())
        if facts["stamp"] == before:
            return Digest(facts["sha256"], before[0], facts["md5"])
    digest = digests.of_file(path, with_md5=True)
    with suppress(OSError):
        facts = {"sha256": digest.sha256, "md5": digest.md5, "stamp": before}
        atomic_write(target, json.dumps(facts), parents=True)
    return digest


def valid(path: Path, expected: Expected) -> Digest | None:
    """The digest of the cached file if it is there and the expected one, hashing it only if it was touched."""
    if not path.is_file():
        return None
    digest = known_digest(path)
    if digest is None or (expected.needs_md5 and digest.md5 is None):
        digest = digests.of_file(path, expected.needs_md5)
    return digest if expected.mismatch(digest) is None else None


@dataclass(frozen=True, slots=True)
class Cached:
    """A file in the cache. state: `verified`, `part` (resumable), or `unverified` (touched or put there by hand)."""

    path: Path
    size: int
    state: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        """Path below the cache."""
        return self.path.relative_to(cache_dir()).as_posix()


def files() -> Iterator[Cached]:
    """Everything in the published layout, which has only folders at its root, and unfinished downloads; sorted."""
    root = cache_dir()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if folder != str(root) and not name.startswith(".") and not name.endswith(f"{PART}.json"):
                yield describe(path)


def describe(path: Path) -> Cached:
    """One cached file."""
    size = path.stat().st_size
    if PART in path.suffixes[-2:]:
        return Cached(path, size, "part")
    digest = known_digest(path)
    return Cached(path, size, "verified" if digest else "unverified", digest.sha256 if digest else None)


def derived() -> list[Path]:
    """Tensor files made for fast loading."""
    return sorted((cache_dir() / PRIVATE / "tensors").glob("*.safetensors*"))


def remove(path: Path) -> int:
    """Delete a cached file with its notes; returns the bytes that this freed. Raises FetchError."""
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError as error:
        raise FetchError(f"cannot delete {path}: {error.strerror}.") from None
    companions = [path.with_name(f"{path.name}.json"), verified_path(path)]
    for companion in companions:
        if companion is not None:
            companion.unlink(missing_ok=True)
    return size
