"""URL -> stream of bytes, from a given offset where the server can. Everything a server may do wrong is a `Refusal`."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from zoo.errors import UsageError
from zoo.text import printable

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_TIMEOUT = 10.0
HOPS = 10
"""Redirects that are followed."""

BLOCK = 1 << 20
QUEUED_BLOCKS = 4
ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
"""A strong entity tag (RFC 9110, section 8.8.3)."""

AGENT = "detection-zoo (+https://pypi.org/project/detection-zoo)"


class Refusal(Exception):
    """Why a mirror did not serve a file, as part of a sentence.

    again: asking this mirror once more may help. wait: seconds that it asked to wait first. discard: what was kept for
    resuming is of no use. unreachable: the host itself, not this file, is the problem. stalled: it fell silent, which
    is worth another attempt only if something came before.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        wait: float = 0,
        discard: bool = False,
        unreachable: bool = False,
        stalled: bool = False,
    ) -> None:
        super().__init__(printable(reason, limit=200))
        self.again = again
        self.wait = wait
        self.discard = discard
        self.unreachable = unreachable
        self.stalled = stalled


class Reader(Protocol):
    """Anything with `read(count) -> bytes`."""

    def read(self, count: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Stream:
    """An open download. start: position in the file of the first byte; total: size of the whole file if known.

    validator: strong ETag or Last-Modified, which a later request can use to resume the same content.
    """

    reader: Reader
    start: int
    total: int | None
    validator: str | None


def read_timeout() -> float:
    """Seconds without a byte after which a server counts as hanging: `ZOO_TIMEOUT`, else 30."""
    text = os.environ.get("ZOO_TIMEOUT") or "30"
    try:
        if (seconds := float(text)) > 0:
            return seconds
    except ValueError:
        pass
    raise UsageError(f"ZOO_TIMEOUT is '{text}', which is no number of seconds.")


@contextmanager
def open_stream(url: str, offset: int = 0, validator: str | None = None) -> Iterator[Stream]:
    """Open a URL, at `offset` if the server can prove that the content is still `validator`. Raises Refusal."""
    opener = open_file if urlsplit(url).scheme == "file" else open_http
    with opener(url, offset if validator else 0, validator) as stream:
        yield stream


@contextmanager
def open_file(url: str, offset: int, validator: str | None) -> Iterator[Stream]:
    """A `file://` URL."""
    try:
        with open(Path(url2pathname(urlsplit(url).path)), "rb", buffering=0) as file:
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
def open_http(url: str, offset: int, validator: str | None) -> Iterator[Stream]:
    """An `http(s)://` URL; proxies and certificates as the requests library finds them."""
    ranges = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
    response = ask("GET", url, ranges)
    try:
        check_status(response)
        check_kind(response)
        start, total, found = extent(response, offset, validator)
    except Refusal:
        response.close()
        raise
    body = Body(response)
    try:
        yield Stream(body, start, total, found)
    finally:
        body.abandon()


def ask(method: str, url: str, headers: dict[str, str]) -> Response:
    """The response to a request, whose body has not been read. Raises Refusal."""
    import requests

    seconds = CONNECT_TIMEOUT + 2 * read_timeout()
    with requests.Session() as session, translated():
        # Left to itself, requests reads the body of a redirect, which may have no end.
        session.get_redirect_target = lambda _: None  # type: ignore[assignment, method-assign]
        session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity", **headers})
        return within(seconds, lambda: follow(session, method, url))


def within(seconds: float, work: Callable[[], Response]) -> Response:
    """What `work` returns. Raises what it raises, and Refusal when it takes longer.

    The timeout of a socket begins anew with every byte, so a server could send a header for days. A thread that is left
    behind ends with its connection.
    """
    result: Queue[Response | Exception] = Queue()

    def run() -> None:
        try:
            result.put(work())
        except Exception as error:
            result.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        found = result.get(timeout=seconds)
    except Empty:
        raise Refusal(f"did not finish its answer's header in {seconds:g} seconds", stalled=True) from None
    if isinstance(found, Exception):
        raise found
    return found


def follow(session: Session, method: str, url: str) -> Response:
    """The response behind all redirects. Raises Refusal, and the exceptions of requests."""
    timeout, location = (CONNECT_TIMEOUT, read_timeout()), ""
    for hop in range(HOPS + 1):
        try:
            url = web_address(urljoin(url, location))
            response = session.request(method, url, stream=True, timeout=timeout, allow_redirects=False)
        except (OverflowError, ValueError):  # requests has its own errors for addresses, which are ValueErrors
            reason = "redirects to something that is no web address" if hop else "is no valid address"
            raise Refusal(reason, unreachable=not hop) from None
        location = response.headers.get("Location", "").encode("latin-1").decode("utf-8", "replace")
        if response.status_code not in (301, 302, 303, 307, 308) or not location:
            return response
        response.close()
    raise Refusal("redirects in circles")


def web_address(url: str) -> str:
    """`url`. Raises ValueError for one of another kind."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(url)
    return url


@contextmanager
def translated() -> Iterator[None]:
    """Exceptions of requests and urllib3 as refusals."""
    import requests
    import urllib3

    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise explain(error) from None


def explain(error: Exception) -> Refusal:
    """What went wrong on the network, in a few words."""
    text = repr(error)
    if "Read timed out" in text or "ReadTimeout" in text:
        return Refusal(f"sent nothing for {read_timeout():g} seconds", stalled=True)
    phrases = {
        "NameResolutionError": "its name does not resolve",
        "ConnectTimeout": f"did not answer within {CONNECT_TIMEOUT:g} seconds",
        "SSL": "its certificate was not accepted",
        "Proxy": "the proxy refused the connection",
        "refused": "refused the connection",
        "unreachable": "is unreachable",
    }
    for marker, reason in phrases.items():
        if marker in text:
            return Refusal(reason, unreachable=True)
    return Refusal("broke off the connection", again=True)


def check_status(response: Response) -> None:
    """Raises Refusal for everything but 200 and 206."""
    status, reason = response.status_code, (response.reason or "").strip()
    if status in (200, 206):
        return
    said = f"{status} {reason}".strip()
    if status == 416:
        raise Refusal(f"answered {said}", again=True, discard=True)
    if status == 429 or status >= 500:
        wait = retry_after(response.headers.get("Retry-After"))
        suffix = f" and wants a pause of {wait:.0f} seconds" if wait else ""
        raise Refusal(f"answered {said}{suffix}", again=True, wait=wait)
    raise Refusal(f"answered {said}")


def retry_after(header: str | None) -> float:
    """Seconds that a Retry-After header (a number or a date) asks for; 0 without one."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0


def check_kind(response: Response) -> None:
    """Pages and re-encoded content are never the file. Raises Refusal."""
    if response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        raise Refusal("answered with a web page instead of the file")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        raise Refusal(f"sent the file encoded as {encoding}, which was not asked for")


def extent(response: Response, offset: int, validator: str | None) -> tuple[int, int | None, str | None]:
    """Where in the file the body of an accepted response starts, the size of the file, and its validator, if known.

    Raises Refusal for a range that does not continue what is there.
    """
    length = number(response.headers.get("Content-Length"))
    found = validator_of(response.headers)
    if response.status_code == 200:
        return 0, length, found
    if not (offset and validator):
        raise Refusal("answered with a part of the file that was not asked for")
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    begins = number(span.partition("-")[0])
    if unit != "bytes" or begins != offset or (found is not None and found != validator):
        raise Refusal("answered with another part of the file than was asked for", again=True, discard=True)
    return offset, number(total) or (offset + length if length is not None else None), validator


def validator_of(headers: Any) -> str | None:
    """A strong ETag, else the date of the last change."""
    if ETAG.fullmatch(etag := headers.get("ETag", "")):
        return etag
    date = headers.get("Last-Modified", "")
    return date if date.strip() and date.isascii() and date.isprintable() else None


def number(text: str | None) -> int | None:
    """A non-negative integer in a header, or None; no file has a size of more than 18 digits."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None


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
            found = self.queue.get(timeout=seconds)
        except Empty:
            raise Refusal(f"sent nothing of the file for {seconds:g} seconds", stalled=True) from None
        if isinstance(found, Exception):
            with translated():
                raise found
        return found

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
