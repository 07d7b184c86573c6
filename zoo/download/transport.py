"""URL -> stream of bytes, from a given offset where the server can. Everything a server may do wrong is a `Refusal`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zoo.download.request import ask, translated
from zoo.download.response import check_kind, check_status, extent
from zoo.download.stream import Refusal, Stream
from zoo.settings import read_timeout

if TYPE_CHECKING:
    from requests import Response

BLOCK = 1 << 20
QUEUED_BLOCKS = 4


@contextmanager
def open_stream(url: str, offset: int = 0, validator: str | None = None, verified: bool = True) -> Iterator[Stream]:
    """Open a URL, at `offset` if the server can prove that the content is still `validator`. Raises Refusal.

    verified: whether a hash decides if the content is right; otherwise redirects are followed with care.
    """
    start = offset if validator else 0
    if urlsplit(url).scheme == "file":
        with open_file(url, start, validator) as stream:
            yield stream
        return
    with open_http(url, start, validator, verified) as stream:
        yield stream


@contextmanager
def open_file(url: str, offset: int, validator: str | None) -> Iterator[Stream]:
    """A `file://` URL."""
    path = Path(url2pathname(urlsplit(url).path))
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device read without end
        raise Refusal("has no regular file of that name")
    try:
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            current = f"{status.st_size}-{status.st_mtime_ns}"
            start = offset if validator == current and offset <= status.st_size else 0
            file.seek(start)
            yield Stream(file, start, status.st_size, current)
    except FileNotFoundError:
        raise Refusal("has no such file") from None
    except OSError as error:
        raise Refusal(f"cannot be read: {error.strerror}") from None


@contextmanager
def open_http(url: str, offset: int, validator: str | None, verified: bool = True) -> Iterator[Stream]:
    """An `http(s)://` URL; proxies and certificates as the requests library finds them."""
    ranges = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
    response = ask("GET", url, ranges, verified=verified)
    try:
        check_status(response)
        check_kind(response)
        start, total, result = extent(response, offset, validator)
    except Refusal:
        response.close()
        raise
    body = Body(response)
    try:
        yield Stream(body, start, total, result)
    finally:
        body.abandon()


class Body:
    """The undecoded body of a response, read ahead in a thread of its own, which also closes it.

    So the network and the disk work side by side, and no trick of a server can hold up the program.
    """

    def __init__(self, response: Response) -> None:
        self.response = response
        self.queue: Queue[bytes | Exception] = Queue(QUEUED_BLOCKS)
        self.abandoned = threading.Event()
        response.raw.enforce_content_length = False  # `transfer` counts, and can tell how much is missing
        threading.Thread(target=self._pull, daemon=True).start()

    def read(self, _count: int, /) -> bytes:
        """What has arrived; empty at the end. Raises Refusal when the connection breaks or falls silent."""
        seconds = 2 * read_timeout()
        try:
            result = self.queue.get(timeout=seconds)
        except Empty:
            raise Refusal(f"sent nothing of the file for {seconds:g} seconds", stalled=True) from None
        if isinstance(result, Exception):
            with translated():
                raise result
        return result

    def abandon(self) -> None:
        """No more is wanted."""
        self.abandoned.set()
        while not self.queue.empty():  # the thread may be waiting to put something
            self.queue.get_nowait()

    def _pull(self) -> None:
        raw = self.response.raw
        read_some = raw.read1 if hasattr(raw, "read1") else raw.read  # urllib3 1.x waits for the whole count
        try:
            block = b"..."
            while block and not self.abandoned.is_set():
                self.queue.put(block := read_some(BLOCK, decode_content=False))
        except Exception as error:
            self.queue.put(error)
        finally:
            self.response.close()
