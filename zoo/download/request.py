"""URL -> response, over HTTP and through redirects. Whatever goes wrong on the way is a `Refusal`."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from zoo.download import hub
from zoo.download.stream import Refusal
from zoo.settings import read_timeout

if TYPE_CHECKING:
    from requests import Response, Session

CONNECT_TIMEOUT = 10.0
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
HOPS = 10
"""Redirects that are followed."""

AGENT = "detection-zoo"


def ask(method: str, url: str, headers: dict[str, str], hops: int | None = None, *, verified: bool = True) -> Response:
    """The response to a request, whose body has not been read. Raises Refusal.

    hops: redirects to follow. verified: whether a hash decides about the content; otherwise see `check_redirect`.
    """
    import requests

    seconds = CONNECT_TIMEOUT + 2 * read_timeout()
    with requests.Session() as session, translated():
        # Left to itself, requests reads the body of a redirect, which may have no end.
        session.get_redirect_target = lambda _: None  # type: ignore[assignment, method-assign]
        session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity", **headers})
        return within(seconds, lambda: follow(session, method, hub.at_endpoint(url), hops, verified))


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
        collected = result.get(timeout=seconds)
    except Empty:
        raise Refusal(f"did not finish its response's header in {seconds:g} seconds", stalled=True) from None
    if isinstance(collected, Exception):
        raise collected
    return collected


def follow(session: Session, method: str, url: str, hops: int | None = None, verified: bool = True) -> Response:
    """The response behind `hops` redirects, or behind all. Raises Refusal."""
    location = ""
    for hop in range(HOPS + 1):
        try:
            target = web_address(urljoin(url, location))
        except ValueError:
            reason = "redirects to something that is not a web address" if hop else "is not a valid address"
            raise Refusal(reason, unreachable=not hop) from None
        if hop and not verified:
            check_redirect(url, target)
        url = target
        response = request(session, method, url, redirected=hop > 0)
        location = response.headers.get("Location", "").encode("latin-1").decode("utf-8", "replace")
        if response.status_code not in (301, 302, 303, 307, 308) or not location or hop == hops:
            return response
        response.close()
    raise Refusal("redirects in circles")


def request(session: Session, method: str, url: str, redirected: bool) -> Response:
    """One request. Raises Refusal; what the target of a redirect does wrong does not make the mirror unreachable."""
    import requests

    timeout = (CONNECT_TIMEOUT, read_timeout())
    try:
        with translated():
            return session.request(
                method, url, headers=hub.headers(url), stream=True, timeout=timeout, allow_redirects=False
            )
    except requests.exceptions.InvalidHeader:
        raise Refusal("answered with headers that contradict each other") from None
    except (OverflowError, ValueError):  # requests has its own errors for addresses, which are ValueErrors
        reason = "redirects to something that is not a web address" if redirected else "is not a valid address"
        raise Refusal(reason, unreachable=not redirected) from None
    except Refusal as refusal:
        if not redirected:
            raise
        said = f"redirects to {urlsplit(url).netloc}, which {refusal}"
        raise Refusal(said, again=refusal.again, stalled=refusal.stalled) from None


def check_redirect(source: str, target: str) -> None:
    """Refuse what a file without any hash must not be taken from: http after https, or another site. Raises Refusal."""
    old, new = urlsplit(source), urlsplit(target)
    if old.scheme == "https" and new.scheme == "http":
        raise Refusal("redirects from https to http, and no hash of this file is known")
    if site(old.hostname) != site(new.hostname) and not (hub.is_hub(source) and hub.is_hub(target)):
        raise Refusal(f"redirects to another site ({new.hostname}), and no hash of this file is known")


def site(host: str | None) -> str:
    """The last two labels of a host name, or an address as it is."""
    name = host or ""
    return name if name.replace(".", "").isdigit() or ":" in name else ".".join(name.split(".")[-2:])


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
    except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, requests.exceptions.MissingSchema):
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise explain(error) from None


def explain(error: BaseException) -> Refusal:
    """What went wrong on the network, in a few words, by the kinds of the errors that led to it."""
    kinds = {type(cause).__name__: cause for cause in causes(error)}
    if kinds.keys() & {"ReadTimeout", "ReadTimeoutError"}:
        return Refusal(f"sent nothing for {read_timeout():g} seconds", stalled=True)
    phrases = {
        "NameResolutionError": "has a name that does not resolve",
        "gaierror": "has a name that does not resolve",
        "ConnectTimeout": f"did not answer within {CONNECT_TIMEOUT:g} seconds",
        "ConnectTimeoutError": f"did not answer within {CONNECT_TIMEOUT:g} seconds",
        "SSLError": "has a certificate that was not accepted",
        "SSLCertVerificationError": "has a certificate that was not accepted",
        "ProxyError": "cannot be asked: the proxy refused the connection",
        "ConnectionRefusedError": "refused the connection",
    }
    for kind, phrase in phrases.items():
        if kind in kinds:
            return Refusal(phrase, unreachable=True)
    if any(getattr(cause, "errno", None) in UNREACHABLE for cause in kinds.values()):
        return Refusal("is unreachable", unreachable=True)
    return Refusal("broke off the connection", again=True)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it wraps, however its library does it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
