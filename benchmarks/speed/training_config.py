"""How to measure training: its protocols, and what a measurement is made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.errors import UsageError


@dataclass(frozen=True)
class Protocol:
    """iterations: how many to run. skipped: so many first ones do not count. prepared: run on so many batches that are
    made before the clock starts; 0 for loading as training does."""

    name: str
    source: str
    iterations: int
    skipped: int
    prepared: int = 0


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("mmdet-v2", "MMDetection 2.28, docs/en/model_zoo.md: average over iterations 100 to 500", 500, 100),
        Protocol("detectron2", "Detectron2, tools/benchmark.py --task train", 400, 3, 100),
    )
}


@dataclass(frozen=True)
class TrainingConfig:
    """How to measure. data: a folder in COCO's layout, None for generated images. batch: per process.

    overrides: `iterations`, `skipped` or `prepared`, where they should not be the protocol's. weights: `random`, or
    `published` for those of the zoo. tf32: whether a GPU multiplies float32 as TF32 (precision fp32 only).
    """

    protocol: str = "mmdet-v2"
    data: Path | None = None
    batch: int = 2
    accumulate: int = 1
    precision: str = "fp32"
    device: str = "cpu"
    workers: int = 2
    weights: str = "random"
    overrides: Mapping[str, int] | None = None
    tf32: bool = False


def chosen(setting: TrainingConfig) -> Protocol:
    """The protocol with the setting's changes. Raises UsageError."""
    if setting.protocol not in PROTOCOLS:
        raise UsageError(f"no training protocol '{setting.protocol}': there are {', '.join(PROTOCOLS)}.")
    changes = dict(setting.overrides or {})
    unknown = sorted(changes.keys() - {"iterations", "skipped", "prepared"})
    if unknown:
        raise UsageError(f"a training protocol has no '{unknown[0]}', only iterations, skipped and prepared.")
    protocol = replace(PROTOCOLS[setting.protocol], **changes)  # type: ignore[arg-type]
    if protocol.skipped >= protocol.iterations:
        raise UsageError(f"{protocol.iterations} iterations of which {protocol.skipped} are skipped leave none.")
    return protocol
