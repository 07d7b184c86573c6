"""What `zoo list` can list: rows of plain data, by kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from zoo.errors import UsageError
from zoo.manifest import api
from zoo.manifest.entry import Entry
from zoo.manifest.formatting import plain

Row = dict[str, Any]


def models(
    pattern: str = "*",
    *,
    metric: str | None = None,
    minimum: float | None = None,
    sort: str | None = None,
    license: str | None = None,
    source: str | None = None,
    **conditions: Any,
) -> list[Entry]:
    """The models that `list_models(pattern, **conditions)` names, further chosen and sorted by a published figure.

    metric: only models that have it, at least `minimum` if given. sort: a metric (best first), `fps` (fastest first) or
    `memory_gb` (least first); models without it come last. license: of the weights. source: only models that this host
    (the name of a mirror, or a host name) should have. Raises UsageError for a figure that no model has.
    """
    if pattern == "*" and (license is not None or source is not None):
        pattern = "?*"  # other projects' models too
    entries = [api.get(name) for name in api.list_models(pattern, **conditions)]
    if license is not None:
        entries = [entry for entry in entries if (entry.license or "unknown").lower() == license.lower()]
    if source is not None:
        entries = [entry for entry in entries if _has_source(entry, source)]
    metric = metric or (sort if minimum is not None else None)
    if minimum is not None and metric is None:
        raise UsageError("--min needs --metric (or --sort), such as --metric box_ap --min 45.")
    for key in filter(None, (metric, sort)):
        _check_figure(key)
    if metric is not None:
        least = -math.inf if minimum is None else minimum
        entries = [e for e in entries if (value := figure(e, metric)) is not None and value >= least]
    if sort is not None:
        entries.sort(key=lambda entry: _rank(figure(entry, sort), sort))
    return entries


def _has_source(entry: Entry, source: str) -> bool:
    files = [file for file in (entry.checkpoint, *entry.alternates) if file is not None]
    return any(source.lower() in host_names(url) for file in files for url in file.urls)


def sources() -> set[str]:
    """Every name by which `models` knows a source: those of mirrors, and host names."""
    entries = map(api.get, api.catalog().models)
    files = (file for entry in entries for file in (entry.checkpoint, *entry.alternates) if file is not None)
    return {name for file in files for url in file.urls for name in host_names(url)}


def host_names(url: str) -> set[str]:
    """What a host is called: its host name, and the name of the mirror whose address a URL begins with."""
    return {urlsplit(url).netloc.lower(), *(mirror.name for mirror in api.mirrors() if url.startswith(mirror.url))}


def figure(entry: Entry, key: str) -> float | None:
    """A published figure of a model: a metric, `fps` or `memory_gb`."""
    if key == "fps":
        return entry.speed[0].fps if entry.speed else None
    return entry.training.memory_gb if key == "memory_gb" else entry.metric(key)


def _rank(value: float | None, key: str) -> tuple[bool, float]:
    return value is None, (value or 0.0) if key == "memory_gb" else -(value or 0.0)


def _check_figure(key: str) -> None:
    known = {name for e in map(api.get, api.list_models()) for values in e.metrics.values() for name in values}
    if key not in known | {"fps", "memory_gb"}:
        raise UsageError(f"no model has a figure '{key}'; there are fps, memory_gb, {', '.join(sorted(known))}.")


def _families(pattern: str) -> list[Row]:
    counts: dict[str, int] = {}
    for name in api.list_models():
        family = api.get(name).family
        counts[family] = counts.get(family, 0) + 1
    return [{"family": family, "models": counts[family]} for family in _chosen(counts, pattern)]


def _architectures(pattern: str) -> list[Row]:
    stated = api.catalog().architectures
    users: dict[str, list[str]] = {}
    for name in api.list_models(unpublished=True):
        users.setdefault(api.get(name).architecture or "", []).append(name)
    return [
        {"architecture": name, "models": users.get(name, []), "source": str(stated[name].file)}
        for name in _chosen(stated, pattern)
    ]


def _normalizations(pattern: str) -> list[Row]:
    stated = api.catalog().normalizations
    return [{"normalization": name, **stated[name].value} for name in _chosen(stated, pattern)]


def _recipes(pattern: str) -> list[Row]:
    stated = api.catalog().recipes
    return [{"preprocessing": name, **stated[name].value} for name in _chosen(stated, pattern)]


def _datasets(pattern: str) -> list[Row]:
    names = _chosen(api.catalog().datasets, pattern)
    return [{"dataset": row.pop("name"), **row} for row in (plain(api.dataset(name)) for name in names)]


def _backbones(pattern: str) -> list[Row]:
    known = api.catalog()
    rows = (plain(known.backbone(key)) for key in _chosen(known.backbones, pattern))
    return [{"backbone": row.pop("key"), **row} for row in rows]


def _logs(pattern: str) -> list[Row]:
    entries = (api.get(name) for name in api.list_models(pattern))
    return [{"model": e.name, "log_url": e.log_url} for e in entries if e.log_url]


def _mirrors(pattern: str) -> list[Row]:
    rows = (plain(mirror) for mirror in api.mirrors() if fnmatchcase(mirror.name, pattern))
    return [{"mirror": row.pop("name"), **row} for row in rows]


def _chosen(names: Iterable[str], pattern: str) -> list[str]:
    return sorted(name for name in names if fnmatchcase(name, pattern))


# What can be listed besides models. The first key of each row is its name.
KINDS: dict[str, Callable[[str], list[Row]]] = {
    "architectures": _architectures,
    "backbones": _backbones,
    "datasets": _datasets,
    "families": _families,
    "logs": _logs,
    "mirrors": _mirrors,
    "normalizations": _normalizations,
    "recipes": _recipes,
}
