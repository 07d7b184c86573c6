"""Completion scripts for shells, from the tables of commands and their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from zoo.cli.framework import Command, load_command
from zoo.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish")

_BASH = """# {program} completion for bash: source <({program} completion bash)
_{program}_complete() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then words="{commands}"; else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
        if [ "${{word#-}}" = "$word" ]; then words="$words $({program} completion names 2>/dev/null)"; fi
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [ ${{#COMPREPLY[@]}} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -F _{program}_complete {program}
"""

_ZSH = """#compdef {program}
# {program} completion for zsh: source <({program} completion zsh)
autoload -U +X compinit && compinit -u
autoload -U +X bashcompinit && bashcompinit
"""


def script(shell: str, program: str, commands: Mapping[str, Command]) -> str:
    """The script that makes `shell` complete commands, options, model names and, failing those, files."""
    words = {name: command_words(command) for name, command in commands.items()}
    if shell == "fish":
        return fish(program, commands, words)
    cases = "\n".join(f'        {name}) words="{" ".join(own)}" ;;' for name, own in words.items())
    bash = _BASH.format(program=program, commands=" ".join(commands), cases=cases)
    return bash if shell == "bash" else _ZSH.format(program=program) + bash.split("\n", 1)[1]


def command_words(command: Command) -> list[str]:
    """Every long option and every fixed word, such as a subcommand, that a command takes."""
    parser = Parser()
    load_command(parser, command)
    return sorted(set(parser_words(parser)))


def parser_words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The long options and choices of a parser and of those below it."""
    for action in parser._actions:
        yield from (word for word in action.option_strings if word.startswith("--"))
        yield from map(str, action.choices or ())
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parser_words(below)


def fish(program: str, commands: Mapping[str, Command], words: Mapping[str, list[str]]) -> str:
    """The script in fish's own language."""
    first = f"complete -c {program} -n __fish_use_subcommand"
    lines = [f"# {program} completion for fish: {program} completion fish | source", f"complete -c {program} -f"]
    lines += [f'{first} -a {name} -d "{command.help}"' for name, command in commands.items()]
    for name, own in words.items():
        within = f'complete -c {program} -n "__fish_seen_subcommand_from {name}"'
        lines += [f"{within} -l {word[2:]}" if word.startswith("--") else f"{within} -a {word}" for word in own]
    rest = f'complete -c {program} -n "not __fish_use_subcommand"'
    lines += [f'{rest} -a "({program} completion names 2>/dev/null) (__fish_complete_path)"']
    return "\n".join(lines) + "\n"


def names() -> list[str]:
    """Every name that a command takes for a model."""
    from zoo.manifest import api

    return sorted([*api.catalog().models, *api.catalog().aliases])


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a `completion` command."""
    parser.add_argument("shell", choices=[*SHELLS, "names"], help="a shell, or `names` for all model names")


def run(shell: str, program: str, commands: Mapping[str, Command]) -> int:
    """Print what a `completion` command was asked for."""
    print("\n".join(names()) if shell == "names" else script(shell, program, commands).rstrip())
    return 0
