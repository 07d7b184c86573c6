"""A partial download: the bytes so far, and what is needed to continue them.

FILE.part holds a prefix of what some URL served; FILE.part.json says which URL, and its validator. Whatever kills the
process, the file stays a prefix, because bytes are only ever appended in order and the JSON is written before them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.download.digest import Digest, Hasher, feed
from zoo.download.stream import Stream
from zoo.system.atomic_write import atomic_write


class PartialDownload:
    """The partial download at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.announced: int | None = None  # the largest size that a mirror announced, asked for this file
        self.facts_file = path.with_name(f"{path.name}.json")

    def resumable(self, url: str) -> tuple[int, str | None]:
        """How many bytes of `url` are here, and the validator to ask for the rest with; (0, None) if none."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return 0, None
        validator = self.facts(url).get("validator")
        usable = isinstance(validator, str) and validator.isascii() and validator.isprintable()
        return (size, validator) if usable and size > 0 else (0, None)

    def facts(self, url: str) -> dict[str, Any]:
        """What the JSON states, if it is about `url`; nothing if it is damaged."""
        try:
            facts = json.loads(self.facts_file.read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) and facts.get("url") == url else {}

    def total(self, url: str) -> int | None:
        """The size of the file as `url` announced it earlier."""
        total = self.facts(url).get("total")
        return total if type(total) is int else None

    def is_complete(self, url: str) -> bool:
        """Whether all bytes of `url` are here, as far as its size was told: only the last step was missing."""
        total = self.total(url)
        return total is not None and total == self.size()

    def learn(self, total: int | None) -> None:
        """Remember what a mirror announces: a later one that says nothing is not believed to have more."""
        if total is not None:
            self.announced = max(total, self.announced or 0)

    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def discard(self) -> None:
        """Forget everything."""
        self.facts_file.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @contextmanager
    def writer(self, url: str, stream: Stream, with_md5: bool) -> Iterator[Writer]:
        """Continue the download where `stream` starts, or begin it anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        hasher = Hasher(with_md5)
        if stream.start:
            feed(hasher, self.path)
        else:
            self.discard()
            atomic_write(
                self.facts_file,
                json.dumps({"url": url, "validator": stream.validator, "total": stream.total}),
                parents=True,
            )
        writer = Writer(self.path, hasher)
        try:
            yield writer
        finally:
            writer.close()


class Writer:
    """Appends blocks to a file, unbuffered, and hashes them."""

    def __init__(self, path: Path, hasher: Hasher) -> None:
        self.hasher = hasher
        self.file = path.open("ab", buffering=0)

    def write(self, block: bytes) -> None:
        """Append a block. Raises OSError."""
        view = memoryview(block)
        while view:
            view = view[self.file.write(view) :]
        self.hasher.update(block)

    def close(self) -> None:
        """No more is written."""
        self.file.close()

    def digest(self) -> Digest:
        """Digest of the whole file."""
        return self.hasher.digest()
