"""The `zoo` command: a list of its subcommands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zoo.cli import framework
from zoo.cli.framework import Command

COMMANDS: dict[str, Command] = {
    "list": Command("zoo.cli.commands.list_models", "List models, networks, recipes, datasets, training logs."),
    # These two read measurements, so they live with the harness; imported, like all of them, only when used.
    "recommend": Command("benchmarks.cli.commands.recommend", "List the Pareto-best models under constraints."),
    "show": Command("benchmarks.cli.commands.show", "Show everything about one model, network or recipe."),
    "build": Command("zoo.cli.commands.build", "Build a network with random weights and show its parts."),
    "export": Command("zoo.cli.commands.export", "Export a network to ONNX or torch.export, and check it."),
    "fetch": Command("zoo.cli.commands.fetch", "Download checkpoints, training logs or backbones, verified."),
    "cache": Command("zoo.cli.commands.cache", "List, verify and prune the local cache."),
    "lock": Command("zoo.cli.commands.lock", "Write full hashes into a lock file that a team commits."),
    "mirror": Command("zoo.cli.commands.mirror", "Create a mirror of verified files for any static server."),
    "mirrors": Command("zoo.cli.commands.mirrors", "List mirrors, and check what each still serves."),
    "sources": Command("zoo.cli.commands.sources", "Show which hosts should have a model's weights, and licenses."),
    "inspect": Command("zoo.cli.commands.inspect", "Show the contents of a checkpoint file, executing nothing."),
    "convert": Command("zoo.cli.commands.convert", "Convert a checkpoint to safetensors or another project's names."),
    "convert-data": Command("zoo.cli.commands.convert_data", "Convert annotations between COCO, YOLO and VOC."),
    "detect": Command("zoo.cli.commands.detect", "Run a model on images: boxes, drawings, COCO results."),
    "train": Command("zoo.cli.commands.train", "Train or fine-tune a detector on a folder in COCO's format."),
    "completion": Command("zoo.cli.commands.completion", "Print a completion script for bash, zsh or fish."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `zoo`."""
    return framework.main("zoo", "Find, fetch, load and run the models of the zoo.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
