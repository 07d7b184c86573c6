"""What the `zoo` and `bench` commands share: subcommands loaded on demand, errors as one sentence.

A command is a module with `configure(parser)`, which declares its options, and `run(args) -> int | None`, which turns
them into one call of the library and prints the result. Only the module of the command in use is imported, so
`zoo list` never pays for torch.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

import zoo
from zoo import settings
from zoo.cli.parser import Parser
from zoo.errors import ZooError
from zoo.system.allocator import keep_memory
from zoo.text import printable

MANIFEST = "manifest file with additional models (may be repeated)"


class Command(NamedTuple):
    """Where a subcommand lives and what it does, in one line."""

    module: str
    help: str


class _UseManifest(argparse.Action):
    """Reads a manifest file as soon as its name is seen; names that follow and precede it may be defined there."""

    def __call__(self, parser: object, namespace: object, values: object, option_string: object = None) -> None:
        from zoo.manifest.api import use

        use(str(values))


def main(program: str, description: str, commands: Mapping[str, Command], argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns the exit status: 0, 1 for a failed operation, 2 for misuse.

    argv: None takes those of the process, which then is the command's own, so that it may keep memory.
    """
    if argv is None and not settings.returns_memory():
        keep_memory()
    argv = list(sys.argv[1:] if argv is None else argv)
    if reopen_streams():
        print(f"{program}: stdout is closed, there is nowhere to write to.", file=sys.stderr)
        return 1
    escape_foreign_letters()
    try:
        args = build_parser(program, description, commands, argv).parse_args(argv)
        status = args.run(args) or 0
        sys.stdout.flush()
        return status
    except ZooError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone; there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a full disk, a folder that may only be read, and the like
        said = f"{error.filename or 'a file or socket'}: {error.strerror or error}."
        print(f"{program}: {printable(said)}", file=sys.stderr)
        return 1


def escape_foreign_letters() -> None:
    """Show letters that the output's encoding lacks, and lone surrogates, escaped; they would end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def reopen_streams() -> bool:
    """Give closed standard streams the null device, whose numbers other files would get. Whether stdout was closed."""
    closed = sys.stdout is None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # for the whole process
    return closed


def build_parser(
    program: str, description: str, commands: Mapping[str, Command], argv: Sequence[str]
) -> argparse.ArgumentParser:
    """A parser that knows every subcommand by name, and the options of the one that `argv` uses."""
    parser = Parser(prog=program, description=description, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{program} {zoo.__version__}")
    parser.add_argument("--manifest", metavar="FILE", action=_UseManifest, default=argparse.SUPPRESS, help=MANIFEST)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = command_of(argv)
    for name, command in commands.items():
        sub = subparsers.add_parser(name, help=command.help, description=command.help)
        if name == wanted:
            load_command(sub, command)
    return parser


def command_of(argv: Sequence[str]) -> str | None:
    """The first word that is neither an option nor the value of one."""
    words = iter(argv)
    for word in words:
        if word == "--manifest":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def load_command(parser: argparse.ArgumentParser, command: Command) -> None:
    """Import a command's module and let it declare its options on `parser`."""
    module = import_module(command.module)
    module.configure(parser)
    add_manifest_option(parser)
    parser.set_defaults(run=module.run)


def add_manifest_option(parser: argparse.ArgumentParser) -> None:
    """`--manifest`, behind the command's name and behind those of its own subcommands."""
    parser.add_argument("--manifest", metavar="FILE", action=_UseManifest, default=argparse.SUPPRESS, help=MANIFEST)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                add_manifest_option(inner)
