"""`bench compare`: other implementations of the same detector, in the same run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed import image_folder, options
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.peers.names import PEERS
from benchmarks.speed.protocols.table import INTERLEAVED
from zoo.cli.argument_types import key_value, positive
from zoo.errors import UsageError
from zoo.system.device import usable_device

if TYPE_CHECKING:
    from benchmarks.results.record import Record
    from benchmarks.results.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("name", metavar="NAME", help="a model or architecture")
    add("--against", default="torchvision", metavar="LIST", help=f"peers, of {', '.join(PEERS)} (%(default)s)")
    add("--python", action="append", default=[], metavar="PEER=PATH", help="a Python that has PEER")
    add("--weights", metavar="FILE", help="a checkpoint of NAME; each peer gets it under its own names")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the protocol; recorded")
    add("--images", metavar="DIR", help="folder of images; default: generated ones")
    add("--limit", type=positive, metavar="N", help="at most N images")
    add("--device", default="cpu", help="cpu, cuda ... (%(default)s)")
    add("--threads", type=positive, help="PyTorch threads")
    add("--tf32", action="store_true", help="allow TF32 on a GPU, in all implementations")
    add("--training", action="store_true", help="compare training steps instead of inference")
    add("--batch-size", type=positive, default=2, metavar="N", help="images in a training step (2)")
    help_text = "pixels of the training images' shorter side (that of the published size)"
    add("--size", type=positive, metavar="N", help=help_text)
    add("--iterations", type=positive, default=400, metavar="N", help="at most N timed training steps (400)")
    add("--seconds", type=positive, default=600, metavar="S", help="at most S seconds of timed training steps (600)")
    add("--patience", type=positive, default=600, metavar="S", help="seconds to wait for a response of a peer (600)")
    add("--no-memory", action="store_true", help="do not measure peak memory, which takes more processes")
    add("--results", metavar="FILE", help="result store (default: $ZOO_RESULTS, else results.db)")
    add("--json", action="store_true", help="print the records")
    options.configure(parser)


def run(args: argparse.Namespace) -> None:
    """Measure in turns, store and print."""
    from benchmarks.results.store import Store

    settings, store = checked(args), Store(args.results).check()
    if args.training:
        report(args, store, trained(args, settings))
        return
    folder = image_folder.in_folder(args.images, args.limit) if args.images else []
    usable_device(args.device)
    from benchmarks.cli.commands.inference import images_for
    from benchmarks.speed import compare
    from benchmarks.speed.compare_config import CompareConfig

    photos, _ = images_for(args, folder)
    setting = BenchmarkConfig(
        device=args.device,
        threads=args.threads,
        options=options.from_args(args),
        overrides=overrides(args),
        tf32=args.tf32,
    )
    config = CompareConfig(images=photos, setting=setting, memory=not args.no_memory, **settings)
    records = compare.run(config)
    report(args, store, records)


def report(args: argparse.Namespace, store: Store, records: list[Record]) -> None:
    """Store and print."""
    store.extend(records)
    if args.json:
        print(json.dumps([record.to_dict() for record in records], indent=1))
    else:
        show(records)


def trained(args: argparse.Namespace, settings: dict[str, Any]) -> list[Record]:
    """Training iterations of all sides in turns. Raises UsageError for options that only inference has."""
    if args.images or args.limit or args.set:
        raise UsageError("--images, --limit and --set are for inference; --training has generated images.")
    usable_device(args.device)
    from benchmarks.speed.compare_training import TrainingComparison
    from benchmarks.speed.compare_training import run as train

    limits = {
        "batch": args.batch_size,
        "shorter": args.size,
        "iterations": args.iterations,
        "seconds": float(args.seconds),
    }
    return train(TrainingComparison(device=args.device, threads=args.threads, **limits, **settings))


def checked(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a CompareConfig that need no images. Raises UsageError, UnknownModel."""
    from benchmarks.speed.peers.counterparts import NoCounterpart, counterpart
    from benchmarks.speed.targets import known

    against = [peer.strip() for peer in args.against.split(",")]
    for peer in against:
        with suppress(NoCounterpart):
            counterpart(known(args.name), peer)
    INTERLEAVED.parameters(overrides(args))
    pythons = dict(key_value(text, "--python") for text in args.python)
    common = {"name": args.name, "against": against, "pythons": pythons, "patience": float(args.patience)}
    return {**common, "weights": existing(args.weights)}


def overrides(args: argparse.Namespace) -> dict[str, str]:
    """The parameters of the protocol that were set."""
    return dict(key_value(text) for text in args.set)


def existing(file: str | None) -> Path | None:
    """A file that is there."""
    if file is not None and not Path(file).is_file():
        raise UsageError(f"--weights {file} does not exist.")
    return Path(file) if file else None


def show(records: Sequence[Record]) -> None:
    """A table, and below it what each implementation is."""
    from benchmarks.reports.peers import implementation
    from benchmarks.reports.text_table import format_table

    print(format_table([{"implementation": implementation(record), **row(record)} for record in records]))
    for record in records:
        facts = record.parameters
        said = [f"{name} {facts[name]}" for name in ("commit", "command", "remark", "differences") if facts.get(name)]
        if said:
            print(f"{implementation(record)}: {'; '.join(said)}")


def row(record: Record) -> dict[str, object]:
    """One implementation's numbers; a peer that did not run shows what it published, marked as such."""
    if not record.ok:
        number = record.parameters["published"]
        said = f"published {number['fps']:.1f} on {number['hardware']} ({number['source']})" if number else "nothing"
        return {"fps": said, "remark": record.reason}
    m = record.metrics
    if record.kind == "compare training":
        return training_row(record)
    return {
        "version": record.parameters.get("version"),
        "weights": record.parameters.get("weights"),
        "fps": f"{m['fps']:.2f}",
        "p50 ms": f"{m['latency_ms_p50']:.1f}",
        "p90 ms": f"{m['latency_ms_p90']:.1f}",
        "speed against ours": against_ours(m),
        "peak MiB": peak(m),
        "found again": f"{m['matched']:.1%} of {m['detections']}",
        "score difference": f"{m['score_difference']:.2g}",
    }


def peak(metrics: Mapping[str, float]) -> str | None:
    """Peak memory: of a GPU's tensors, else of the process."""
    mib = metrics.get("cuda_allocated_mib", metrics.get("resident_peak_mib"))
    return None if mib is None else f"{mib:.0f}"


def against_ours(metrics: Mapping[str, float], name: str = "speedup") -> str:
    """The ratio with its interval, or that there is none."""
    if name not in metrics:
        return "not the same work"
    return f"{metrics[name]:.2f} ({metrics[f'{name}_low']:.2f} to {metrics[f'{name}_high']:.2f})"


def training_row(record: Record) -> dict[str, object]:
    """One implementation's training."""
    m = record.metrics
    gap = m["loss_difference"]
    return {
        "version": record.parameters.get("version"),
        "s/iteration": f"{m['iteration_s']:.3f} ({m['iteration_s_low']:.3f} to {m['iteration_s_high']:.3f})",
        "images/s": f"{m['images_per_second']:.2f}",
        "iterations": m["iterations"],
        "speed against ours": against_ours(m),
        "CPU s": None if "cpu_s" not in m else f"{m['cpu_s']:.2f}",
        "CPU time against ours": against_ours(m, "cpu_speedup") if "cpu_s" in m else None,
        "peak MiB": peak(m),
        "loss difference": "other losses" if gap is None else f"{gap:.1e}",
    }
