"""The result store at full size against a small one: what a query costs when it holds a million records.

    python -m benchmarks.perf.result_store [--records 1000000] [--small 22480] [--json]

Records are like those of a nightly sweep: 562 models, raw samples, ten environments. Every query is timed on a store of
`--small` records (40 nights) and on one of `--records`, in turns, and the ratio is what the size costs. Goal: reading
one model, one record or one sweep and appending a record cost little more in the large store. Four processes append at
once at the end, and no record may be lost. A store of the first version of the tables is upgraded on the way.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.perf.printed import numbers
from benchmarks.results import sqlite
from benchmarks.results.record import Record
from benchmarks.results.store import Store

MODELS, SWEEP_ROWS, WRITERS, EACH = 562, 562, 4, 50
FIRST = datetime(2020, 1, 1, tzinfo=UTC)


def main() -> None:
    """Measure, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=40 * MODELS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = measure(args.records, args.small, args.rounds)
    print(numbers(result, args.json, width=44))


def measure(records: int, small: int, rounds: int) -> dict[str, Any]:
    """Milliseconds in both stores by query, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        stores = {"small": Store(Path(folder) / "small.db"), "large": Store(Path(folder) / "large.db")}
        filled = {name: fill(store, count) for (name, store), count in zip(stores.items(), (small, records))}
        result: dict[str, Any] = {"records": records, "file, MiB": round(stores["large"].path.stat().st_size / 2**20)}
        result["fill, records per s"] = round(records / filled["large"])
        result["upgrade of the tables, s"] = round(timed(stores["large"].count), 2)
        stores["small"].count()
        for title, query in queries().items():
            result |= compare(title, query, stores, rounds)
        result |= merge(stores, Path(folder))
        result["appended by 4 processes at once, lost"] = append_together(stores["large"])
    return result


def fill(store: Store, count: int) -> float:
    """Write `count` records in the tables' first version; returns seconds."""
    upgrades, sqlite.UPGRADES = sqlite.UPGRADES, sqlite.UPGRADES[:1]
    try:
        return timed(lambda: store.extend(generate(count)))
    finally:
        sqlite.UPGRADES = upgrades


def generate(count: int) -> Iterator[Record]:
    """Records in order of time; the last 562 belong to one sweep."""
    for i in range(count):
        night, model = divmod(i, MODELS)
        sweep = {"sweep": "tonight", "job": f"model_{model}"} if i >= count - SWEEP_ROWS else {}
        yield Record(
            model=f"model_{model}",
            kind="inference",
            protocol="interleaved",
            parameters={"batch": 1, "precision": "fp32", **sweep},
            metrics={"fps": 10.0 + model, "latency_ms_p50": 80.5, "latency_ms_p99": 91.25},
            samples={"latency_s": [0.08 + k * 1e-5 for k in range(30)]},
            environment={"device": f"gpu {i % 10}", "libraries": {"torch": "2.14.1"}},
            id=f"{i:032x}"[::-1],
            time=(FIRST + timedelta(days=night, seconds=model)).isoformat(timespec="milliseconds"),
        )


def queries() -> dict[str, Callable[[Store], object]]:
    """What is asked of a store, by title."""
    return {
        "append a record": lambda store: store.append(Record("another", "accuracy", metrics={"box_ap": 0.4})),
        "newest 40 of one model": lambda store: store.select(model="model_7", kind="inference", limit=40),
        "one record by the beginning of its id": lambda store: store.get(f"{7:032x}"[::-1][:12]),
        "the rows of one sweep": lambda store: store.select(sweep="tonight", samples=False),
        "newest 40 of all": lambda store: store.select(limit=40, samples=False),
        "latest of one model": lambda store: store.select(model="model_7", latest=True, samples=False),
    }


def compare(title: str, query: Callable[[Store], object], stores: dict[str, Store], rounds: int) -> dict[str, Any]:
    """Median milliseconds in both stores, in turns, and their ratio."""
    seconds: dict[str, list[float]] = {name: [] for name in stores}
    for _ in range(rounds):
        for name, store in stores.items():
            seconds[name].append(timed(lambda store=store: query(store)))  # type: ignore[misc]
    small, large = (1000 * statistics.median(seconds[name]) for name in ("small", "large"))
    return {f"{title}: small, large, ms": f"{small:.2f} {large:.2f}", f"{title}: ratio": round(large / small, 2)}


def merge(stores: dict[str, Store], folder: Path) -> dict[str, Any]:
    """Taking in the small store: by copying its rows, against decoding and encoding each."""
    copied = timed(lambda: Store(folder / "copied.db").merge(stores["small"].path))
    decoded = timed(lambda: Store(folder / "decoded.db").extend(stores["small"].stream()))
    return {"merge of the small store: record by record over copied": round(decoded / copied, 1)}


def append_together(store: Store) -> int:
    """How many of the records that four processes append at once are missing afterwards."""
    count = store.count()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=append_some, args=(str(store.path), n)) for n in range(WRITERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count + WRITERS * EACH - store.count()


def append_some(path: str, worker: int) -> None:
    """One of the processes."""
    for i in range(EACH):
        Store(path).append(Record(f"worker_{worker}_{i}", "inference", metrics={"fps": 1.0}))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
