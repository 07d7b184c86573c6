"""The `zoo` command: a list of its subcommands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zoo import commandline
from zoo.commandline import Command

COMMANDS: dict[str, Command] = {}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `zoo`."""
    return commandline.main("zoo", "Find, fetch, load and run the models of the zoo.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
