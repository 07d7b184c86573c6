"""`bench completion`: scripts for shells; `source <(bench completion bash)` switches one on."""

from __future__ import annotations

import argparse

from zoo.cli import completion
from zoo.cli.completion import configure

__all__ = ["configure", "run"]


def run(args: argparse.Namespace) -> int:
    """Print the script for a shell, or all model names."""
    from benchmarks.cli.main import COMMANDS

    return completion.run(args.shell, "bench", COMMANDS)
