"""argparse with errors of one sentence, which name the nearest command, option or choice."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from zoo.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError where the original prints its usage and exits."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the message and how to see the usage."""
        raise UsageError(f"{message.rstrip('.')}. `{self.prog} --help` shows the usage.")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the original, with the nearest option for one that does not exist."""
        result, unknown = self.parse_known_args(args, namespace)
        if unknown:
            used = self.used(result)
            used.error(unrecognized(unknown, used))
        return result

    def used(self, result: argparse.Namespace) -> argparse.ArgumentParser:
        """The parser of the subcommand that was used, or this one."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                below = action.choices.get(getattr(result, action.dest, None) or "")
                return below.used(result) if isinstance(below, Parser) else self
        return self

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Raise ArgumentError for a value that is not among an action's choices."""
        if action.choices is None or value in action.choices:
            return
        names = list(map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command '{value}'.{nearest(str(value), names)}")
        raise argparse.ArgumentError(action, f"'{value}' is not one of: {', '.join(names)}.{nearest(value, names)}")


def unrecognized(words: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """A sentence about words that no parser takes."""
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    if not options:
        return f"unexpected argument '{words[0]}'."
    known = [name for action in parser._actions for name in action.option_strings]
    return f"unknown option {options[0]}.{nearest(options[0], known)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """` Nearest: ...` with at most three names, or nothing where none is near."""
    near = get_close_matches(str(name), list(names), n=3, cutoff=0.6)
    return f" Nearest: {', '.join(near)}." if near else ""
