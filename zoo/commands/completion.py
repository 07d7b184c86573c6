"""`zoo completion`: scripts for shells."""

from __future__ import annotations

import argparse

from zoo import completion


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=[*completion.SHELLS, "names"], help="a shell, or `names` for all model names")


def run(args: argparse.Namespace) -> int:
    """Print the script; `source <(zoo completion bash)` switches it on."""
    if args.shell == "names":
        print("\n".join(completion.names()))
        return 0
    from zoo.cli import COMMANDS

    print(completion.script(args.shell, "zoo", COMMANDS), end="")
    return 0
