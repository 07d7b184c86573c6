"""Where a model's files should be, under which names and licenses, and how they were last seen. Asks no server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from zoo.download import mirror_status
from zoo.download.locations import checkpoint_file
from zoo.download.mirror_status import Response
from zoo.download.remote_file import label
from zoo.manifest import api
from zoo.manifest.derive import CODE_LICENSES
from zoo.manifest.entry import Checkpoint, Entry, Substitute, file_name

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Source:
    """One address of a file. host: the mirror's name, or the host's. file: how it is called there.

    seen: `served`, `missing`, or `unknown` if the host was not asked or not reached; checked: when, as a date.
    """

    host: str
    url: str
    file: str
    seen: str = UNKNOWN
    checked: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a model's weights. hash: the digits that are known, `md5:` in front of those of an MD5."""

    path: str
    format: str
    hash: str | None
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything about where a model's weights are. licenses: of code, weights, backbone and dataset.

    notes: what is known about the model and its files, and what could not be checked.
    """

    model: str
    licenses: Mapping[str, str]
    published: SourceFile | None
    alternates: tuple[SourceFile, ...]
    substitutes: tuple[Substitute, ...]
    notes: tuple[str, ...] = ()


def sources(entry: Entry, responses: Mapping[str, Response] | None = None) -> Sources:
    """What the manifests know about a model's files, and what `zoo mirrors check` last saw."""
    responses = mirror_status.load_responses() if responses is None else responses
    published = source_file(entry, entry.checkpoint, responses) if entry.checkpoint else None
    others = tuple(source_file(entry, file, responses) for file in entry.alternates)
    return Sources(entry.name, licenses(entry), published, others, entry.substitutes, tuple(entry.notes))


def source_file(entry: Entry, file: Checkpoint, responses: Mapping[str, Response]) -> SourceFile:
    """One file with its addresses."""
    remote = checkpoint_file(entry, file)
    digits = remote.sha256 or (f"md5:{remote.md5}" if remote.md5 else None)
    return SourceFile(remote.path, file.format, digits, tuple(source(url, responses.get(url)) for url in remote.urls))


def source(url: str, response: Response | None) -> Source:
    """One address, with what its host last said."""
    mirror = next((mirror for mirror in api.mirrors() if url.startswith(mirror.url)), None)
    seen = response.status if response is not None and response.status in ("served", "missing") else UNKNOWN
    date = datetime.fromtimestamp(response.checked).date().isoformat() if response is not None else None
    return Source(
        mirror.name if mirror else label(url), url, file_name(url), seen, date, mirror.note if mirror else None
    )


def licenses(entry: Entry) -> dict[str, str]:
    """Of the code that published the model, its weights, the weights that it started from, and its training data."""
    known = api.catalog()
    key = entry.training.backbone
    backbone = known.backbone(key).license if key in known.backbones else None
    unstated = "none" if entry.origin == "mmdetection" else UNKNOWN  # others do not say what they started from
    return {
        "code": CODE_LICENSES.get(entry.origin, UNKNOWN),
        "weights": entry.license or UNKNOWN,
        "backbone": unstated if key is None else backbone or UNKNOWN,
        "dataset": known.dataset(entry.dataset).license or UNKNOWN,
    }
