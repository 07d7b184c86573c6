"""`zoo convert`: any checkpoint that can be read, as safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a checkpoint (.pth, .pkl, .safetensors)")
    parser.add_argument("target", type=Path, metavar="OUT", help="the file to write, OUT.safetensors")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Convert, and print the path."""
    from zoo.checkpoint.to_safetensors import convert

    if args.target.suffix != ".safetensors":
        raise UsageError(f"{args.target} must end in .safetensors.")
    if args.target.exists() and not args.force:
        raise UsageError(f"{args.target} exists; --force replaces it.")
    print(convert(args.file, args.target))
    return 0
