"""The `zoo` command: a list of its subcommands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zoo import commandline
from zoo.commandline import Command

COMMANDS: dict[str, Command] = {
    "list": Command("zoo.commands.list_models", "List models, networks, recipes, data sets, training logs."),
    "show": Command("zoo.commands.show", "Show everything about one model, network or recipe."),
    "completion": Command("zoo.commands.completion", "Print a completion script for bash, zsh or fish."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `zoo`."""
    return commandline.main("zoo", "Find, fetch, load and run the models of the zoo.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
