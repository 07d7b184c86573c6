"""`bench accuracy`: the published mAP, measured again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tabulate import tabulate

from benchmarks.accuracy import accuracy
from benchmarks.accuracy.config import EvalConfig, parse_measures
from benchmarks.datasets.request import ENGINES, PROTOCOLS
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from zoo.cli.argument_types import natural, positive
from zoo.system.device import usable_device


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("name", help="a model of the zoo, or a checkpoint file of your own")
    add("--data", type=Path, metavar="DIR", help="the dataset's folder (`bench datasets` shows where it is expected)")
    add("--dataset", metavar="NAME", help="dataset and metric; by default the one that the model was published for")
    add("--split", metavar="NAME", help="part of the dataset; by default the one that results are published for")
    add("--checkpoint", type=Path, metavar="FILE", help="weights to use in place of the published ones")
    add("--measure", metavar="LIST", help="what to evaluate: box, mask, panoptic, proposal, separated by commas")
    add("--protocol", choices=PROTOCOLS, help="how COCO's numbers are read (default: coco; proposals: mmdet-v2)")
    add("--engine", choices=ENGINES, default="auto", help="what computes COCO's numbers; all agree to the last bit")
    add("--device", default="cpu", help="where the network runs (%(default)s)")
    add("--batch-size", type=positive, default=1, metavar="N", help="images at once; published numbers are for 1")
    add("--workers", type=natural, default=0, metavar="N", help="threads that read and preprocess ahead")
    add("--limit", type=positive, metavar="N", help="only the first N images")
    add("--results-json", type=Path, metavar="OUT", help="also write the detections in COCO's results format")
    add("--results", type=Path, metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--json", action="store_true", help="print the record as JSON")


def run(args: argparse.Namespace) -> None:
    """Measure, store and print; under torchrun only rank 0 does the latter two."""
    store = Store(args.results).check()
    evaluation = accuracy.prepare(args.name, config_of(args))
    from benchmarks.accuracy.sharding import own_device  # imports torch, so it comes after all other checks

    device = own_device(args.device)
    usable_device(device)
    record = accuracy.run(evaluation, device)
    if record is None:
        return
    store.append(record)
    if args.json:
        print(json.dumps(record.to_dict() | {"comparison": accuracy.comparison(record)}, indent=1))
    else:
        print(text(record))


def config_of(args: argparse.Namespace) -> EvalConfig:
    """The evaluation that the options describe."""
    return EvalConfig(
        data=args.data,
        dataset=args.dataset,
        split=args.split,
        checkpoint=args.checkpoint,
        measures=tuple(parse_measures(args.measure)) if args.measure else None,
        protocol=args.protocol,
        engine=args.engine,
        device=args.device,
        batch_size=args.batch_size,
        workers=args.workers,
        limit=args.limit,
        results_json=args.results_json,
    )


def text(record: Record) -> str:
    """The record for people."""
    p = record.parameters
    weights = f"{p['weights']} weights" if p["weights"] == "published" else p["weights"]
    title = f"{record.model} ({weights}) on {p['dataset']} {p['split']}, {p['images']} images, {record.protocol}"
    rows = [(name, "n/a" if value < 0 else f"{value:.3f}") for name, value in record.metrics.items()]
    parts = [title, tabulate(rows, tablefmt="plain", disable_numparse=True)]
    if compared := accuracy.comparison(record):
        parts.append(tabulate(compared, headers="keys", floatfmt=("", ".1f", ".1f", "+.1f")))
    return "\n\n".join(parts)
