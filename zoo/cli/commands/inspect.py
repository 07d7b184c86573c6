"""`zoo inspect`: what a checkpoint file holds, without loading its tensors and without running anything it says."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.text import printable

if TYPE_CHECKING:
    from zoo.checkpoint.inspect import Inspection

MAX_TEXT = 4 * 2**20
"""Characters of a configuration that are printed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a checkpoint (.pth, .pkl, .safetensors)")
    parser.add_argument("--keys", action="store_true", help="also list every tensor with its shape and type")
    parser.add_argument("--config", action="store_true", help="print only the stored configuration")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is in the file."""
    from zoo.checkpoint.inspect import inspect

    result = inspect(args.file)
    if args.json:
        print(json.dumps(result.as_json(), indent=1))
    elif args.config:
        print(printable(result.config or "", limit=MAX_TEXT, keep="\n\t"))
    else:
        shown = lines(result) + (keys(result) if args.keys else [])
        print(*(printable(line) for line in shown), sep="\n")
    return 0


def lines(result: Inspection) -> list[str]:
    """The facts, one a line."""
    kinds = Counter(dtype for _, _, dtype in result.tensors)
    classes, config = result.classes or [], (result.config or "").splitlines()
    facts = {
        "file": result.path,
        "format": result.format,
        "tensors": f"{len(result.tensors)}, {result.nbytes / 2**20:.1f} MiB",
        "types": ", ".join(f"{count} {dtype}" for dtype, count in kinds.most_common()),
        "parts": ", ".join(f"{name} ({count})" for name, count in parts(result).items()),
        "MMDetection": result.version,
        "classes": f"{len(classes)}: {', '.join(classes[:8])}{', ...' * (len(classes) > 8)}" if classes else None,
        "configuration": f"{len(config)} lines (--config prints it)" if config else None,
        "metadata": ", ".join(result.meta) or "none",
    }
    return [f"{label:14} {value}" for label, value in facts.items() if value is not None]


def parts(result: Inspection) -> dict[str, int]:
    """How many tensors each top-level part of the network has."""
    return dict(Counter(name.partition(".")[0] for name, _, _ in result.tensors))


def keys(result: Inspection) -> list[str]:
    """Every tensor."""
    width = max((len(name) for name, _, _ in result.tensors), default=0)
    return [f"{name:{width}}  {dtype:8} {list(shape)}" for name, shape, dtype in result.tensors]
