"""`zoo convert`: any checkpoint that can be read, as safetensors or as a file of another implementation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.errors import UsageError

SUFFIXES = {
    "safetensors": ".safetensors",
    "detectron2": ".pkl",
    "mmdet": ".pth",
    "torchvision": ".pth",
    "transformers": "",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a checkpoint (.pth, .pkl, .safetensors)")
    text = "output file or folder (default: FILE-TO.SUFFIX)"
    parser.add_argument("target", type=Path, nargs="?", metavar="OUT", help=text)
    help_text = "safetensors (default) keeps parameter names; the others use the names of that implementation"
    parser.add_argument("--to", choices=tuple(SUFFIXES), default="safetensors", help=help_text)
    parser.add_argument("--name", metavar="NAME", help="architecture, if the file does not state it")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Convert, and print the path."""
    suffix = SUFFIXES[args.to]
    target = args.target or default_target(args.file, args.to)
    if suffix and target.suffix != suffix:
        raise UsageError(f"{target} must end in {suffix}.")
    if target.exists() and not args.force:
        raise UsageError(f"{target} exists; --force replaces it.")
    print(written(args, target))
    return 0


def default_target(file: Path, to: str) -> Path:
    """`a-detectron2.pkl` for `a.pth`, `a.safetensors` for the default format, in the file's folder."""
    stem = file.stem if to == "safetensors" else f"{file.stem}-{to}"
    return file.with_name(stem + SUFFIXES[to])


def written(args: argparse.Namespace, target: Path) -> Path:
    """The file in the format that is asked for."""
    if args.to == "safetensors":
        from zoo.checkpoint.to_safetensors import convert

        return convert(args.file, target)
    import zoo
    from zoo.checkpoint.convert.to_peer import write
    from zoo.checkpoint.convert.to_transformers import write_transformers

    if target.exists() and target.samefile(args.file):
        raise UsageError(f"{target} would replace the file that it is made from.")
    model = zoo.load_file(args.file, args.name)
    if args.to == "transformers":
        return write_transformers(model.state_dict(), target, model.classes or (), dilated(model))
    return write(model.state_dict(), args.to, target, type(model.backbone).__name__, model.classes or ())


def dilated(model: Any) -> bool:
    """Whether the last stage of a ResNet is dilated."""
    stage = getattr(model.backbone, "layer4", None)
    convolution = getattr(stage[-1], "conv2", None) if stage is not None else None
    return convolution is not None and convolution.dilation != (1, 1)
