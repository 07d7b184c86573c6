"""Exported files against their networks, as tables for reports/artifacts.md.

    python -m benchmarks.perf.artifacts agreement [NAME ...]
    python -m benchmarks.perf.artifacts files CHECKPOINT NAME --data DIR --calibrate DIR --out DIR
    python -m benchmarks.perf.artifacts speed CHECKPOINT NAME --data DIR --out DIR [--threads 2]

`agreement` exports one network of each family with random weights that detect something, runs the ONNX, OpenVINO and
torch.export files on generated images at half the published size, and prints how far their detections are from the
network's. `files` exports a checkpoint in every format and precision into a folder, and measures accuracy on a dataset;
`speed` then measures speed, memory and stages of the very same files, each in a process of its own, and prints all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import zoo
from benchmarks.reports import artifacts, markdown, measured, stages
from benchmarks.reports.table import Cell, Table
from benchmarks.results import selection
from benchmarks.results.store import Store
from benchmarks.speed.images import generated
from benchmarks.speed.peers.random_weights import randomize
from zoo.errors import ZooError
from zoo.export import files, runtimes
from zoo.export.difference import difference
from zoo.export.formats import NATIVE
from zoo.manifest import api
from zoo.preprocessing.preprocess import make_preprocessor
from zoo.preprocessing.recipe import Pad, Preprocessing, Resize, Step
from zoo.structures import Sample

FAMILIES = {
    "YOLOX": "yolox_nano_8x8_300e_coco",
    "RetinaNet": "retinanet_r50_fpn_1x_coco",
    "FCOS": "fcos_r50_caffe_fpn_gn-head_1x_coco",
    "ATSS": "atss_r50_fpn_1x_coco",
    "Faster R-CNN": "faster_rcnn_r50_fpn_1x_coco",
    "Mask R-CNN": "mask_rcnn_r50_fpn_1x_coco",
    "Cascade R-CNN": "cascade_rcnn_r50_fpn_1x_coco",
    "DETR": "detr_r50_8x2_150e_coco",
    "SSD": "ssd300_coco",
    "YOLOv3": "yolov3_d53_320_273e_coco",
}
COLUMNS = ("family", "runtime", "detections", "the same", "score", "box", "mask IoU", "MiB", "remark")
SIZES = ((480, 640), (600, 420))
QUICK = ["--set", "min_seconds=8", "--set", "max_seconds=20", "--set", "warmup_seconds=10", "--no-effects"]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    agreement = commands.add_parser("agreement")
    agreement.add_argument("names", nargs="*")
    for name in ("files", "speed"):
        of_files = commands.add_parser(name)
        of_files.add_argument("checkpoint", type=Path)
        of_files.add_argument("name")
        of_files.add_argument("--data", type=Path, required=True)
        of_files.add_argument("--calibrate", type=Path)
        of_files.add_argument("--limit", default="8")
        of_files.add_argument("--threads", default="2")
        of_files.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.command == "agreement":
        chosen = {f: n for f, n in FAMILIES.items() if not args.names or n in args.names or f in args.names}
        print_rows(row for family, name in chosen.items() for row in agreement_rows(family, name))
    elif args.command == "files":
        export_files(args)
    else:
        measure_files(args)


def print_rows(rows: Iterator[dict[str, Cell]]) -> None:
    """A Markdown table, line by line as it comes."""
    print(markdown.line(COLUMNS) + "\n" + markdown.line(["---"] * len(COLUMNS)), flush=True)
    for row in rows:
        print(markdown.line([str(row.get(column, "")) for column in COLUMNS]), flush=True)


def agreement_rows(family: str, name: str) -> Iterator[dict[str, Cell]]:
    """One row for each runtime."""
    torch.manual_seed(0)
    model = zoo.build(name)
    randomize(model)
    model.preprocess = make_preprocessor(half(api.preprocessing(name)))
    samples = [model.preprocess(generated(1, size)[0]) for size in SIZES]
    for runtime, suffix in NATIVE.items():
        try:
            yield {"family": family, "runtime": runtime, **agreed(model, samples, suffix, name)}
        except ZooError as error:
            yield {"family": family, "runtime": runtime, "remark": str(error)}


def agreed(model: Any, samples: Sequence[Sample], suffix: str, name: str) -> dict[str, Cell]:
    """How one file agrees with its network."""
    with tempfile.TemporaryDirectory() as folder:
        file = files.write(model, Path(folder) / f"m{suffix}", samples[0], files.Origin(name))
        detector = runtimes.open_file(file.path)
        free = None in detector.shape[2:]
        usable = [s for s in samples if free or s.image.shape == samples[0].image.shape]
        result = difference(model, detector, usable)
    return {
        "detections": result.detections,
        "the same": f"{result.matched:.1%}",
        "score": f"{result.score:.1e}",
        "box": f"{result.box:.1e}",
        "mask IoU": "" if result.mask is None else f"{result.mask:.3f}",
        "MiB": f"{file.bytes / 2**20:.1f}",
        "remark": "" if free else "one input size",
    }


def half(recipe: Preprocessing) -> Preprocessing:
    """A recipe with half the size of its inputs, unless they are below 600 pixels already."""
    return replace(recipe, steps=tuple(map(half_step, recipe.steps)))


def half_step(step: Step) -> Step:
    """One step with half its size."""
    if isinstance(step, Resize) and step.scale is not None and max(step.scale) > 600:
        return replace(step, scale=(step.scale[0] // 2, step.scale[1] // 2))
    if isinstance(step, Pad) and step.size is not None and max(step.size) > 600:
        return replace(step, size=(step.size[0] // 2, step.size[1] // 2))
    return step


def export_files(args: argparse.Namespace) -> None:
    """Export, and measure accuracies; the network's own too."""
    args.out.mkdir(parents=True, exist_ok=True)
    store = ["--data", str(args.data), "--results", str(args.out / "results.db")]
    bench("accuracy", args.name, "--checkpoint", str(args.checkpoint), *store)
    for options in exports(args):
        command = ["zoo", "export", str(args.checkpoint), "--name", args.name, *options]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=sys.stderr)
    for path, runtime in made(args):
        bench("accuracy", str(path), "--runtime", runtime, *store)


