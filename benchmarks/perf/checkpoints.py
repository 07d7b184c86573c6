"""Reading a checkpoint of 170 MB against `torch.load`, and from the fast copy in the cache.

    python -m benchmarks.perf.checkpoints [--rounds 7] [--json]

The peers take turns, so that a busy machine disturbs all of them alike; compared are the medians. The file is in the
page cache. The fast copy is mapped into memory and read when it is used, so both are also timed with a number on every
page used once. Goals: at most 1.2 times `torch.load`; the fast copy at least 5 times faster than reading the file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torchvision.models import resnet101

from benchmarks.perf.printed import numbers
from zoo.checkpoint import Checkpoint, read
from zoo.checkpoint.read import read_file
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile


def main() -> None:
    """Measure, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZOO_CACHE"] = str(Path(folder) / "cache")
        result = measure(Path(folder), args.rounds)
    print(numbers(result, args.json, width=32))


def measure(folder: Path, rounds: int) -> dict[str, object]:
    """Median seconds of each way, and their ratios."""
    result: dict[str, object] = {}
    for kind in ("legacy", "zip"):
        path = published(folder, kind)
        read(path)  # makes the fast copy
        ways: dict[str, Callable[[], object]] = {
            "torch.load": lambda path=path: torch.load(path, weights_only=False),  # type: ignore[misc]
            "zoo": lambda path=path: read_file(path),  # type: ignore[misc]
            "zoo, used": lambda path=path: use(read_file(path)),  # type: ignore[misc]
            "fast copy": lambda path=path: read(path),  # type: ignore[misc]
            "fast copy, used": lambda path=path: use(read(path)),  # type: ignore[misc]
        }
        times = {name: median(values) for name, values in interleaved(ways, rounds).items()}
        result |= {f"{kind}: {name}, seconds": round(value, 4) for name, value in times.items()}
        result[f"{kind}: zoo / torch.load"] = round(times["zoo"] / times["torch.load"], 2)
        result[f"{kind}: zoo / fast copy"] = round(times["zoo"] / times["fast copy"], 1)
        result[f"{kind}: the same, used"] = round(times["zoo, used"] / times["fast copy, used"], 1)
    return result


def use(checkpoint: Checkpoint) -> float:
    """Look at a number on every page of 4 KiB."""
    return sum(float(tensor.flatten()[::1024].sum()) for tensor in checkpoint.state_dict.values())


def published(folder: Path, kind: str) -> Path:
    """A file of 170 MB as the reference's publishing script writes it, in the cache."""
    source = folder / f"{kind}.pth"
    content = {"meta": {"CLASSES": ("cat",)}, "state_dict": resnet101().state_dict()}
    torch.save(content, source, _use_new_zipfile_serialization=kind == "zip")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    return obtain(RemoteFile(f"models/{kind}.pth", (source.as_uri(),), digest))


def interleaved(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, taking turns; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main()
