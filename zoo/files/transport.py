"""URL -> stream of bytes, from a given offset where the server can. Everything a server may do wrong is a `Refusal`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zoo.errors import UsageError
from zoo.text import printable

if TYPE_CHECKING:
    from requests import Response

CONNECT_TIMEOUT = 10.0
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
    import requests

    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if offset and validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    timeout = (CONNECT_TIMEOUT, read_timeout())
    with requests.Session() as session:
        with translated():
            response = session.get(url, headers=headers, stream=True, timeout=timeout)
        with response:
            check_status(response)
            check_kind(response)
            yield describe(response, offset, validator)


@contextmanager
def translated() -> Iterator[None]:
    """Exceptions of requests and urllib3 as refusals."""
    import requests
    import urllib3

    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise explain(error) from None


def explain(error: Exception) -> Refusal:
    """What went wrong on the network, in a few words."""
    text = repr(error)
    if "Read timed out" in text or "ReadTimeout" in text:
        return Refusal(f"sent nothing for {read_timeout():g} seconds", stalled=True)
    phrases = {
        "NameResolutionError": ("its name does not resolve", True),
        "ConnectTimeout": (f"did not answer within {CONNECT_TIMEOUT:g} seconds", True),
        "SSL": ("its certificate was not accepted", True),
        "Proxy": ("the proxy refused the connection", True),
        "refused": ("refused the connection", True),
        "unreachable": ("is unreachable", True),
        "TooManyRedirects": ("redirects in circles", False),
        "InvalidURL": ("is no valid address", True),
    }
    for marker, (reason, unreachable) in phrases.items():
        if marker in text:
            return Refusal(reason, unreachable=unreachable)
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


def describe(response: Response, offset: int, validator: str | None) -> Stream:
    """The stream behind an accepted response. Raises Refusal for a range that does not continue what is there."""
    length = number(response.headers.get("Content-Length"))
    found = validator_of(response.headers)
    if response.status_code == 200:
        return Stream(Body(response), 0, length, found)
    if not (offset and validator):
        raise Refusal("answered with a part of the file that was not asked for")
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    begins = number(span.partition("-")[0])
    if unit != "bytes" or begins != offset or (found is not None and found != validator):
        raise Refusal("answered with another part of the file than was asked for", again=True, discard=True)
    return Stream(Body(response), offset, number(total) or (offset + length if length is not None else None), validator)


def validator_of(headers: Any) -> str | None:
    """A strong ETag, else the date of the last change."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def number(text: str | None) -> int | None:
    """A non-negative integer in a header, or None."""
    return int(text) if text and text.isascii() and text.isdigit() else None


class Body:
    """The undecoded body of a response."""

    def __init__(self, response: Response) -> None:
        raw = response.raw
        raw.enforce_content_length = False  # `transfer` counts, and can tell how much is missing
        self.read_some = raw.read1 if hasattr(raw, "read1") else raw.read  # urllib3 1.x waits for the whole count

    def read(self, count: int, /) -> bytes:
        """What has arrived, up to `count` bytes; empty at the end. Raises Refusal when the connection breaks."""
        with translated():
            return self.read_some(count, decode_content=False)
