"""`bench accuracy`: the published mAP, measured again."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.accuracy import accuracy
from benchmarks.accuracy.config import EvalConfig, parse_measures
from benchmarks.accuracy.published_metrics import images_text
from benchmarks.datasets.request import METRIC_BACKENDS, PROTOCOLS
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from zoo.cli.argument_types import natural, positive
from zoo.errors import UsageError
from zoo.export.formats import RUNTIMES
from zoo.system.device import usable_device


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("name", nargs="?", help="a model of the zoo, a checkpoint file of your own, or a file of `zoo export`")
    add(
        "--predictions", type=Path, metavar="FILE", help="evaluate detections in COCO's results format, of any detector"
    )
    add("--as", dest="title", metavar="NAME", help="name in records and reports")
    add("--data", type=Path, metavar="DIR", help="the dataset's folder (`bench datasets` shows where it is expected)")
    add("--dataset", metavar="NAME", help="dataset and metric; by default the one that the model was published for")
    add("--split", metavar="NAME", help="part of the dataset; by default the one that results are published for")
    add("--checkpoint", type=Path, metavar="FILE", help="weights to use in place of the published ones")
    add("--measure", metavar="LIST", help="what to evaluate: box, mask, panoptic, proposal, separated by commas")
    add("--protocol", choices=PROTOCOLS, help="how COCO's numbers are read (default: coco; proposals: mmdet-v2)")
    add("--metric-backend", choices=METRIC_BACKENDS, default="auto", help="library that computes COCO's numbers (auto)")
    add("--classes", choices=("all", "present"), default="all", help="present: of the model's, those the dataset has")
    add("--device", default="cpu", help="where the network runs (%(default)s)")
    add("--runtime", choices=RUNTIMES, help="what runs networks (torch) and files (the usual for their format)")
    add("--batch-size", type=positive, default=1, metavar="N", help="images at once; published numbers are for 1")
    add("--workers", type=natural, default=0, metavar="N", help="threads that read and preprocess ahead")
    add("--tta", action="store_true", help="test-time augmentation: three scales and mirror images, merged by NMS")
    add("--limit", type=positive, metavar="N", help="only the first N images")
    add("--results-json", type=Path, metavar="OUT", help="also write the detections in COCO's results format")
    add("--results", type=Path, metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--json", action="store_true", help="print the record as JSON")


def run(args: argparse.Namespace) -> None:
    """Measure, store and print; under torchrun only rank 0 does the latter two."""
    check_target(args)
    store, config = Store(args.results).check(), config_of(args)
    record = of_model(args.name, config) if args.predictions is None else of_predictions(args.predictions, config)
    if record is None:
        return
    store.append(record)
    for notice in record.parameters["notices"]:
        print(f"bench: note: {notice}", file=sys.stderr)
    if args.json:
        print(json.dumps(record.to_dict() | {"comparison": accuracy.comparison(record)}, indent=1))
    else:
        print(text(record))


def check_target(args: argparse.Namespace) -> None:
    """Raise UsageError unless it is said what to evaluate: a model or a file of detections, not both."""
    if args.predictions is None and args.name is None:
        raise UsageError("say what to evaluate: a model, a checkpoint file, or --predictions FILE.")
    if args.predictions is None:
        return
    of_a_model = {
        "a model's name": args.name,
        "--runtime": args.runtime,
        "--checkpoint": args.checkpoint,
        "--results-json": args.results_json,
    }
    if given := [option for option, value in of_a_model.items() if value is not None]:
        raise UsageError(
            f"--predictions evaluates a file's detections, so {given[0]} has no meaning (--as names them)."
        )


def of_model(name: str, config: EvalConfig) -> Record | None:
    """The record of a model or a checkpoint file; None on other ranks than 0 under torchrun."""
    evaluation = accuracy.prepare(name, config)
    from benchmarks.accuracy.sharding import own_device  # imports torch, so it comes after all other checks

    device = own_device(config.device)
    usable_device(device)
    return accuracy.run(evaluation, device)


def of_predictions(file: Path, config: EvalConfig) -> Record:
    """The record of a file of detections."""
    from benchmarks.accuracy import predictions_file

    return predictions_file.evaluate(file, config)


def config_of(args: argparse.Namespace) -> EvalConfig:
    """The evaluation that the options describe."""
    return EvalConfig(
        data=args.data,
        dataset=args.dataset,
        split=args.split,
        checkpoint=args.checkpoint,
        measures=parse_measures(args.measure) if args.measure else None,
        protocol=args.protocol,
        metric_backend=args.metric_backend,
        device=args.device,
        batch_size=args.batch_size,
        workers=args.workers,
        limit=args.limit,
        results_json=args.results_json,
        present_classes=args.classes == "present",
        tta=args.tta,
        title=args.title,
        runtime=args.runtime,
    )


def text(record: Record) -> str:
    """The record for people."""
    from tabulate import tabulate

    p = record.parameters
    weights = f"{p['weights']} weights" if p["weights"] == "published" else p["weights"]
    part = images_text(p["images"], p.get("all_images"))
    title = f"{record.model} ({weights}) on {p['dataset']} {p['split']}, {part}, {record.protocol}"
    rows = [(name, "n/a" if value < 0 else f"{100 * value:.1f} %") for name, value in record.metrics.items()]
    parts = [title, tabulate(rows, tablefmt="plain", disable_numparse=True)]
    if compared := [points_text(row) for row in accuracy.comparison(record)]:
        parts.append(tabulate(compared, headers="keys", disable_numparse=True))
    return "\n\n".join(parts)


def points_text(row: dict[str, Any]) -> dict[str, str]:
    """A row of the comparison for people."""
    formats = {"published": "{:.1f}", "measured": "{:.1f}", "difference": "{:+.1f}"}
    texts = {key: "n/a" if value is None else formats.get(key, "{}").format(value) for key, value in row.items()}
    return {f"{key} (%)" if key in formats else key: text for key, text in texts.items()}
