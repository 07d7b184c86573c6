"""What a mirror gives: a stream of bytes, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zoo.text import printable


class Refusal(Exception):
    """Why a mirror did not serve a file, as part of a sentence.

    again: asking this mirror once more may help. wait: seconds that it asked to wait first. discard: what was kept for
    resuming is of no use. unreachable: the host itself, not this file, is the problem. stalled: it fell silent, which
    is worth another attempt only if something came before. wrong: it served other bytes, which one more attempt may
    mend.
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
        wrong: bool = False,
    ) -> None:
        super().__init__(printable(reason, limit=200))
        self.again = again
        self.wait = wait
        self.discard = discard
        self.unreachable = unreachable
        self.stalled = stalled
        self.wrong = wrong


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
