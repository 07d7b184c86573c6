"""Which files each mirror still serves: one HEAD request per file and mirror, at a bounded rate, resumable.

Responses are saved in CACHE/.zoo/mirror_status.json as they arrive, so an interrupted check resumes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from zoo.download.fetch_file import ATTEMPTS, LONGEST_WAIT
from zoo.download.remote_file import RemoteFile, label
from zoo.download.request import ask
from zoo.download.response import check_kind, check_status, number
from zoo.download.stream import Refusal
from zoo.errors import FetchError, UsageError
from zoo.settings import cache_dir, download_policy
from zoo.system.atomic_write import atomic_write

SAVE_EVERY = 20
GIVE_UP = 3
"""Timeouts in a row after which a host is not asked again."""


@dataclass(frozen=True, slots=True)
class Response:
    """What one mirror said about one file. status: `served`, `missing` (404, 410), or what went wrong."""

    url: str
    status: str
    size: int | None = None
    checked: float = 0.0

    @property
    def served(self) -> bool:
        """Whether the file is there."""
        return self.status == "served"

    @property
    def lasting(self) -> bool:
        """Whether tomorrow's response is likely to be the same: no connection, load or rate problem."""
        refused = self.status.startswith("answered 4") and not self.status.startswith(("answered 408", "answered 429"))
        return self.status in ("served", "missing") or refused


def state_file() -> Path:
    """Where responses are saved."""
    return cache_dir() / ".zoo" / "mirror_status.json"


def load_responses() -> dict[str, Response]:
    """Earlier responses by URL."""
    try:
        return {row["url"]: Response(**row) for row in json.loads(state_file().read_text())}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def save_responses(responses: Mapping[str, Response]) -> None:
    """Save responses for the next run, if the cache is writable."""
    with suppress(OSError):
        atomic_write(state_file(), json.dumps([asdict(response) for response in responses.values()]), parents=True)


def sizes(remotes: Iterable[RemoteFile]) -> dict[str, int]:
    """Path -> size, as far as a mirror ever told."""
    known = load_responses()
    result = {}
    for remote in remotes:
        told = (known[url].size for url in remote.urls if url in known and known[url].served)
        if (size := next((size for size in told if size is not None), None)) is not None:
            result[remote.path] = size
    return result


class RateLimiter:
    """Delays requests to one host to at most `rate` per second."""

    def __init__(self, rate: float) -> None:
        self.interval = 1 / rate
        self.next = 0.0
        self.lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until it is this request's turn."""
        with self.lock:
            turn = max(self.next, time.monotonic())
            self.next = turn + self.interval
        time.sleep(max(0.0, turn - time.monotonic()))


def check_mirrors(
    urls: Iterable[str],
    *,
    rate: float = 5.0,
    max_age: float = 86400.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Response]:
    """Send a HEAD request for every URL without a lasting response within `max_age` seconds; one thread per host.

    rate: requests per second and host. progress: called with (done, all). A host whose name does not resolve, or that
    cannot be reached, is asked once, and one that falls silent three times; a pause that a host asks for is made.
    Raises FetchError when ZOO_OFFLINE is set.
    """
    if download_policy().offline:
        raise FetchError("mirrors cannot be checked while ZOO_OFFLINE is set.")
    if rate <= 0:
        raise UsageError(f"a rate of {rate:g} requests per second would never end.")
    wanted = list(dict.fromkeys(urls))
    responses = load_responses()
    now = time.time()
    due = [
        url
        for url in wanted
        if not (url in responses and responses[url].lasting and now - responses[url].checked < max_age)
    ]
    hosts: dict[str, list[str]] = {}
    for url in due:
        hosts.setdefault(label(url), []).append(url)
    counter = Counter(responses, len(due), progress)
    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        try:
            for future in as_completed([pool.submit(ask_host, group, rate, counter) for group in hosts.values()]):
                future.result()
        finally:
            counter.stop.set()
            save_responses(responses)
    return {url: responses[url] for url in wanted if url in responses}


class Counter:
    """Collects responses from all threads, keeps them on disk, and reports progress."""

    def __init__(self, responses: dict[str, Response], total: int, progress: Callable[[int, int], None] | None) -> None:
        self.responses, self.total, self.progress = responses, total, progress
        self.done = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def add(self, response: Response) -> None:
        """Record one response."""
        with self.lock:
            self.responses[response.url] = response
            self.done += 1
            if self.done % SAVE_EVERY == 0:
                save_responses(self.responses)
            if self.progress is not None:
                self.progress(self.done, self.total)


def ask_host(urls: list[str], rate: float, counter: Counter) -> None:
    """Ask one host about all of its URLs, in order."""
    limiter, doubt = RateLimiter(rate), 0
    for url in urls:
        if counter.stop.is_set():
            return
        if doubt < GIVE_UP:
            limiter.wait()
            response, silence = head(url)
            doubt = doubt + silence if silence else 0
        else:
            response = Response(url, response.status, None, time.time())
        counter.add(response)


def head(url: str) -> tuple[Response, int]:
    """One HEAD request; also tells how doubtful the whole host is: `GIVE_UP` if out of reach, 1 if it fell silent."""
    if urlsplit(url).scheme == "file":
        from urllib.request import url2pathname

        path = Path(url2pathname(urlsplit(url).path))
        there = path.is_file()
        return Response(url, "served" if there else "missing", path.stat().st_size if there else None, time.time()), 0
    for _ in range(ATTEMPTS):
        try:
            return Response(url, "served", served_size(url), time.time()), 0
        except Refusal as error:
            refusal = error
        if not 0 < refusal.wait <= LONGEST_WAIT:
            break
        time.sleep(refusal.wait)
    return Response(url, word(refusal), None, time.time()), GIVE_UP if refusal.unreachable else int(refusal.stalled)


def served_size(url: str) -> int | None:
    """The size of a file that is there, if the server tells it. Raises Refusal; a page instead of a file is one."""
    with ask("HEAD", url, {}) as response:
        check_status(response)
        check_kind(response)
        return number(response.headers.get("Content-Length"))


def word(refusal: Refusal) -> str:
    """A refusal as the status."""
    return "missing" if str(refusal).startswith(("answered 404", "answered 410")) else str(refusal)
