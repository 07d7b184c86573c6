"""`bench training`: seconds per iteration, images per second, and peak memory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.training_config import PROTOCOLS, TrainingConfig, chosen
from zoo.cli.argument_types import key_value, natural, positive
from zoo.errors import UsageError, ZooError
from zoo.system.device import usable_device

if TYPE_CHECKING:
    from benchmarks.results.record import Record


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "Under `torchrun --nproc_per_node N --no-python bench training ...` N processes train together."
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help="a model or an architecture")
    add("--data", type=Path, metavar="DIR", help="a folder in COCO's layout; default: generated images")
    add("--protocol", default="mmdet-v2", choices=list(PROTOCOLS), help="definition of the average (%(default)s)")
    add("--set", action="append", default=[], metavar="KEY=N", help="iterations, skipped or prepared; recorded")
    add("--batch-size", type=positive, default=2, metavar="N", help="images per process (%(default)s)")
    add("--accumulate", type=positive, default=1, metavar="N", help="batches per step of the optimizer")
    add("--precision", choices=("fp32", "fp16", "bf16"), default="fp32", help="precision (%(default)s)")
    add("--tf32", action="store_true", help="allow TF32 on a GPU")
    add("--device", default="cpu", help="cpu, cuda ... (%(default)s)")
    add("--workers", type=natural, default=2, metavar="N", help="processes that prepare images (%(default)s)")
    add("--weights", choices=("random", "published"), default="random", help="initial weights (%(default)s)")
    add("--results", type=Path, metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--json", action="store_true", help="print the records")


def run(args: argparse.Namespace) -> int:
    """Measure, store, print; under torchrun only the first process does the latter two."""
    from benchmarks.reports.text_table import format_table
    from benchmarks.results.store import Store
    from benchmarks.speed.targets import known
    from zoo.training.layout import find

    setting, store = setting_of(args), Store(args.results).check()
    for name in args.names:
        known(name)
    if args.data is not None:
        find(args.data)
    from benchmarks.accuracy.sharding import own_device

    usable_device(own_device(args.device))
    records = [record for name in args.names if (record := measured(name, setting)) is not None]
    store.extend(records) if records else None
    if args.json and records:
        print(json.dumps([record.to_dict() for record in records], indent=1))
    elif records:
        print(format_table([row(record) for record in records]))
    return int(any(not record.ok for record in records))


def setting_of(args: argparse.Namespace) -> TrainingConfig:
    """The setting that the options describe. Raises UsageError."""
    overrides = {}
    for key, value in map(key_value, args.set):
        if not value.isdigit():
            raise UsageError(f"--set {key} takes a whole number, not '{value}'.")
        overrides[key] = int(value)
    setting = TrainingConfig(
        protocol=args.protocol,
        data=args.data,
        batch=args.batch_size,
        accumulate=args.accumulate,
        precision=args.precision,
        device=args.device,
        workers=args.workers,
        weights=args.weights,
        overrides=overrides,
        tf32=args.tf32,
    )
    chosen(setting)
    return setting


def measured(name: str, setting: TrainingConfig) -> Record | None:
    """The record of one network; a failed one where training broke down.

    Raises ZooError where several processes train together: the others wait for this one, so it must end.
    """
    from benchmarks.accuracy.sharding import world
    from benchmarks.results.record import failed
    from benchmarks.speed import training
    from zoo.training.trainer import Diverged

    try:
        return training.measure(name, setting)
    except (Diverged, RuntimeError) as error:
        rank, size = world()
        if size > 1:
            raise ZooError(f"{name}: rank {rank} of {size} failed: {error}") from error
        return failed(name, "training", error, protocol=setting.protocol)


def row(record: Record) -> dict[str, str]:
    """One line of the table."""
    if not record.ok:
        return {"model": record.model, "status": f"{record.status}: {record.reason}"}
    m = record.metrics
    memory = m.get("cuda_allocated_mib", m.get("resident_peak_mib"))
    return {
        "model": record.model,
        "s/iter": f"{m['iteration_s']:.3f}",
        "img/s": f"{m['images_per_second']:.2f}",
        "data s": f"{m['data_s']:.3f}",
        "compute s": f"{m['compute_s']:.3f}",
        "peak MiB": "" if memory is None else f"{memory:.0f}",
        "status": "ok",
    }
