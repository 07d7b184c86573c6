"""The `bench` command: a list of its subcommands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zoo.cli import framework
from zoo.cli.framework import Command

COMMANDS: dict[str, Command] = {
    "accuracy": Command("benchmarks.cli.commands.accuracy", "measure the accuracy of a model on a dataset"),
    "baseline": Command("benchmarks.cli.commands.baseline", "write a baseline for later measurements"),
    "browse": Command("benchmarks.cli.commands.browse", "draw the ground truth of a dataset on its images"),
    "check": Command("benchmarks.cli.commands.check", "fail when accuracy, size or speed is worse than a baseline"),
    "completion": Command("benchmarks.cli.commands.completion", "print a completion script for bash, zsh or fish"),
    "compare": Command(
        "benchmarks.cli.commands.compare", "measure other implementations of a detector in the same run"
    ),
    "datasets": Command("benchmarks.cli.commands.datasets", "list datasets and their layouts, check a folder"),
    "demo": Command("benchmarks.cli.commands.demo", "fetch three small detectors, reproduce their AP, report"),
    "doctor": Command("benchmarks.cli.commands.doctor", "explain an unexpected accuracy"),
    "gpu-check": Command("benchmarks.cli.commands.gpu_check", "run all checks that need a GPU, and report them"),
    "inference": Command("benchmarks.cli.commands.inference", "measure speed, latency, memory and size"),
    "logs": Command("benchmarks.cli.commands.logs", "summarize and plot training logs of this or other projects"),
    "parity": Command("benchmarks.cli.commands.parity", "compare networks with recorded results of the reference"),
    "report": Command("benchmarks.cli.commands.report", "write tables from records: published beside measured"),
    "results": Command("benchmarks.cli.commands.results", "list, show, export and merge result records"),
    "sweep": Command("benchmarks.cli.commands.sweep", "run a benchmark over many models, resumably"),
    "training": Command("benchmarks.cli.commands.training", "measure training speed and memory"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `bench`."""
    return framework.main("bench", "Measure accuracy, speed and memory, and report them.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
