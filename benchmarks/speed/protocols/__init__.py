"""What exactly is timed, by name. One module per protocol; docs/protocols.md puts them side by side."""

from __future__ import annotations

from benchmarks.speed.protocols.base import Measurement, Protocol, run
from benchmarks.speed.protocols.table import DEFAULT, PROTOCOLS, get

__all__ = ["DEFAULT", "PROTOCOLS", "Measurement", "Protocol", "get", "run"]
