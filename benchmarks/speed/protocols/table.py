"""The one table of protocols, by name."""

from __future__ import annotations

from benchmarks.speed.protocols import detectron2, interleaved, mlperf_offline, mlperf_singlestream, mmdet_v2
from benchmarks.speed.protocols.base import Protocol
from zoo.errors import UsageError

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        interleaved.PROTOCOL,
        mmdet_v2.PROTOCOL,
        detectron2.PROTOCOL,
        mlperf_singlestream.PROTOCOL,
        mlperf_offline.PROTOCOL,
    )
}
DEFAULT = interleaved.PROTOCOL.name


def get(name: str) -> Protocol:
    """The protocol of that name. Raises UsageError for an unknown one."""
    if name not in PROTOCOLS:
        raise UsageError(f"No protocol '{name}'. There are: {', '.join(PROTOCOLS)}; docs/protocols.md describes them.")
    return PROTOCOLS[name]
