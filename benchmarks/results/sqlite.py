"""Records in SQLite: tables, their upgrades, and the two queries.

The environment is the same for thousands of records, so it is stored once and referred to by a hash of its content.
Raw samples are compressed JSON and are read only when asked for.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.results.record import SCHEMA, Record, ResultsError

# One script per version of the tables; a store of version n is brought up to date by the scripts after the n-th.
UPGRADES = [
    """
    CREATE TABLE environments (hash TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE records (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time TEXT NOT NULL, model TEXT NOT NULL,
        kind TEXT NOT NULL, protocol TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
        checkpoint TEXT, manifest TEXT, parameters TEXT NOT NULL, metrics TEXT NOT NULL, conditions TEXT NOT NULL,
        environment TEXT NOT NULL REFERENCES environments (hash), samples BLOB
    );
    CREATE INDEX records_by_model ON records (model, kind, time);
    CREATE INDEX records_by_time ON records (time);
    """,
    # A sweep looks for its own records before every run; few records belong to one.
    """
    CREATE INDEX records_by_sweep ON records (json_extract(parameters, '$.sweep'))
        WHERE json_extract(parameters, '$.sweep') IS NOT NULL;
    """,
    # Schema 2 of records has other names; see `record.rename`.
    """
    UPDATE records SET protocol = 'interleaved' WHERE protocol = 'steady';
    UPDATE records SET
        parameters = replace(parameters, '"pictures":', '"images":'),
        metrics = replace(replace(replace(metrics, '"pictures":', '"images":'),
            '"latency_s_per_picture":', '"latency_s_per_image":'),
            '"compute_s_per_picture":', '"compute_s_per_image":');
    """,
]
WAIT_SECONDS = 60  # for another process that writes
TEXTS = ("id", "time", "model", "kind", "protocol", "status", "reason", "checkpoint", "manifest")
MAPPINGS = ("parameters", "metrics", "conditions")


def connect(path: Path) -> sqlite3.Connection:
    """Open `path`, create or upgrade its tables. A writer waits for another one for up to a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            prepare(connection, path)
            return connection
        except sqlite3.OperationalError as error:
            connection.close()
            # SQLite itself does not wait where several processes create a file at the same moment.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Settings of a new connection, and tables in the current version."""
    connection.execute(f"PRAGMA busy_timeout = {1000 * WAIT_SECONDS}")
    if version(connection) != len(UPGRADES):
        upgrade(connection, path)
    connection.execute("PRAGMA synchronous = NORMAL")


def version(connection: sqlite3.Connection) -> int:
    """Version of the tables in the file, 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables up to date in one transaction, whichever process comes first."""
    if version(connection) == 0:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    result = version(connection)
    if result > len(UPGRADES):
        connection.close()
        raise ResultsError(f"{path} was written by a newer version of this program (tables {result}). Please upgrade.")
    for script in UPGRADES[result:]:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(UPGRADES)}")
    connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, record: Record) -> int:
    """Write one record inside the caller's transaction; 0 when its id is there already, else 1."""
    data = record.to_dict()
    environment = dump(data["environment"])
    digest = hashlib.sha256(environment.encode()).hexdigest()[:32]
    connection.execute("INSERT OR IGNORE INTO environments VALUES (?, ?)", (digest, environment))
    row = {name: data[name] for name in TEXTS} | {name: dump(data[name]) for name in MAPPINGS}
    row |= {
        "environment": digest,
        "samples": zlib.compress(dump(data["samples"]).encode()) if data["samples"] else None,
    }
    columns = ", ".join(row)
    marks = ", ".join("?" * len(row))
    return connection.execute(
        f"INSERT OR IGNORE INTO records ({columns}) VALUES ({marks})", tuple(row.values())
    ).rowcount


def absorb(connection: sqlite3.Connection, other: Path) -> int:
    """Copy the records of another store that are not here, without decoding them; returns how many there were."""
    connect(other).close()  # brings its tables up to date
    columns = ", ".join((*TEXTS, *MAPPINGS, "environment", "samples"))
    connection.execute("ATTACH ? AS other", (str(other),))
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT OR IGNORE INTO environments SELECT * FROM other.environments")
    ordered = f"SELECT {columns} FROM other.records ORDER BY number"
    copied = connection.execute(f"INSERT OR IGNORE INTO main.records ({columns}) {ordered}").rowcount
    connection.execute("COMMIT")
    return copied


def query(
    connection: sqlite3.Connection,
    *,
    samples: bool = True,
    limit: int | None = None,
    latest: bool = False,
    **wanted: Any,
) -> Iterator[Record]:
    """Records that match, oldest first; the conditions are those of `Store.stream`."""
    where, values = conditions(wanted)
    source = f"SELECT * FROM records {where}"
    if latest:  # SQLite takes the other columns from the row that has the maximum
        source = f"SELECT *, max(time) FROM records {where} GROUP BY model, kind, protocol, parameters, environment"
    if limit is not None:
        source = f"SELECT * FROM ({source}) ORDER BY time DESC, number DESC LIMIT {int(limit)}"
    fields = [*(f"r.{name}" for name in (*TEXTS, *MAPPINGS)), "e.data", "r.samples" if samples else "NULL"]
    joined = f"({source}) r JOIN environments e ON e.hash = r.environment"
    sql = f"SELECT {', '.join(fields)} FROM {joined} ORDER BY r.time, r.number"
    for row in connection.execute(sql, values):
        yield decode(row)


def conditions(wanted: dict[str, Any]) -> tuple[str, list[str]]:
    """A WHERE clause and its values."""
    tests = {
        "model": "model GLOB ?" if any(c in str(wanted.get("model")) for c in "*?[") else "model = ?",
        "kind": "kind = ?",
        "protocol": "protocol = ?",
        "status": "status = ?",
        "since": "time >= ?",
        "id": "id >= ? AND id < ? || '~'",  # a range, which the index on id answers
        "sweep": "json_extract(parameters, '$.sweep') = ?",
    }
    unknown = sorted(set(wanted) - set(tests))
    if unknown:
        raise TypeError(f"records cannot be selected by '{unknown[0]}'")
    given = {name: value for name, value in wanted.items() if value is not None}
    clause = " AND ".join(tests[name] for name in given)
    values = [str(value) for name, value in given.items() for _ in range(tests[name].count("?"))]
    return (f"WHERE {clause}" if clause else ""), values


def decode(row: tuple[Any, ...]) -> Record:
    """The record in a row of `query`."""
    texts, rest = row[: len(TEXTS)], row[len(TEXTS) :]
    mappings, (environment, samples) = rest[: len(MAPPINGS)], rest[len(MAPPINGS) :]
    return Record(
        **dict(zip(TEXTS, texts)),
        **{name: json.loads(text) for name, text in zip(MAPPINGS, mappings)},
        environment=json.loads(environment),
        samples=json.loads(zlib.decompress(samples)) if samples else {},
        schema=SCHEMA,
    )


def dump(value: Any) -> str:
    """JSON with sorted keys, so that equal content is equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
