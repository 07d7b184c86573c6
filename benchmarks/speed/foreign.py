"""Detectors of other projects, run by their own code in an environment of the user's: `ultralytics:yolo11n.pt`.

They are measured on the same images, under the same metric and protocol, as this project's. A worker process decodes,
preprocesses and detects; what it is allowed to say is the contract of `peers/workers/serve.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.results.record import Record
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.speed.targets import Target
from zoo.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.speed.workload import ImageSource

PEERS = ("transformers", "ultralytics", "rfdetr")


def means_foreign(text: str) -> bool:
    """Whether a word on a command line means a detector of another project: `PEER:MODEL`."""
    return text.partition(":")[0] in PEERS and ":" in text


def target(name: str, pythons: Mapping[str, str], threads: int | None = None, device: str = "cpu") -> Target:
    """A detector of another project. pythons: peer -> interpreter; transformers may be in this one.

    Raises UsageError where it is not said which Python has the peer.
    """
    peer, _, config = name.partition(":")
    python = pythons.get(peer) or (sys.executable if peer == "transformers" else None)
    if python is None:
        raise UsageError(f"say --python {peer}=PATH of a Python that has {peer}.")
    if not config:
        raise UsageError(f"say which detector of {peer}: {peer}:MODEL.")

    def load() -> Any:
        from benchmarks.speed.foreign_detector import ForeignDetector

        return ForeignDetector(peer, python, config, threads, device)

    return Target(name, config, load, {}, {"peer": peer})


def measure(
    target: Target, images: Sequence[ImageSource], setting: BenchmarkConfig, source: Mapping[str, Any]
) -> Record:
    """Speed of a detector of another project, each call timed by its worker. Raises UsageError for other protocols."""
    if setting.protocol != INTERLEAVED.name or setting.batch != 1 or setting.options.chosen():
        raise UsageError(f"{target.name} keeps its own time: give --protocol {INTERLEAVED.name}, batch 1, no options.")
    from benchmarks.speed.foreign_detector import measured
    from benchmarks.speed.images import as_files

    with TemporaryDirectory() as folder:
        return measured(target, as_files(images, Path(folder)), setting, source)
