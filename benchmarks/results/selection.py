"""Which records stand for a model: the newest plain ones, that may be set beside published numbers."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from benchmarks.results.record import Record
from zoo.errors import UnknownModel
from zoo.manifest import api

if TYPE_CHECKING:
    from zoo.manifest.api import Entry

MEMORY = ("cuda_allocated_mib", "resident_peak_mib")


def is_plain(record: Record, peer: str | None = None) -> bool:
    """Whether a record is of this implementation (None: ours) in float32, image by image, as a network."""
    p = record.parameters
    alone = record.kind not in ("inference", "accuracy") or p.get("batch", 1) == 1
    exported = p.get("artifact") or p.get("runtime", "torch") != "torch"
    plain = not p.get("options") and p.get("precision", "fp32") == "fp32" and record.protocol != "end-to-end"
    resized = p.get("shorter_side")  # training on images of another size than the published one
    return alone and p.get("peer") == peer and plain and not exported and not resized


def newest(records: Iterable[Record], kind: str, peer: str | None = None) -> dict[str, Record]:
    """Model -> its newest successful plain record of a kind. One with random weights only where there is no other."""
    result = [r for r in records if r.ok and r.kind == kind and is_plain(r, peer)]
    return {r.model: r for r in sorted(result, key=lambda r: (r.parameters.get("weights") != "random", r.time))}


def by_device(records: Iterable[Record]) -> list[list[Record]]:
    """The records of each device on its own, GPUs first, with those that name no device; at least one list."""
    groups: dict[tuple[bool, str], list[Record]] = {}
    nameless: list[Record] = []
    for record in records:
        device = record.environment.get("device")
        key = (record.environment.get("device_type") == "cpu", str(device))
        (groups.setdefault(key, []) if device else nameless).append(record)
    return [groups[key] + nameless for key in sorted(groups)] or [nameless]


def accuracies(records: Iterable[Record], entries: Iterable[Entry]) -> dict[str, Record]:
    """Model -> its newest accuracy on the whole of the dataset and split that the model was published for."""
    home = {entry.name: entry for entry in entries}
    own = (r for r in records if r.kind == "accuracy" and r.model in home)
    return newest((r for r in own if is_at_home(r, home[r.model])), "accuracy")


def is_at_home(record: Record, entry: Entry) -> bool:
    """Whether an accuracy may be set beside the published one: same dataset and split, all of its images."""
    p = record.parameters
    whole = not p.get("limit") and (p.get("images") or 0) >= (p.get("all_images") or 0)
    return p.get("dataset", entry.dataset) == entry.dataset and is_usual(p.get("split"), entry) and whole


def is_usual(split: str | None, entry: Entry) -> bool:
    """Whether results are published for this split: `validation` is what `openimages_v6_val` is about."""
    published = [key.rpartition("_")[2] for key in entry.metrics]
    return split is None or not published or any(split.startswith(name) for name in published)


def percent(record: Record | None, metric: str) -> float | None:
    """An accuracy in percent; None where it was not measured or where there was nothing to find (-1)."""
    value = None if record is None else record.metrics.get(metric)
    return None if value is None or value < 0 else 100 * value


def memory_mib(record: Record) -> float | None:
    """What the record says of memory: allocated by PyTorch on a GPU, the peak resident size on a CPU."""
    return next((record.metrics[name] for name in MEMORY if record.metrics.get(name) is not None), None)


def entries_with(records: Iterable[Record], pattern: str = "*", family: str | None = None) -> list[Entry]:
    """The zoo's models, and the other projects' that were measured."""
    entries = {name: api.get(name) for name in api.list_models(pattern, family=family)}
    for name in dict.fromkeys(record.model for record in records):
        entry = find(name)
        if entry and fnmatchcase(entry.name, pattern) and family in (None, entry.family):
            entries.setdefault(entry.name, entry)
    return list(entries.values())


def find(name: str) -> Entry | None:
    """What the manifests say about a model; None for a name that is not in them."""
    try:
        return api.get(name)
    except UnknownModel:
        return None
