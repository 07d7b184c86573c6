"""What was measured in a comparison as records, with whether all sides did the same work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.results import agreement
from benchmarks.results.record import Record, failed, skipped
from benchmarks.speed import inference
from benchmarks.speed.compare_config import CompareConfig
from benchmarks.speed.contestants import OURS, Contestant
from benchmarks.speed.peers import counterparts, settings
from benchmarks.speed.peers.external import ExternalWorkload
from benchmarks.speed.protocols import Measurement
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.speed.workload import Workload
from benchmarks.system import environment

SAME_WORK = 0.99
"""Share of the detections of either side that the other must have too; below it a ratio of speeds means nothing."""


@dataclass
class Results:
    """What was measured of each contestant, and what each found in the first images."""

    measured: dict[str, Measurement]
    detections: dict[str, list[Any]]
    conditions: dict[str, Any]


def record(
    request: CompareConfig,
    name: str,
    contestants: Mapping[str, Contestant],
    results: Results,
    memory: Mapping[str, float],
) -> Record:
    """One implementation's record: its numbers, and how its detections agree with ours.

    Its speed relative to ours is there only if both do the same work, which equal detections show.
    """
    setting, protocol, contestant = request.setting, INTERLEAVED, contestants[name]
    agreed = agreement.compare(results.detections[OURS], results.detections[name])
    metrics = {**results.measured[name].metrics, **asdict(agreed), **memory}
    remark = verdict(agreed, sum(map(len, results.detections[name])))
    if remark is not None:
        metrics = {key: value for key, value in metrics.items() if not key.startswith("speedup")}
    return Record(
        model=request.name,
        kind="compare",
        protocol=protocol.name,
        parameters={
            **protocol.describe(protocol.parameters(setting.overrides)),
            "peer": None if name.startswith(OURS) else name,
            "batch": setting.batch,
            "images": len(request.images),
            "resolution": resolution(contestant.workload),
            **contestant.facts,
            "differences": unlike(contestants[OURS], contestant),
            "same_work": remark is None,
            "remark": remark,
        },
        metrics=metrics,
        samples=results.measured[name].samples,
        environment=environment.describe(setting.device),
        conditions=results.conditions,
    )


def verdict(agreed: agreement.Agreement, count: int) -> str | None:
    """Why a comparison is none; None where both sides find the same. count: detections of the other side."""
    if not agreed.detections and not count:
        return "not the same work: neither finds anything, so nothing shows that both do the same"
    hits = round(agreed.matched * agreed.detections)
    share = hits / max(agreed.detections, count)
    return None if share >= SAME_WORK else f"not the same work: the sides agree on {share:.1%} of the detections"


def unlike(ours: Contestant, theirs: Contestant) -> str:
    """Everything that is known to differ from ours, besides the code."""
    result = settings.differences(ours.facts.get("settings") or {}, theirs.facts.get("settings") or {})
    for what in ("threads", "precision", "weights"):
        if theirs.facts.get(what) not in (None, ours.facts.get(what)):
            result.append(f"{what} {ours.facts.get(what)} / {theirs.facts[what]}")
    if isinstance(theirs.workload, ExternalWorkload):
        result.append(f"in a process of its own, with PyTorch {theirs.facts.get('torch')}")
        shapes = [resolution(contestant.workload) for contestant in (ours, theirs)]
        if shapes[0] != shapes[1]:
            result.append(f"input sizes {', '.join(shapes[0])} / {', '.join(shapes[1])}")
    return "; ".join(result)


def resolution(workload: Workload) -> dict[str, int]:
    """Input shapes 'height x width' and how many of the first batches have each."""
    if isinstance(workload, ExternalWorkload):
        return dict(Counter(f"{height}x{width}" for height, width in workload.shapes.values()))
    return inference.resolution(workload)  # type: ignore[arg-type]


def unavailable_record(request: CompareConfig, peer: str, reason: str) -> Record:
    """A peer that did not run, with what it published."""
    number = counterparts.published(request.name, peer)
    facts = {"peer": peer, "published": asdict(number) if number else None}
    status = skipped if "not measured" in reason or "no counterpart" in reason else failed
    return status(request.name, "compare", reason, protocol=INTERLEAVED.name, parameters=facts)
