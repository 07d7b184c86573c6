"""One URL -> one verified partial download."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from zoo.download import digest as digests
from zoo.download.digest import Digest, Expected
from zoo.download.partial_download import PartialDownload, Writer
from zoo.download.stream import Refusal, Stream
from zoo.download.transport import open_stream
from zoo.errors import FetchError
from zoo.settings import read_timeout

BLOCK = 1 << 20
SPARE = 64 * 2**20
"""Bytes that a download leaves free on the disk."""

SLOWEST = 1024
"""Bytes per second, over twice the timeout, below which a server counts as hanging."""

LARGEST = 4 * 2**30
"""Bytes of a file whose size is not published. The largest checkpoints of the zoo have less than 2 GiB."""

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all if known) after each block."""


def transfer(url: str, partial: PartialDownload, expected: Expected, progress: Progress | None = None) -> Digest:
    """Download `url` into `partial`, continuing what is there, and compare it with what it must be.

    Returns its digest. Raises Refusal when the mirror is at fault, FetchError when this machine is.
    """
    if partial.is_complete(url):
        if expected.mismatch(digest := digests.of_file(partial.path, expected.needs_md5)) is None:
            return digest
        partial.discard()
    offset, validator = partial.resumable(url)
    with open_stream(url, offset, validator, expected.is_known) as stream:
        check_size(stream, expected)
        limit = bound(stream, expected, partial, url)
        partial.learn(stream.total)
        check_space(partial.path.parent, (stream.total or 0) - stream.start)
        with disk_errors(partial.path), partial.writer(url, stream, expected.needs_md5) as writer:
            count = pump(stream, writer, limit, partial.path.parent, progress)
    digest = writer.digest()
    if stream.total is not None and count < stream.total:
        raise Refusal(f"sent {count:,} of {stream.total:,} bytes", again=True)
    if problem := expected.mismatch(digest):
        partial.discard()
        raise Refusal(f"serves a file that {problem}", again=stream.start > 0, wrong=True)
    return digest


def bound(stream: Stream, expected: Expected, partial: PartialDownload, url: str) -> int:
    """How many bytes the file can have: as is known, as this or an earlier mirror says, else as any file has."""
    sizes = (expected.size, stream.total, partial.total(url), partial.announced, LARGEST)
    return next(size for size in sizes if size is not None)


def check_size(stream: Stream, expected: Expected) -> None:
    """A file of another size than is known, or larger than any, need not be downloaded. Raises Refusal."""
    if expected.size is not None and stream.total is not None and stream.total != expected.size:
        raise Refusal(f"offers {stream.total:,} bytes where {expected.size:,} are expected {expected.source}")
    if expected.size is None and stream.total is not None and stream.total > LARGEST:
        raise Refusal(f"offers {stream.total:,} bytes, which is more than any file of the zoo has", discard=True)


def check_space(folder: Path, needed: int) -> None:
    """Raises FetchError when the disk cannot take the file."""
    existing = next(parent for parent in [folder, *folder.parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed + SPARE > free:
        raise FetchError(
            f"{needed / 2**20:,.0f} MiB and a reserve of {SPARE / 2**20:,.0f} MiB are needed in {folder}, but only "
            f"{free / 2**20:,.0f} MiB are free; free some (`zoo cache prune`) or set ZOO_CACHE to another disk."
        )


def pump(stream: Stream, writer: Writer, limit: int, folder: Path, progress: Progress | None) -> int:
    """Move all bytes, at most `limit`; returns the size of the partial download afterwards.

    Raises Refusal, and FetchError for a full disk.
    """
    count = stream.start
    speed, checked = SpeedCheck(count), count
    while block := stream.reader.read(BLOCK):
        if count == 0:
            check_start(block)
        if count + len(block) > limit:
            raise Refusal(f"sends more than the {limit:,} bytes that the file can have", discard=True)
        writer.write(block)
        count += len(block)
        speed.check(count)
        if stream.total is None and count - checked > SPARE // 2:  # a body without an end must not fill the disk
            check_space(folder, SPARE // 2)
            checked = count
        if progress is not None:
            progress(count, stream.total)
    return count


def check_start(block: bytes) -> None:
    """Pages that call themselves something else. Raises Refusal."""
    head = block[:512].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise Refusal("answered with a web page instead of the file", discard=True)


class SpeedCheck:
    """Notices a server that sends a byte now and then to look alive."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.since = time.monotonic()

    def check(self, count: int) -> None:
        """Raises Refusal when the last stretch was too slow."""
        elapsed = time.monotonic() - self.since
        if elapsed < 2 * read_timeout():
            return
        if count - self.count < SLOWEST * elapsed:
            raise Refusal(f"sent {count - self.count:,} bytes in {elapsed:.0f} seconds")
        self.count, self.since = count, time.monotonic()


class disk_errors:  # noqa: N801: used like a function
    """Turns errors of the local disk into one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, (ConnectionError, TimeoutError)):
            raise FetchError(f"cannot write {self.path}: {error.strerror or error}.") from None
