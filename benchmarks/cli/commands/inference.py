"""`bench inference`: speed, memory and size."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed import image_folder, options, protocols
from benchmarks.speed.config import AUTO, BenchmarkConfig
from zoo.cli.argument_types import key_value, positive
from zoo.errors import UsageError, ZooError
from zoo.export.formats import RUNTIMES
from zoo.system.device import usable_device

if TYPE_CHECKING:
    from benchmarks.results.record import Record
    from benchmarks.results.store import Store
    from benchmarks.speed.targets import Target
    from benchmarks.speed.workload import ImageSource

GENERATED = 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        metavar="NAME",
        help="models, checkpoint files, files of `zoo export`, or PEER:MODEL of another project; default: all in the "
        "local cache, else two with random weights",
    )
    add("--protocol", default=protocols.DEFAULT, help=f"one of {', '.join(protocols.PROTOCOLS)} (%(default)s)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the protocol; recorded")
    add("--images", metavar="DIR", help="folder of images; default: generated ones")
    add("--limit", type=positive, metavar="N", help=f"at most N images (generated: {GENERATED})")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 ... (%(default)s)")
    add("--batch-size", type=positive, default=1, metavar="N", help="images per call (%(default)s)")
    add("--threads", type=positive, help="threads of the runtime")
    add("--repeat", type=positive, default=1, metavar="N", help="run the protocol N times (%(default)s)")
    add("--checkpoint", metavar="FILE", help="your own weights, for one NAME or for the network that the file states")
    add("--random-weights", action="store_true", help="use random weights; post-processing is then not representative")
    add("--tf32", action="store_true", help="allow TF32 on a GPU; accuracies are measured without it")
    add("--no-effects", action="store_true", help="do not compare options with the plain network")
    add("--roofline", action="store_true", help="show the share of the machine's limit, and the layers that lose most")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    kinds = (*RUNTIMES, AUTO)
    add("--runtime", choices=kinds, help="runtime (networks: torch, files: by format); auto: the fastest on a CPU")
    add("--python", action="append", default=[], metavar="PEER=PATH", help="a Python that has PEER, for PEER:MODEL")
    add("--json", action="store_true", help="print the records")
    options.configure(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, store and print. Exit status 1 if any of several networks failed."""
    from benchmarks.results.store import Store

    setting, store = setting_of(args), Store(args.results).check()
    protocols.get(setting.protocol).parameters(setting.overrides)
    chosen = chosen_by(args)
    folder = image_folder.in_folder(args.images, args.limit) if args.images else []
    usable_device(args.device)
    photos, source = images_for(args, folder)
    records = [stored(measure(target, photos, setting, source), store) for target in progress(chosen)]
    show(records, args.json)
    return int(any(not record.ok for record in records))


def stored(record: Record, store: Store) -> Record:
    """The record, after a note where its file is not the one that was measured before."""
    from benchmarks.results import same_file

    if note := same_file.changed(record, store):
        print(f"bench: note: {note}", file=sys.stderr)
    return store.append(record)


def chosen_by(args: argparse.Namespace) -> list[Target]:
    """The networks, files and detectors of other projects that the options name."""
    from benchmarks.speed import foreign, runtimes

    pythons = dict(key_value(text, "--python") for text in args.python)
    others = [name for name in args.names if foreign.means_foreign(name)]
    result = [foreign.target(name, pythons, args.threads, args.device) for name in others]
    names = [name for name in args.names if name not in others]
    if others and not names:
        return result
    own = runtimes.choose(names, args.checkpoint, args.random_weights, args.runtime, args.threads, args.device)
    return result + own


