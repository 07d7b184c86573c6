"""Accuracy and latency of several models on your data, as a table in Markdown.

    python examples/compare_models.py retinanet_r50 yolox_s_8x8_300e_coco --data data/coco --device cuda

The latency is a plain median over a few images, good enough for a choice. `bench inference` measures it under a
protocol, with its interval, memory and everything that a report needs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

import zoo
from benchmarks.accuracy import accuracy
from benchmarks.accuracy.config import EvalConfig

SUFFIXES = {".jpg", ".jpeg", ".png"}


def latency_ms(name: str, images: list[Path], device: str) -> float:
    """The median time of `model.detect` on one image, preprocessing included, in milliseconds."""
    model = zoo.load(name, device=device)
    model.detect(images[:1])  # the first call allocates
    times = []
    for image in images:
        start = time.perf_counter()
        model.detect([image])  # its results are on the CPU, so a GPU has finished when it returns
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare models on a dataset.")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder in the layout that `bench datasets` shows")
    parser.add_argument("--dataset", help="default: the one that each model was published for")
    parser.add_argument("--limit", type=int, help="evaluate the first images only")
    parser.add_argument("--timed", type=int, default=8, help="images to time (%(default)s)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    images = sorted(path for path in args.data.rglob("*") if path.suffix.lower() in SUFFIXES)[: args.timed]
    if not images:
        sys.exit(f"compare_models.py: there are no images below {args.data}")
    print(f"{torch.__version__}, {torch.get_num_threads()} threads, {args.device}\n")
    print("| model | box AP | published | ms |\n| --- | ---: | ---: | ---: |")
    for name in args.models:
        setting = EvalConfig(data=args.data, dataset=args.dataset, limit=args.limit, device=args.device)
        record = accuracy.evaluate(name, setting, progress=False)
        assert record is not None  # it is None on other processes than the first under torchrun
        published = zoo.get(name).metric("box_ap")
        measured, latency = record.metrics["box_ap"], latency_ms(name, images, args.device)
        print(f"| {name} | {measured:.1%} | {f'{published}%' if published else ''} | {latency:.0f} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except zoo.ZooError as error:
        sys.exit(f"compare_models.py: {error}")
