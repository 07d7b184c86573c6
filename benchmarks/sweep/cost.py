"""How long a model's accuracy run takes, from what was measured here or published: to start the longest jobs first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import zoo
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from benchmarks.sweep.job import Job
from zoo.manifest.entry import Entry

# How many images the split that results are published for has, as the datasets' authors say; others: as COCO.
IMAGES = {
    "lvis_v1": 19_809,
    "voc_0712": 4_952,
    "cityscapes": 500,
    "openimages_v6": 41_620,
    "openimages_challenge_2019": 41_620,
    "objects365_v1": 30_000,
    "objects365_v2": 80_000,
}
COCO = 5_000


class Cost(NamedTuple):
    """Seconds per image, and where they come from: here, published, family or all."""

    seconds: float
    source: str


def longest_first(jobs: Sequence[Job], store: Store) -> list[Job]:
    """The jobs of a sweep, those that take longest first: a long one that starts last keeps one machine busy alone.

    Speed counts for a fixed number of images; an accuracy run has those of its dataset. Equal ones stay in order.
    """
    entries = {job.model: zoo.get(job.model) for job in jobs}
    here = measured(store.select(kind="inference", status="ok", samples=False) if store.path.exists() else [], None)
    costs = costs_of([zoo.get(name) for name in zoo.list_models()], here)

    def seconds(job: Job) -> float:
        entry = entries[job.model]
        cost = costs[entry.name].seconds if entry.name in costs else 0.0
        return cost * (IMAGES.get(entry.dataset, COCO) if job.kind == "accuracy" else 1)

    return sorted(jobs, key=lambda job: -seconds(job))


def measured(records: Sequence[Record], device: str | None) -> dict[str, float]:
    """Seconds per image by model: the newest plain measurement of one image at a time."""
    return {
        record.model: 1 / record.metrics["fps"]
        for record in sorted(records, key=lambda r: r.time)
        if record.metrics.get("fps")
        and record.parameters.get("batch") == 1
        and not record.parameters.get("options")
        and (device is None or device in str(record.environment.get("device")))
    }


def costs_of(entries: Sequence[Entry], here: Mapping[str, float]) -> dict[str, Cost]:
    """The cost of each model by name."""
    known = {entry.name: cost for entry in entries if (cost := own_cost(entry, here))}
    families: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        if entry.name in known:
            families[entry.family].append(known[entry.name].seconds)
    everything = median(cost.seconds for cost in known.values())
    for entry in entries:
        if entry.name not in known:
            alike = families.get(entry.family)
            known[entry.name] = Cost(median(alike), "family") if alike else Cost(everything, "all")
    return known


def own_cost(entry: Entry, here: Mapping[str, float]) -> Cost | None:
    """What was measured of this very model, here or by the reference."""
    if entry.name in here:
        return Cost(here[entry.name], "here")
    plain = [s.fps for s in entry.speed if s.batch == 1 and s.precision == "fp32" and s.hardware == "V100" and s.fps]
    return Cost(1 / plain[0], "published") if plain else None
