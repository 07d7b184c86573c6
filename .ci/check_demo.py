"""Hold the demonstration's models to what they could do: accuracy, detections and sizes, on any machine.

    python .ci/check_demo.py [--junit FILE]    # exit status 1 on a regression
    python .ci/check_demo.py --update          # write .ci/demo_baseline.json anew, after a change that is meant

Times are not in the baseline: machines of continuous integration differ. Everything is done by the commands that users
have: `bench accuracy`, `bench inference`, `bench baseline`, `bench check`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.cli import main as cli
from benchmarks.datasets import demo
from zoo.manifest import api

BASELINE = Path(__file__).resolve().parent / "demo_baseline.json"
# One pass is enough for detections and sizes.
QUICK = [f"--set={pair}" for pair in ("min_iterations=1", "min_seconds=0", "warmup_seconds=0", "loaded=1")]
# Other processors round differently: what may change without anything being wrong. AP is a share from 0 to 1.
TOLERANCES = ["--accuracy", "0.002", "--score", "0.001", "--box", "0.1"]


def measure(folder: str) -> str:
    """Measure every model of the demonstration that has weights. Returns the result store's name."""
    os.chdir(folder)  # records name the folder of the images, which must be the same everywhere
    data, store = demo.write("data", {"val": demo.SPLITS["val"]}), "results.db"
    for name in api.list_models(family="demo"):
        bench("accuracy", name, "--data", str(data), "--results", store)
        bench("inference", name, "--images", f"{data}/val", "--limit", "4", "--results", store, *QUICK)
    return store


def bench(*words: str) -> None:
    """Run a command that must succeed."""
    if status := cli.main(list(words)):
        sys.exit(status)


def main() -> int:
    """Measure, then check or update."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--junit", metavar="FILE")
    args = parser.parse_args()
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        store = measure(folder)
        if args.update:
            return cli.main(["baseline", str(BASELINE), "--results", store, "--without-times", *TOLERANCES])
        junit = ["--junit", str(start / args.junit)] if args.junit else []
        return cli.main(["check", str(BASELINE), "--results", store, *junit])


if __name__ == "__main__":
    sys.exit(main())