def measure(target: Target, photos: Sequence[ImageSource], setting: BenchmarkConfig, source: str) -> Record:
    """The record of one network; a failed one if it does not load or run."""
    facts = {"weights": target.weights, "images": source, **target.parameters}
    from benchmarks.results.record import unmeasured
    from benchmarks.speed import foreign, inference

    try:
        if foreign.means_foreign(target.name):
            return foreign.measure(target, photos, setting, {"images": source})
        model = target.load()
        facts |= target.parameters  # the fastest runtime is known now
        return inference.measure(model, target.name, photos, setting, facts, **target.facts)
    except UsageError:
        raise
    except (ZooError, RuntimeError, ValueError, NotImplementedError) as error:
        print(f"bench: {target.name}: {error}", file=sys.stderr)
        return unmeasured(target.name, "inference", error, protocol=setting.protocol, parameters=facts)


def setting_of(args: argparse.Namespace) -> BenchmarkConfig:
    """The measurement that the options describe."""
    return BenchmarkConfig(
        protocol=args.protocol,
        device=args.device,
        batch=args.batch_size,
        repeat=args.repeat,
        threads=args.threads,
        options=options.from_args(args),
        overrides=dict(key_value(text) for text in args.set),
        effects=not args.no_effects,
        tf32=args.tf32,
        roofline=args.roofline,
    )


def progress(chosen: Sequence[Target]) -> Iterable[Target]:
    """The networks, with a bar on a terminal."""
    from tqdm import tqdm

    return tqdm(chosen, unit="model", disable=None)


def images_for(args: argparse.Namespace, folder: Sequence[Path]) -> tuple[Sequence[ImageSource], str]:
    """The images of the folder, or generated ones, and a word about them for the record."""
    if folder:
        return folder, f"{len(folder)} from {args.images}"
    from benchmarks.speed import images

    count = args.limit or GENERATED
    return images.generated(count), f"{count} generated"


def show(records: Sequence[Record], as_json: bool) -> None:
    """Records as JSON, or a table."""
    if as_json:
        print(json.dumps([record.to_dict() for record in records], indent=1))
        return
    from benchmarks.reports import stages
    from benchmarks.reports.text_table import format_table
    from benchmarks.speed.roofline.text import described

    print(format_table([row(record) for record in records]))
    for record in records:
        if line := stages.sentence(record):
            print(line)
        for name, effect in record.metrics.get("effects", {}).items():
            print(effect_line(record.model, name, effect))
        if "limit" in record.metrics:
            print("\n".join(described(record.metrics["limit"], peak(record.metrics))))


def row(record: Record) -> dict[str, object]:
    """One line of the table; a record without a measurement gives its reason."""
    if not record.ok:
        return {"model": record.model, "status": f"{record.status}: {record.reason}"}
    m = record.metrics
    return {
        "model": record.model,
        "weights": record.parameters["weights"],
        "options": ", ".join(record.parameters.get("options", {})),
        "fps": f"{m['fps']:.2f}",
        "p50 ms": number(m.get("latency_ms_p50")),
        "p99 ms": number(m.get("latency_ms_p99")),
        "peak MiB": number(peak(m)),
        "params M": f"{m['parameters'] / 1e6:.2f}" if "parameters" in m else "",
        "GFLOPs": f"{m['flops'] / 1e9:.1f}" if "flops" in m else "",
        "status": "ok",
    }


def peak(metrics: Mapping[str, Any]) -> float | None:
    """Peak memory, MiB."""
    value: float | None = metrics.get("cuda_allocated_mib", metrics.get("resident_peak_mib"))
    return value


def number(value: float | None) -> str:
    """One decimal, or nothing where nothing was measured."""
    return "" if value is None else f"{value:.1f}"


def effect_line(model: str, name: str, effect: dict[str, float]) -> str:
    """What an option does to speed and to detections."""
    interval = f"{effect['speedup_low']:.2f} to {effect['speedup_high']:.2f}"
    return (
        f"{model}, {name}: {effect['speedup']:.2f} times as fast ({interval}); {effect['matched']:.1%} of "
        f"{effect['detections']} detections found again, largest score difference {effect['score_difference']:.2g}"
    )
