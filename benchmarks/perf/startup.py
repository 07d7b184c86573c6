"""How long commands take to answer, against a bare interpreter; and what a single detection pays for, in parts.

    python -m benchmarks.perf.startup [--repeat N] [--json] [--once [MODEL]]

--once: the parts of a program that detects in one image: starting Python, importing torch, importing this project,
building the network, loading its file, the first detection and a second one. Wanted: at most 1.5 times what torch and
the network itself take. Without it:

Of each command's `--help`, and of the commands that only read files, it prints the least of N times and how many times
a bare interpreter (`python -c pass`) that is. Wanted: at most 10, and no torch (tests/test_commands_start_at_once.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cli.main import COMMANDS as BENCH
from benchmarks.perf.printed import rows_here
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from zoo.cli.main import COMMANDS as ZOO

WANTED = 10.0
SAMPLES = {"latency_s": [0.1, 0.2], "calibration_s": [0.1, 0.1], "detections": [0.0, 1.0, 0.9, 0.0, 0.0, 9.0, 9.0]}


def commands() -> list[tuple[str, ...]]:
    """What is timed, in an order in which each finds the files that it reads."""
    helps = [("zoo", name, "--help") for name in ZOO] + [("benchmarks", name, "--help") for name in BENCH]
    usage = [("zoo", "lst"), ("benchmarks", "accuracy"), ("benchmarks", "accuracy", "retinanet_r50", "--data", "/nope")]
    reading: list[tuple[str, ...]] = [
        ("benchmarks", "baseline", "base.json"),
        ("benchmarks", "check", "base.json"),
        ("benchmarks", "results", "list"),
        ("benchmarks", "report"),
        ("benchmarks", "datasets"),
        ("benchmarks", "completion", "bash"),
    ]
    return [*helps, *usage, *reading]


def seconds(words: Sequence[str], folder: Path, repeat: int) -> float:
    """The least time of several runs of a command."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        subprocess.run(words, cwd=folder, capture_output=True, check=False)
        best = min(best, time.perf_counter() - start)
    return best


def measure(repeat: int) -> list[dict[str, object]]:
    """A row for each command, the slowest first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = Record("retinanet_r50_fpn_1x_coco", "inference", metrics={"parameters": 7}, samples=SAMPLES)
        Store(folder / "results.db").append(record)
        bare = seconds([sys.executable, "-c", "pass"], folder, 3 * repeat)
        times = {words: seconds([sys.executable, "-m", *words], folder, repeat) for words in commands()}
    ordered = sorted(times.items(), key=lambda item: -item[1])
    rows = [{"command": " ".join(w), "ms": round(1000 * s), "ratio": round(s / bare, 1)} for w, s in ordered]
    return [*rows, {"command": "python -c pass", "ms": round(1000 * bare), "ratio": 1.0}]


PROGRAM = """
import json, sys, time
start = time.time()
marks = [("python", start - float(sys.argv[1]))]
def done(name):
    global start
    now = time.time()
    marks.append((name, now - start))
    start = now
import torch
done("import torch")
import zoo, zoo.loading
done("import zoo")
torch.manual_seed(0)
zoo.build(sys.argv[2])
done("build (not part of a program that loads)")
model = zoo.load_file(sys.argv[3], sys.argv[2])
done("load the file")
from benchmarks.speed.images import generated
image = generated(1)[0]
done("make an image (not part of it)")
model.detect([image])
done("first detection")
model.detect([image])
done("second detection")
print(json.dumps(marks))
"""


def once(name: str, repeat: int) -> list[dict[str, object]]:
    """A row for each part of a single detection, the least of several runs, and the ratio that counts."""
    import torch

    import zoo

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pth"
        torch.save(zoo.build(name).state_dict(), file)
        runs = [parts(name, file) for _ in range(repeat)]
    least = {part: min(run[part] for run in runs) for part in runs[0]}
    rows: list[dict[str, object]] = [{"part": part, "ms": round(1000 * s)} for part, s in least.items()]
    whole = sum(seconds for part, seconds in least.items() if "not part" not in part and part != "second detection")
    needed = least["import torch"] + least["second detection"]
    return [*rows, {"part": "whole", "ms": round(1000 * whole)}, {"part": "ratio", "ms": round(whole / needed, 2)}]


def parts(name: str, file: Path) -> dict[str, float]:
    """Seconds of each part in one process. ratio: all that a single detection pays over torch and the network."""
    words = [sys.executable, "-c", PROGRAM, repr(time.time()), name, str(file)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> int:
    """Print the table. Exit status 1 where a command takes longer than wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--once", nargs="?", const="yolox_s_8x8_300e_coco", metavar="MODEL")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.once:
        rows = once(args.once, args.repeat)
        print(rows_here(rows, args.json))
        return 0
    rows = measure(args.repeat)
    print(rows_here(rows, args.json))
    return int(any(float(str(row["ratio"])) > WANTED for row in rows))


if __name__ == "__main__":
    sys.exit(main())