def measure_files(args: argparse.Namespace) -> None:
    """Speed, memory and stages of the files and of the network, and all tables."""
    store = args.out / "results.db"
    common = ["--threads", args.threads, "--results", str(store)]
    common += ["--images", str(images_of(args.data)), "--limit", "16"]
    of_network = [args.name, "--checkpoint", str(args.checkpoint)]
    for words in (of_network, *([str(path), "--runtime", runtime] for path, runtime in made(args))):
        bench("inference", *words, *common, *QUICK)
        bench("inference", *words, *common, "--protocol", "end-to-end", "--set", "min_seconds=4", "--no-effects")
    records = Store(store).select(samples=False)
    plain = [record for record in records if record.protocol != "end-to-end"]
    shown: list[Table] = [artifacts.table(plain), stages.table(records), measured.speed(plain, selection.find)]
    print(markdown.render([*shown, measured.accuracy(plain, selection.find)], "Files"))


def images_of(data: Path) -> Path:
    """The folder of images of a dataset in COCO's layout."""
    return next(path for path in sorted(data.iterdir()) if path.is_dir() and path.name != "annotations")


def exports(args: argparse.Namespace) -> Iterator[list[str]]:
    """Options of `zoo export` for every format and precision."""
    example = ["--images", *map(str, sorted(images_of(args.data).iterdir())[:4])]
    int8 = ["--int8", "--calibrate", str(args.calibrate), "--limit", args.limit]
    folder = args.out
    yield ["--torch-export", str(folder / "fp32.pt2"), *example]
    yield ["--onnx", str(folder / "fp32.onnx"), *example]
    yield ["--openvino", str(folder), *example]
    yield ["--openvino", str(folder), "--fp16", *example]
    yield ["--onnx", str(folder / "int8.onnx"), *int8, *example]
    yield ["--openvino", str(folder), *int8, *example]


def made(args: argparse.Namespace) -> list[tuple[Path, str]]:
    """The files that these options make, and what runs each."""
    stem = args.checkpoint.stem
    files_of_runtimes = {
        "torch": ["fp32.pt2"],
        "onnxruntime": ["fp32.onnx", "int8.onnx"],
        "openvino": [f"{stem}.xml", f"{stem}-fp16.xml", f"{stem}-int8.xml", "fp32.onnx"],
    }
    return [(args.out / name, runtime) for runtime, names in files_of_runtimes.items() for name in names]


def bench(*words: str) -> None:
    """One command of `bench` in a process of its own."""
    subprocess.run([sys.executable, "-m", "benchmarks", *words], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
