"""What a comparison with peers measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.peers.external import ANSWER_SECONDS
from benchmarks.speed.workload import ImageSource


@dataclass(frozen=True)
class CompareConfig:
    """What to compare. pythons: peer -> interpreter of the environment that has it. weights: a checkpoint file.

    patience: seconds that a peer's worker may take for an answer. memory: whether to measure peaks, each in a process.
    """

    name: str
    against: Sequence[str]
    images: Sequence[ImageSource]
    pythons: Mapping[str, str] = field(default_factory=dict)
    weights: Path | None = None
    setting: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    patience: float = ANSWER_SECONDS
    memory: bool = True
