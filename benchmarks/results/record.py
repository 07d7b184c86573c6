"""One measurement, as plain data."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from zoo.errors import NO_NETWORK, NoNetwork, ZooError

SCHEMA = 2

# Schema 1 had other words for these: keys of parameters, metrics and samples, and names of protocols.
_RENAMED_KEYS = {
    "pictures": "images",
    "latency_s_per_picture": "latency_s_per_image",
    "compute_s_per_picture": "compute_s_per_image",
}
_RENAMED_PROTOCOLS = {"steady": "interleaved"}
STATUSES = ("ok", "failed", "skipped")


class ResultsError(ZooError):
    """A record or a result store is not what it should be; the message says which and why."""


def now() -> str:
    """The time in UTC, ISO 8601 to the millisecond (sorts as text)."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Record:
    """What was measured and how that ended.

    model: name in the manifests, or a name of the user's own. kind: inference, accuracy, training, compare, parity...
    protocol, parameters: what exactly was timed or evaluated, by name, with everything that was chosen.
    metrics: name -> number, units in the name (`latency_ms_p50`, `cuda_allocated_mib`, `box_ap`) or plain nested data.
    samples: name -> raw values in order of measurement (seconds for times); kept so that statistics can be redone.
    environment: what stays the same for a run on this machine (hardware, driver, library versions, commit).
    conditions: what changes from one moment to the next (clocks, throttling, load), before and after; of accuracies how
    sure they are, `interval_95`: metric -> [low, high], and `class_ap`: measure -> class -> AP.
    checkpoint: SHA-256 of the weights, None for random weights. manifest: version of the manifest, None without one.
    status: ok, failed or skipped; the latter two carry a reason and no metrics.
    """

    model: str
    kind: str
    protocol: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, list[float]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    manifest: str | None = None
    status: str = "ok"
    reason: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    time: str = field(default_factory=now)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ResultsError(f"{self.model}: status '{self.status}' is none of {', '.join(STATUSES)}.")
        if (self.status == "ok") == bool(self.reason):
            raise ResultsError(f"{self.model}: a record is ok without a reason, or failed or skipped with one.")
        if self.status != "ok" and self.metrics:
            raise ResultsError(f"{self.model}: a {self.status} record carries no metrics, they would look measured.")

    @property
    def ok(self) -> bool:
        """Whether there is a measurement."""
        return self.status == "ok"

    def to_dict(self) -> dict[str, Any]:
        """Plain data that is valid JSON: numbers of other libraries become Python's, infinities and NaN None."""
        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """The record that `to_dict` gave. Raises TypeError for a field that this version does not know."""
        if data["schema"] > SCHEMA:
            raise ResultsError(f"Record {data.get('id')} has schema {data['schema']}, this program knows {SCHEMA}.")
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise TypeError(f"unknown field '{unknown[0]}'")
        return cls(**{**rename(data, data["schema"]), "schema": SCHEMA})


def rename(data: Mapping[str, Any], schema: int) -> dict[str, Any]:
    """Fields of a record or baseline entry of an earlier schema under the names of this version."""
    renamed = dict(data)
    if schema < 2:
        for part in ("parameters", "metrics"):
            renamed[part] = {_RENAMED_KEYS.get(key, key): value for key, value in data.get(part, {}).items()}
        protocol = data.get("protocol", "")
        renamed["protocol"] = _RENAMED_PROTOCOLS.get(protocol, protocol)
    return renamed


def failed(model: str, kind: str, reason: str | BaseException, **values: Any) -> Record:
    """The record of a run that did not give a measurement."""
    text = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else reason
    return Record(model=model, kind=kind, status="failed", reason=" ".join(text.split()), **values)


def skipped(model: str, kind: str, reason: str, **values: Any) -> Record:
    """The record of a run that was not tried, on purpose."""
    return Record(model=model, kind=kind, status="skipped", reason=reason, **values)


def unmeasured(model: str, kind: str, error: BaseException, **values: Any) -> Record:
    """The record of a run that an error ended: skipped where only the network was missing, else failed."""
    if isinstance(error, NoNetwork):
        return skipped(model, kind, NO_NETWORK, **values)
    return failed(model, kind, str(error) if isinstance(error, ZooError) else error, **values)


def plain(value: Any) -> Any:
    """`value` as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
