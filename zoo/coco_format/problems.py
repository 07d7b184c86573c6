"""What is wrong in one file, told in one sentence: the first three problems and how many more there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.errors import DataError
from zoo.text import printable

SHOWN = 3


class Problems:
    """Problems of one file. path: the file. listed: the first of them. count: all of them."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self.listed: list[str] = []

    def add(self, field: str, sentence: str) -> None:
        """One more. field: where in the file, such as `annotations[3].bbox`; the sentence goes on from it."""
        self.count += 1
        if len(self.listed) < SHOWN:
            self.listed.append(f"{field} {sentence}")

    def check(self) -> None:
        """Raise DataError where there is any."""
        if self.count:
            more = f"; and {self.count - len(self.listed):,} more" if self.count > len(self.listed) else ""
            raise DataError(f"{self.path}: {'; '.join(self.listed)}{more}.")


def shown(value: Any, limit: int = 60) -> str:
    """A value as the file has it, shortened, fit for a terminal."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return printable(text, limit)
