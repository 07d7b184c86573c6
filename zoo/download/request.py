"""URL -> answer, over HTTP and through redirects. Whatever goes wrong on the way is a `Refusal`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from zoo.download import hub
from zoo.download.stream import Refusal, read_timeout

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_TIMEOUT = 10.0
HOPS = 10
"""Redirects that are followed."""

AGENT = "detection-zoo"


def ask(method: str, url: str, headers: dict[str, str], hops: int | None = None) -> Response:
    """The response to a request, whose body has not been read. hops: redirects to follow. Raises Refusal."""
    import requests

    seconds = CONNECT_TIMEOUT + 2 * read_timeout()
    with requests.Session() as session, translated():
        # Left to itself, requests reads the body of a redirect, which may have no end.
        session.get_redirect_target = lambda _: None  # type: ignore[assignment, method-assign]
        session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity", **headers})
        return within(seconds, lambda: follow(session, method, hub.at_endpoint(url), hops))


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


def follow(session: Session, method: str, url: str, hops: int | None = None) -> Response:
    """The response behind `hops` redirects, or behind all. Raises Refusal, and the exceptions of requests."""
    timeout, location = (CONNECT_TIMEOUT, read_timeout()), ""
    for hop in range(HOPS + 1):
        try:
            url = web_address(urljoin(url, location))
            secret = hub.headers(url)
            response = session.request(method, url, headers=secret, stream=True, timeout=timeout, allow_redirects=False)
        except (OverflowError, ValueError):  # requests has its own errors for addresses, which are ValueErrors
            reason = "redirects to something that is no web address" if hop else "is no valid address"
            raise Refusal(reason, unreachable=not hop) from None
        location = response.headers.get("Location", "").encode("latin-1").decode("utf-8", "replace")
        if response.status_code not in (301, 302, 303, 307, 308) or not location or hop == hops:
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
