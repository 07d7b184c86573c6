"""`bench accuracy`: the published mAP, measured again."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.config import EvalConfig, parse_measures
from benchmarks.datasets.request import METRIC_BACKENDS, PROTOCOLS
from zoo.cli.argument_types import key_value, natural, positive
from zoo.errors import UsageError, ZooError
from zoo.export.formats import RUNTIMES
from zoo.system.device import usable_device

if TYPE_CHECKING:
    from benchmarks.accuracy.paired import Paired
    from benchmarks.results.record import Record
    from benchmarks.results.store import Store


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
    add("--checkpoint", type=Path, metavar="FILE", help="weights to use instead of the published ones")
    add("--measure", metavar="LIST", help="metrics, separated by commas: box, mask, panoptic, proposal")
    add("--protocol", choices=PROTOCOLS, help="definition of COCO's metrics (default: coco; proposals: mmdet-v2)")
    add("--metric-backend", choices=METRIC_BACKENDS, default="auto", help="library that computes COCO's numbers (auto)")
    add("--classes", choices=("all", "present"), default="all", help="present: of the model's, those the dataset has")
    add("--device", default="cpu", help="where the network runs (%(default)s)")
    add("--runtime", choices=RUNTIMES, help="runtime (default: torch for networks; files: by format)")
    add("--batch-size", type=positive, default=1, metavar="N", help="images at once; published numbers are for 1")
    add("--workers", type=natural, default=0, metavar="N", help="threads that read and preprocess ahead")
    add("--tta", action="store_true", help="test-time augmentation: three scales and mirror images, merged by NMS")
    add("--limit", type=positive, metavar="N", help="only the first N images")
    add(
        "--against",
        metavar="OTHER",
        help="compare with a model, a checkpoint, a .json file of detections or a record's id, on the same images",
    )
    add("--results-json", type=Path, metavar="OUT", help="also write the detections in COCO's results format")
    add("--detail", type=Path, metavar="DIR", help="write AP by class, curves, errors by kind, the worst images")
    add("--results", type=Path, metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--python", action="append", default=[], metavar="PEER=PATH", help="a Python that has PEER, for PEER:MODEL")
    add("--json", action="store_true", help="print the record as JSON")


def run(args: argparse.Namespace) -> None:
    """Measure, store and print; under torchrun only rank 0 does the latter two."""
    check_target(args)
    from benchmarks.results.store import Store

    store, config = Store(args.results).check(), config_of(args)
    other = recorded(args.against, store) if args.against else None  # before the work: its id may be wrong
    record = measured(args, config, store)
    if args.against and other is None:
        other = measured(
            other_target(args), replace(config, checkpoint=None, title=None, results_json=None, detail=None), store
        )
    if record is None or (args.against and other is None):
        return
    from benchmarks.accuracy import accuracy, paired
    from benchmarks.results import interval

    compared = paired.compare(other, record) if other else None
    if args.json:
        sure = record.conditions.get(interval.INTERVALS) or {}
        extra: dict[str, Any] = {"comparison": accuracy.comparison(record), interval.INTERVALS: sure}
        if compared and other:
            extra["against"] = {"record": without_samples(other), **compared.to_dict()}
        print(json.dumps(record.to_dict() | extra, indent=1))
    else:
        print("\n\n".join(filter(None, [text(record), text(other) if other else "", text_of(compared)])))


def measured(args: argparse.Namespace, config: EvalConfig, store: Store) -> Record | None:
    """The stored record of a model, a checkpoint, a file of detections, or an earlier record itself."""
    if args.name is not None and (record := recorded(args.name, store)):
        return record
    record = of_model(args.name, config) if args.predictions is None else of_predictions(args.predictions, config)
    if record is not None:
        from benchmarks.results import same_file

        notices = [*record.parameters["notices"], *filter(None, [same_file.changed(record, store)])]
        store.append(record)
        if config.detail is not None:
            write_page(config.detail)
        for notice in notices:
            print(f"bench: note: {notice}", file=sys.stderr)
    return record


def write_page(folder: Path) -> None:
    """The page beside the data that the evaluation wrote."""
    from benchmarks.reports import detail_page
    from zoo.system.atomic_write import atomic_write

    document = json.loads((folder / "detail.json").read_text(encoding="utf-8"))
    atomic_write(folder / "detail.html", detail_page.page(document))
    print(f"bench: {folder / 'detail.html'} explains the numbers", file=sys.stderr)


def recorded(name: str, store: Store) -> Record | None:
    """The accuracy record whose id begins with `name`; None where `name` does not look like an id."""
    if not re.fullmatch("[0-9a-f]{6,32}", name) or Path(name).exists():
        return None
    record = store.get(name)
    if record.kind != "accuracy" or not record.ok:
        raise UsageError(f"record {name} is of kind '{record.kind}' ({record.status}), not a measured accuracy.")
    return record


def other_target(args: argparse.Namespace) -> argparse.Namespace:
    """The options with what --against names in place of the first model or file."""
    file = Path(args.against)
    is_detections = file.suffix == ".json"
    if is_detections and not file.is_file():
        raise ZooError(f"{file} does not exist, or is not a file.")
    return argparse.Namespace(name=None if is_detections else args.against, predictions=file if is_detections else None)


def without_samples(record: Record) -> dict[str, Any]:
    """A record as plain data, without its replicates."""
    return replace(record, samples={}).to_dict()


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
    from benchmarks.accuracy import accuracy

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
        detail=args.detail,
        title=args.title,
        runtime=args.runtime,
        pythons=dict(key_value(text, "--python") for text in args.python),
    )


def text(record: Record) -> str:
    """The record for people."""
    from tabulate import tabulate

    from benchmarks.accuracy import accuracy
    from benchmarks.accuracy.published_metrics import images_text
    from benchmarks.reports.text_table import format_table

    p = record.parameters
    weights = f"{p['weights']} weights" if p["weights"] == "published" else p["weights"]
    part = images_text(p["images"], p.get("all_images"))
    title = f"{record.model} ({weights}) on {p['dataset']} {p['split']}, {part}, {record.protocol}"
    rows = [(name, points(value), interval_text(record, name)) for name, value in record.metrics.items()]
    parts = [title, tabulate(rows, tablefmt="plain", disable_numparse=True)]
    if compared := [points_text(row) for row in accuracy.comparison(record)]:
        parts.append(format_table(compared))
    return "\n\n".join(parts)


def text_of(compared: Paired | None) -> str:
    """The paired comparison for people."""
    from benchmarks.reports.text_table import format_table

    if compared is None:
        return ""
    if compared.why_not:
        return f"Not compared: {compared.why_not}."
    rows = [
        {
            "metric": one.metric,
            "first (%)": f"{100 * one.first:.2f}",
            "second (%)": f"{100 * one.second:.2f}",
            "difference": f"{100 * one.value:+.2f}",
            "95% interval": f"{100 * one.low:+.2f} to {100 * one.high:+.2f}",
        }
        for one in compared.differences
    ]
    return format_table(rows) + "\n\n" + compared.verdict


def points(value: float) -> str:
    """A metric in percent."""
    return "n/a" if value < 0 else f"{100 * value:.1f} %"


def interval_text(record: Record, metric: str) -> str:
    """A metric's interval in percent; nothing where it has none."""
    from benchmarks.results import interval

    pair = interval.of_record(record, metric)
    return f"95% interval {100 * pair[0]:.1f} to {100 * pair[1]:.1f}" if pair else ""


def points_text(row: dict[str, Any]) -> dict[str, str]:
    """A row of the comparison for people."""
    formats = {"published": "{:.1f}", "measured": "{:.1f}", "difference": "{:+.1f}"}
    texts = {key: "n/a" if value is None else formats.get(key, "{}").format(value) for key, value in row.items()}
    return {f"{key} (%)" if key in formats else key: text for key, text in texts.items()}
