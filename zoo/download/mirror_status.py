"""Which files each mirror still serves: one HEAD request per file and mirror, at a bounded rate, resumable.

Answers are kept in CACHE/.zoo/survey.json as they come, so an interrupted survey goes on where it stopped.
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
"""Silences in a row after which a host is not asked any more."""


@dataclass(frozen=True, slots=True)
class Answer:
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
        """Whether tomorrow's answer is likely to be the same: nobody was out of reach, overloaded or in a hurry."""
        refused = self.status.startswith("answered 4") and not self.status.startswith(("answered 408", "answered 429"))
        return self.status in ("served", "missing") or refused


def state_file() -> Path:
    """Where answers are kept."""
    return cache_dir() / ".zoo" / "survey.json"


def load_answers() -> dict[str, Answer]:
    """Earlier answers by URL."""
    try:
        return {row["url"]: Answer(**row) for row in json.loads(state_file().read_text())}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def save_answers(answers: Mapping[str, Answer]) -> None:
    """Keep answers for the next run; a cache that may only be read cannot."""
    with suppress(OSError):
        atomic_write(state_file(), json.dumps([asdict(answer) for answer in answers.values()]), parents=True)


def sizes(remotes: Iterable[RemoteFile]) -> dict[str, int]:
    """Path -> size, as far as a mirror ever told."""
    known = load_answers()
    result = {}
    for remote in remotes:
        told = (known[url].size for url in remote.urls if url in known and known[url].served)
        if (size := next((size for size in told if size is not None), None)) is not None:
            result[remote.path] = size
    return result


class Pace:
    """Lets requests to one host through no faster than `rate` per second."""

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


def survey(
    urls: Iterable[str],
    *,
    rate: float = 5.0,
    max_age: float = 86400.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Answer]:
    """Ask about every URL without a lasting answer from the last `max_age` seconds; one host at a time per thread.

    rate: requests per second and host. progress: called with (done, all). A host whose name does not resolve, or that
    cannot be reached, is asked once, and one that falls silent three times; a pause that a host asks for is made.
    Raises FetchError when ZOO_OFFLINE is set.
    """
    if download_policy().offline:
        raise FetchError("mirrors cannot be checked while ZOO_OFFLINE is set.")
    if rate <= 0:
        raise UsageError(f"a rate of {rate:g} requests per second would never end.")
    wanted = list(dict.fromkeys(urls))
    answers = load_answers()
    now = time.time()
    due = [
        url for url in wanted if not (url in answers and answers[url].lasting and now - answers[url].checked < max_age)
    ]
    hosts: dict[str, list[str]] = {}
    for url in due:
        hosts.setdefault(label(url), []).append(url)
    counter = Counter(answers, len(due), progress)
    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        try:
            for future in as_completed([pool.submit(ask_host, group, rate, counter) for group in hosts.values()]):
                future.result()
        finally:
            counter.stop.set()
            save_answers(answers)
    return {url: answers[url] for url in wanted if url in answers}


class Counter:
    """Collects answers from all threads, keeps them on disk, and reports progress."""

    def __init__(self, answers: dict[str, Answer], total: int, progress: Callable[[int, int], None] | None) -> None:
        self.answers, self.total, self.progress = answers, total, progress
        self.done = 0
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def add(self, answer: Answer) -> None:
        """Note one answer."""
        with self.lock:
            self.answers[answer.url] = answer
            self.done += 1
            if self.done % SAVE_EVERY == 0:
                save_answers(self.answers)
            if self.progress is not None:
                self.progress(self.done, self.total)


def ask_host(urls: list[str], rate: float, counter: Counter) -> None:
    """Ask one host about all of its URLs, in order."""
    pace, doubt = Pace(rate), 0
    for url in urls:
        if counter.stop.is_set():
            return
        if doubt < GIVE_UP:
            pace.wait()
            answer, silence = head(url)
            doubt = doubt + silence if silence else 0
        else:
            answer = Answer(url, answer.status, None, time.time())
        counter.add(answer)


def head(url: str) -> tuple[Answer, int]:
    """One HEAD request; also tells how doubtful the whole host is: `GIVE_UP` if out of reach, 1 if it fell silent."""
    if urlsplit(url).scheme == "file":
        from urllib.request import url2pathname

        path = Path(url2pathname(urlsplit(url).path))
        there = path.is_file()
        return Answer(url, "served" if there else "missing", path.stat().st_size if there else None, time.time()), 0
    for _ in range(ATTEMPTS):
        try:
            return Answer(url, "served", served_size(url), time.time()), 0
        except Refusal as error:
            refusal = error
        if not 0 < refusal.wait <= LONGEST_WAIT:
            break
        time.sleep(refusal.wait)
    return Answer(url, word(refusal), None, time.time()), GIVE_UP if refusal.unreachable else int(refusal.stalled)


def served_size(url: str) -> int | None:
    """The size of a file that is there, if the server tells it. Raises Refusal; a page instead of a file is one."""
    with ask("HEAD", url, {}) as response:
        check_status(response)
        check_kind(response)
        return number(response.headers.get("Content-Length"))


def word(refusal: Refusal) -> str:
    """A refusal as the status of an answer."""
    return "missing" if str(refusal).startswith(("answered 404", "answered 410")) else str(refusal)
