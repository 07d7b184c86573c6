"""`zoo build`: whether a network can be built here, and what it is made of."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import zoo
from zoo.cli.argument_types import positive
from zoo.cli.checkpoint_files import means_file
from zoo.manifest import api

if TYPE_CHECKING:
    from torch import nn


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="a model, an alias or an architecture, or a checkpoint file")
    parser.add_argument(
        "--depth", type=positive, default=2, metavar="N", help="levels of modules to show (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Build the network with random weights and print its parts. Raises UnknownModel, BuildError."""
    from tabulate import tabulate

    rows = parts(build(args.name), args.depth)
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        print(tabulate(rows, headers="keys", intfmt=","))


def build(name: str) -> nn.Module:
    """The network of a name, or the one that a checkpoint file's own configuration describes."""
    if not means_file(name):
        api.architecture_name(name)  # before torch is imported
        return zoo.build(name)
    from zoo.checkpoint import read
    from zoo.loading import build_from_meta, sizes_of

    checkpoint = read(name)
    return build_from_meta(checkpoint.meta, sizes_of(checkpoint))


def parts(network: nn.Module, depth: int) -> list[dict[str, Any]]:
    """One row per part of at most `depth` levels: its name, its class, its parameters; the whole network first.

    Parts without parameters are left out.
    """
    rows = []
    for name, module in network.named_modules():
        count = sum(parameter.numel() for parameter in module.parameters())
        if count and name.count(".") + bool(name) <= depth:
            rows.append({"part": name or "(all)", "type": type(module).__name__, "parameters": count})
    return rows
