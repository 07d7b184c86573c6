"""Does every family learn? Each one trains on the demonstration's dataset and has to reach a stated AP.

    python -m benchmarks.perf.learning [FAMILY ...] [--minutes 10] [--out reports/learning]

Small networks with the published heads, losses and assigners train from random weights on 400 generated images
(`benchmarks.datasets.demo`) for a fixed number of epochs, at most `--minutes` of processor time, and are validated on
the other 100. `FAMILY.log.json` has losses and AP as `bench logs` reads and plots them; `learning.csv` has a row for
each family. Chance is an AP of about 0. `reports/learning` has the runs of a reference machine. Exit
status 1 if a family stays below its floor.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.datasets import demo
from benchmarks.perf.learning_families import Family, families
from benchmarks.reports.text_table import format_table
from zoo.manifest import api
from zoo.models.supervision import supervision
from zoo.system.atomic_write import atomic_path
from zoo.training import distributed, initial_weights
from zoo.training.coco_folder import CocoFolder
from zoo.training.config import TrainConfig
from zoo.training.dataset import TrainingSet
from zoo.training.layout import find
from zoo.training.log import TrainingLog
from zoo.training.trainer import Trainer
from zoo.training.validation import validate


def merged(base: Any, changes: Any) -> Any:
    """A description with changes; lists are replaced, and a part of another type too."""
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    if "type" in changes and changes["type"] != base.get("type"):
        return dict(changes)
    return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}


def make_trainer(family: Family, data: Path, out: Path) -> Trainer:
    """The family's trainer at its first step."""
    description = merged(api.architecture(family.base), family.changes)
    annotations, images = find(data)
    folder = CocoFolder(annotations, images, supervision(description).masks)
    steps = api.preprocessing(family.preprocessing)
    dataset = TrainingSet(folder, steps, family.recipe.augmentation, 0, family.recipe.epochs)
    before = len(api.dataset(api.representative(family.base).dataset).classes)
    config = TrainConfig(
        family.base, annotations, images, out, start="scratch", batch_size=family.recipe.batch, log_every=10
    )
    own = initial_weights.with_classes(description, before, len(folder.classes))
    run = Trainer(config, distributed.join(), own, dataset, family.recipe)
    run.prepare()
    return run


def learn(name: str, family: Family, data: Path, out: Path, minutes: float) -> dict[str, Any]:
    """Train and validate one family; its row."""
    run, begun = make_trainer(family, data, out), time.process_time()
    log, quarter = TrainingLog(out / f"{name}.log.json", 0, run.schedule.per_epoch), -(-family.recipe.epochs // 4)
    metrics: dict[str, float] = {}
    for step in run.steps():
        log.add(step)
        if run.schedule.should_log(run.config.log_every):
            log.write(run.rank.device)
        spent = time.process_time() - begun
        if run.schedule.should_run(quarter) or spent > 60 * minutes:
            metrics = validate(run.result, run.data.recipe, *find(data, "val"), run.data.folder.classes)
            log.validated(step, metrics)
        if spent > 60 * minutes:
            break
    value = metrics[family.metric]
    return {
        "family": name,
        "architecture": family.base,
        "metric": family.metric,
        "value": round(value, 4),
        "floor": family.floor,
        "status": "ok" if value >= family.floor else "below its floor",
        "epochs": round(run.schedule.done / run.schedule.per_epoch, 1),
        "cpu_minutes": round((time.process_time() - begun) / 60, 1),
    }


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """The table, with the rows that it had for other families."""
    old: list[dict[str, Any]] = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            old = [row for row in csv.DictReader(file) if row["family"] not in {new["family"] for new in rows}]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(sorted([*old, *rows], key=lambda row: str(row["family"])))


def main() -> int:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"all of them by default: {', '.join(families())}"
    )
    parser.add_argument("--minutes", type=float, default=10, help="processor time per family, at most (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("learning"), help="folder of logs and table (%(default)s)")
    args = parser.parse_args()
    known, rows = families(), []
    args.out.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp())
    try:
        demo.write(data)
        for name in args.families or known:
            rows.append(learn(name, known[name], data, args.out, args.minutes))
            print(f"{name}: {rows[-1]['metric']} {rows[-1]['value']}", file=sys.stderr, flush=True)
            write(args.out / "learning.csv", rows)
    finally:
        shutil.rmtree(data)
    print(format_table(rows))
    return int(any(row["status"] != "ok" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
