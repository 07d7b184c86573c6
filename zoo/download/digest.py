"""SHA-256 and MD5 of a stream, and whether they are the ones that were published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file turned out to be: full hex digests and size in bytes. md5 is None unless it was asked for."""

    sha256: str
    size: int
    md5: str | None = None


class Hasher:
    """Digests that grow with the data. MD5 is computed only where it is all that was published."""

    def __init__(self, with_md5: bool = False) -> None:
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
        self.size = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.sha256.update(data)
        if self.md5 is not None:
            self.md5.update(data)
        self.size += len(data)

    def digest(self) -> Digest:
        """The digests of everything so far."""
        return Digest(self.sha256.hexdigest(), self.size, self.md5.hexdigest() if self.md5 else None)


def of_file(path: Path, with_md5: bool = False) -> Digest:
    """Digest of a file, in constant memory."""
    hasher = Hasher(with_md5)
    feed(hasher, path)
    return hasher.digest()


def feed(hasher: Hasher, path: Path) -> None:
    """Hash a whole file into `hasher`."""
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(BLOCK)
        while count := file.readinto(buffer):
            hasher.update(memoryview(buffer)[:count])


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file must be. sha256, md5: whole digests or their first hex digits; source: who says so."""

    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    source: str = "as published"

    def mismatch(self, digest: Digest) -> str | None:
        """None if `digest` is the expected one, else what is wrong, as part of a sentence."""
        if self.sha256 is not None and not digest.sha256.startswith(self.sha256.lower()):
            return f"has SHA-256 {digest.sha256[:16]}..., not {self.sha256[:16]}... {self.source}"
        if self.sha256 is None and self.md5 is not None and not (digest.md5 or "").startswith(self.md5.lower()):
            return f"has MD5 {digest.md5}, not {self.md5}... {self.source}"
        return None

    @property
    def is_known(self) -> bool:
        """Whether a hash, or the published part of one, decides which file this is."""
        return self.sha256 is not None or self.md5 is not None

    @property
    def is_whole(self) -> bool:
        """Whether all of the SHA-256 is known, so that no other file can pass for this one."""
        return self.sha256 is not None and len(self.sha256) == 64

    @property
    def needs_md5(self) -> bool:
        """Whether the MD5 is all there is to check."""
        return self.sha256 is None and self.md5 is not None
