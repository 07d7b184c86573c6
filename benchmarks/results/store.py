"""The store of result records: one SQLite file, safe to append to from several processes at once.

A measurement is a `Record`. It says what was measured, under which protocol, on what, and how that ended; a run that
failed or was skipped is a record with a reason, never a zero. Reports are pure functions of records.

    Store("results.db").append(Record(model="yolox_nano", kind="inference", metrics={"fps": 31.2}))
    Store("results.db").select(model="yolox_*", kind="inference", latest=True)
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.results import sqlite
from benchmarks.results.record import Record, ResultsError
from zoo.settings import results_file
from zoo.system.atomic_write import atomic_path

__all__ = ["Record", "ResultsError", "Store", "default_path"]


def default_path() -> Path:
    """Where results go when nobody says otherwise: $ZOO_RESULTS, else ./results.db."""
    return results_file()


class Store:
    """Result records in one file. Every method opens the file anew, so a Store may be shared by threads and forks.

    Raises ResultsError when the file is not a result store, is newer than this program, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()

    def check(self) -> Store:
        """Itself. Raises ResultsError where its folder does not exist, so that this is noticed before a measurement."""
        if not self.path.absolute().parent.is_dir():
            raise ResultsError(
                f"{self.path.absolute().parent} is not a folder, {self.path.name} cannot be written there."
            )
        return self

    def append(self, record: Record) -> Record:
        """Add one record; once this returns it survives the end of this process, however sudden."""
        self.extend([record])
        return record

    def extend(self, records: Iterable[Record]) -> int:
        """Add records in one transaction: all or none. Returns how many were not there before."""
        with self._open(write=True) as connection:
            return sum(sqlite.insert(connection, record) for record in records)

    def select(self, **conditions: Any) -> list[Record]:
        """Records that match, oldest first; see `stream` for the conditions."""
        return list(self.stream(**conditions))

    def stream(self, *, samples: bool = True, **conditions: Any) -> Iterator[Record]:
        """Records that match, oldest first, one at a time.

        model: a name or a glob. kind, protocol, status, sweep, id: equal (id: any unambiguous beginning).
        since: ISO time. latest: only the newest of each model, kind, protocol, parameters and environment.
        limit: at most that many, the newest ones. samples=False leaves the raw samples on disk, which is quicker.
        """
        if not self.path.exists():
            return
        with self._open() as connection:
            yield from sqlite.query(connection, samples=samples, **conditions)

    def get(self, id: str) -> Record:
        """The record whose id begins with `id`. Raises ResultsError when there is none, or more than one."""
        result = self.select(id=id, limit=2)
        if len(result) != 1:
            problem = "more than one record" if result else "no record"
            raise ResultsError(
                f"{self.path} has {problem} whose id begins with '{id}'. `bench results list` shows ids."
            )
        return result[0]

    def count(self) -> int:
        """How many records there are."""
        if not self.path.exists():
            return 0
        with self._open() as connection:
            return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def merge(self, other: str | os.PathLike[str]) -> int:
        """Add the records of another store or of an exported JSON-lines file; returns how many were new here."""
        path = Path(other)
        if not path.exists():
            raise ResultsError(f"{path} does not exist, nothing to merge.")
        if path.suffix in (".jsonl", ".json"):
            return self.extend(read_lines(path))
        with self._open() as connection:
            return sqlite.absorb(connection, path)

    @contextmanager
    def _open(self, write: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite.connect(self.path)
            try:
                if write:
                    connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.commit()
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise ResultsError(f"{self.path} cannot be used as a result store: {error}.") from error


def read_lines(path: Path) -> Iterator[Record]:
    """The records of a JSON-lines file as `bench results export` writes it."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield Record.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise ResultsError(f"{path}:{number}: not a result record ({error}).") from error


def write_lines(records: Iterable[Record], path: Path) -> int:
    """Write records as JSON lines; the file appears only when it is whole."""
    count = 0
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as lines:
        for count, record in enumerate(records, 1):  # noqa: B007 (the last value is the number written)
            lines.write(json.dumps(record.to_dict()) + "\n")
    return count
