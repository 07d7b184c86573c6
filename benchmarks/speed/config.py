"""How to measure speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed import protocols
from benchmarks.speed.options import Options

AUTO = "auto"
"""Whichever runtime is the fastest, tried before the measurement."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """How to measure.

    overrides: parameters of the protocol that differ from its definition. tf32: whether a GPU may multiply float32 as
    TF32; accuracies are measured without. roofline: whether to tell the share of the
    machine's limit, of the network without options.
    """

    protocol: str = protocols.DEFAULT
    device: str = "cpu"
    batch: int = 1
    repeat: int = 1
    threads: int | None = None
    options: Options = field(default_factory=Options)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    effects: bool = True
    tf32: bool = False
    roofline: bool = False

    @property
    def float32(self) -> str:
        """The name of the precision without options: how a GPU multiplies float32."""
        return "tf32" if self.tf32 else "fp32"
