"""An unfinished download: the bytes so far, and what is needed to continue them.

FILE.part holds a prefix of what some URL served; FILE.part.json says which URL, and its validator. Whatever kills the
process, the part stays a prefix, because bytes are only ever appended in order and the note is written before them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from zoo.files.digest import Digest, Hasher, feed
from zoo.files.lock import replace_text
from zoo.files.transport import Stream

QUEUED_BLOCKS = 8


class Part:
    """The unfinished download at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = path.with_name(f"{path.name}.json")

    def resumable(self, url: str) -> tuple[int, str | None]:
        """How many bytes of `url` are here, and the validator to ask for the rest with; (0, None) if none."""
        try:
            facts = json.loads(self.note.read_text())
            size = self.path.stat().st_size
            if facts["url"] == url and isinstance(facts["validator"], str) and size > 0:
                return size, facts["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, None

    def is_complete(self, url: str) -> bool:
        """Whether all bytes of `url` are here, as far as its size was told: only the last step was missing."""
        try:
            facts = json.loads(self.note.read_text())
            return facts["url"] == url and facts["total"] == self.path.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def discard(self) -> None:
        """Forget everything."""
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @contextmanager
    def writer(self, url: str, stream: Stream, with_md5: bool) -> Iterator[Writer]:
        """Continue the part where `stream` starts, or begin it anew; written and hashed beside the network's thread."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        hasher = Hasher(with_md5)
        if stream.start:
            feed(hasher, self.path)
        else:
            self.discard()
            replace_text(self.note, json.dumps({"url": url, "validator": stream.validator, "total": stream.total}))
        writer = Writer(self.path, hasher)
        try:
            yield writer
        finally:
            writer.close()


class Writer:
    """Appends blocks to a file and hashes them in a thread of its own; memory is bounded by a short queue."""

    def __init__(self, path: Path, hasher: Hasher) -> None:
        self.hasher = hasher
        self.error: OSError | None = None
        self.queue: Queue[bytes | None] = Queue(QUEUED_BLOCKS)
        self.file = path.open("ab", buffering=0)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def write(self, block: bytes) -> None:
        """Hand over the next block. Raises OSError that an earlier one met."""
        if self.error is not None:
            raise self.error
        self.queue.put(block)

    def close(self) -> None:
        """Wait until everything is on the file."""
        if self.thread.is_alive():
            self.queue.put(None)
            self.thread.join()
        self.file.close()

    def digest(self) -> Digest:
        """Digest of the whole part, once closed. Raises OSError that a block met."""
        if self.error is not None:
            raise self.error
        return self.hasher.digest()

    def _work(self) -> None:
        while (block := self.queue.get()) is not None:
            try:
                if self.error is None:
                    self._append(block)
            except OSError as error:  # told to the network's thread; the queue is still emptied so that it cannot block
                self.error = error

    def _append(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            view = view[self.file.write(view) :]
        self.hasher.update(block)
