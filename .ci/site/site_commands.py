"""The reference of the `zoo` and `bench` commands, from their parsers."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping
from unittest import mock

from benchmarks.cli import main as bench
from zoo.cli import main as zoo
from zoo.cli.framework import Command, load_command
from zoo.cli.parser import Parser

PROGRAMS = {"zoo": zoo.COMMANDS, "bench": bench.COMMANDS}
EXIT = """Exit status: 0 for success, 1 if the operation failed, 2 if the command was not used correctly. Results are
written to stdout, progress and errors to stderr. `--manifest FILE`, which adds models of your own, is an option of
every command and not repeated below.
"""


def pages() -> dict[str, str]:
    """A page for each program, by its path on the site."""
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}):
        return {f"reference/{name}.md": page(name, commands) for name, commands in PROGRAMS.items()}


def page(program: str, commands: Mapping[str, Command]) -> str:
    """All commands of a program."""
    lines = [f"# The `{program}` command", "", EXIT, "| command | |", "| --- | --- |"]
    lines += [f"| [`{program} {name}`](#{program}-{name}) | {cell(c.help)} |" for name, c in commands.items()]
    for name, command in commands.items():
        parser = Parser(prog=f"{program} {name}", description=command.help)
        load_command(parser, command)
        lines += ["", *section(parser, 2)]
    return "\n".join(lines) + "\n"


def section(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """One command: usage, arguments, options, then its own subcommands."""
    yield f"{'#' * level} `{parser.prog}` {{ #{parser.prog.replace(' ', '-')} }}"
    yield from ("", sentence(parser.description or ""), "", "```text", usage(parser), "```", "")
    if shown := [action for action in parser._actions if visible(action)]:
        yield from ("| argument or option | meaning |", "| --- | --- |")
        yield from (f"| {spelling(action)} | {cell(meaning(parser, action))} |" for action in shown)
    if parser.epilog:
        yield from ("", parser.epilog)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from ("", *section(below, level + 1))


def visible(action: argparse.Action) -> bool:
    """Whether an action is listed: not the help, not what is hidden, not subcommands."""
    hidden = action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction)
    return not hidden and not {"--help", "--manifest"} & set(action.option_strings)


def usage(parser: argparse.ArgumentParser) -> str:
    """The line of usage, without `--manifest`."""
    lines = parser.format_usage().replace("[--manifest FILE]", "").splitlines()
    return "\n".join(line.rstrip() for line in lines if line.strip())


def spelling(action: argparse.Action) -> str:
    """An argument or an option with its value, as it is typed."""
    formatter = argparse.HelpFormatter("", width=200)
    return f"`{formatter._format_action_invocation(action)}`".replace("|", "\\|")


def meaning(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help of an argument, with its default where it has one that says something."""
    return parser._get_formatter()._expand_help(action) if action.help else ""


def sentence(text: str) -> str:
    """A description as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return re.sub(r"([|*_<>\[\]])", r"\\\1", " ".join(text.split()))
