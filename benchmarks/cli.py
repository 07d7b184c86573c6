"""The `bench` command: a list of its subcommands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zoo import commandline
from zoo.commandline import Command

COMMANDS: dict[str, Command] = {
    "accuracy": Command("benchmarks.commands.accuracy", "measure the accuracy of a model on a data set"),
    "baseline": Command("benchmarks.commands.baseline", "write what later measurements are compared with"),
    "check": Command("benchmarks.commands.check", "fail when accuracy, size or speed is worse than a baseline"),
    "completion": Command("benchmarks.commands.completion", "print a completion script for bash, zsh or fish"),
    "compare": Command("benchmarks.commands.compare", "measure other implementations of a detector in the same run"),
    "datasets": Command("benchmarks.commands.datasets", "list data sets and their layouts, check a folder"),
    "demo": Command("benchmarks.commands.demo", "fetch three small detectors, reproduce their AP, report"),
    "inference": Command("benchmarks.commands.inference", "measure speed, latency, memory and size"),
    "logs": Command("benchmarks.commands.logs", "summarise and plot training logs of this or other projects"),
    "parity": Command("benchmarks.commands.parity", "compare networks with recorded results of the reference"),
    "report": Command("benchmarks.commands.report", "write tables from records: published beside measured"),
    "results": Command("benchmarks.commands.results", "list, show, export and merge result records"),
    "sweep": Command("benchmarks.commands.sweep", "run a benchmark over many models, resumably"),
    "training": Command("benchmarks.commands.training", "measure training speed and memory"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `bench`."""
    return commandline.main("bench", "Measure accuracy, speed and memory, and report them.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
