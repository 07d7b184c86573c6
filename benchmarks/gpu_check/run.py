"""One stage after the other, each command in a process of its own; what is done is not done again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gpu_check import networks
from benchmarks.gpu_check.stages import Stage
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from zoo.manifest.api import manifest_options
from zoo.system.atomic_write import atomic_write

STATE, RESULTS, LOGS = "stages.json", "results.db", "logs"


@dataclass(frozen=True)
class Ended:
    """How a stage ended. status: "ok", "failed" (the log says why), or "timeout"."""

    name: str
    status: str
    seconds: float
    shows: str


def read(out: Path) -> dict[str, Ended]:
    """The stages that an earlier call finished."""
    path = out / STATE
    return {row["name"]: Ended(**row) for row in json.loads(path.read_text())} if path.is_file() else {}


def run(stages: Sequence[Stage], out: Path, device: str, say: Callable[[str], None]) -> dict[str, Ended]:
    """Run those that did not end well before; the state is written after each."""
    done = read(out)
    (out / LOGS).mkdir(exist_ok=True)
    for stage in stages:
        if stage.name in done and done[stage.name].status == "ok":
            say(f"{stage.name}: done before")
            continue
        done[stage.name] = run_one(stage, out, device)
        atomic_write(out / STATE, json.dumps([asdict(ended) for ended in done.values()], indent=1))
        say(f"{stage.name}: {done[stage.name].status} in {done[stage.name].seconds:.0f} s")
    return done


def run_one(stage: Stage, out: Path, device: str) -> Ended:
    """One command, whose output goes to its log."""
    words = [word.format(device=device, out=out) for word in stage.words]
    begun = time.perf_counter()
    with (out / LOGS / f"{stage.name.replace('/', '_')}.log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-P", "-m", "benchmarks", *manifest_options(), *words]
        print("$", *command, file=log, flush=True)
        try:
            code = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, timeout=stage.minutes * 60, check=False
            ).returncode
            status = "failed" if code else "ok"
        except subprocess.TimeoutExpired:
            status = "timeout"
    return Ended(stage.name, status, time.perf_counter() - begun, stage.shows)


def check_networks(
    names: Sequence[str], out: Path, device: str, workers: int, say: Callable[[str], None]
) -> list[Record]:
    """The record of each architecture; those that an earlier call checked without a fault are read."""
    store = Store(out / RESULTS)
    before = store.select(kind=networks.KIND, status="ok")
    known = {record.model: record for record in before if not record.metrics["faults"]}
    for record in networks.check_all([name for name in names if name not in known], device, workers):
        known[record.model] = store.append(record)
        say(verdict(record))
    return [known[name] for name in names if name in known]


def verdict(record: Record) -> str:
    """One network in a line."""
    if not record.ok:
        return f"{record.model}: {record.status}: {record.reason}"
    differ = [name for name in networks.PRECISIONS if (record.metrics.get(name) or {}).get("equal") is False]
    faults = [f"{name}: {fault}" for name, fault in record.metrics["faults"].items()]
    findings = [*faults, *([f"differs in {'; '.join(differ)}"] if differ else [])]
    return f"{record.model}: {'; '.join(findings) or 'equal in all precisions, trains'}"
