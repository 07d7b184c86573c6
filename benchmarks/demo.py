"""The whole way in one call, without weights or network: build, measure, report."""

from __future__ import annotations

from pathlib import Path

from benchmarks import inference, pictures, subjects
from benchmarks.inference import Setting
from benchmarks.record import Record
from benchmarks.reports import markdown, measured
from benchmarks.results import Store

# Fewer calls than the protocol's definition asks for, and the records say so: a demonstration should take a minute.
QUICK = {"min_iterations": 4, "min_seconds": 0.0, "max_seconds": 60.0, "lap_calls": 1, "warmup_seconds": 10.0}
PICTURES = 2


def run(folder: Path, device: str = "cpu") -> list[Record]:
    """Measure the embedded networks on generated pictures and write `results.db` and `report.md` into `folder`."""

    folder.mkdir(parents=True, exist_ok=True)
    store, photos = Store(folder / "results.db"), pictures.generated(PICTURES)
    setting = Setting(device=device, overrides=QUICK)
    for subject in subjects.choose([], random_weights=True):
        source = {"weights": subject.weights, "pictures": f"{PICTURES} generated"}
        store.append(inference.measure(subject.load(), subject.name, photos, setting, source))
    records = store.select(latest=True)
    text = markdown.render(measured.tables(records), "Demonstration")
    markdown.write(text, folder / "report.md")
    return records
