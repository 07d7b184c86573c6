"""Completion scripts for shells, from the tables of commands and their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from zoo.cli.framework import Command, load_command
from zoo.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish")
LISTED = {"--family": "families", "--task": "tasks", "--dataset": "datasets", "--origin": "origins"}
"""Options whose values come from the manifests: option -> the word that makes `completion` print them."""
DEVICES = "cpu cuda cuda:0 cuda:1"

_BASH = """# {program} completion for bash: source <({program} completion bash)
_{program}_complete() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then words="{commands}"; else
        case "${{COMP_WORDS[1]}} $before" in
{values}
            *) words="" ;;
        esac
        if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word")); return; fi
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
    parsers = {name: command_parser(command) for name, command in commands.items()}
    words = {name: command_words(parser) for name, parser in parsers.items()}
    values = {name: dict(command_values(parser)) for name, parser in parsers.items()}
    if shell == "fish":
        return fish(program, commands, words, values)
    cases = "\n".join(f'        {name}) words="{" ".join(own)}" ;;' for name, own in words.items())
    bash = _BASH.format(program=program, commands=" ".join(commands), cases=cases, values=value_cases(program, values))
    return bash if shell == "bash" else _ZSH.format(program=program) + bash.split("\n", 1)[1]


def value_cases(program: str, values: Mapping[str, Mapping[str, str]]) -> str:
    """The lines of bash that complete the value of an option, for each command and option."""
    lines = [
        f'            "{name} {option}") words="{words.format(program=program)}" ;;'
        for name, options in values.items()
        for option, words in options.items()
    ]
    return "\n".join(lines)


def command_parser(command: Command) -> Parser:
    """The parser of a command's options."""
    parser = Parser()
    load_command(parser, command)
    return parser


def command_values(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """Each option of a command whose values are known, with them, or with the command that prints them."""
    for action in parser._actions:
        for option in action.option_strings:
            if option in LISTED:
                yield option, f"$({{program}} completion {LISTED[option]} 2>/dev/null)"
            elif option == "--device":
                yield option, DEVICES
            elif action.choices and option.startswith("--"):
                yield option, " ".join(map(str, action.choices))


def command_words(parser: argparse.ArgumentParser) -> list[str]:
    """Every long option and every fixed word, such as a subcommand, that a command takes."""
    return sorted(set(parser_words(parser)))


def parser_words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The long options and choices of a parser and of those below it."""
    for action in parser._actions:
        yield from (word for word in action.option_strings if word.startswith("--"))
        if not action.option_strings:  # the choices of an option are completed behind it alone
            yield from map(str, action.choices or ())
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parser_words(below)


def fish(
    program: str,
    commands: Mapping[str, Command],
    words: Mapping[str, list[str]],
    values: Mapping[str, Mapping[str, str]],
) -> str:
    """The script in fish's own language."""
    first = f"complete -c {program} -n __fish_use_subcommand"
    lines = [f"# {program} completion for fish: {program} completion fish | source", f"complete -c {program} -f"]
    lines += [f'{first} -a {name} -d "{command.help}"' for name, command in commands.items()]
    for name, own in words.items():
        within = f'complete -c {program} -n "__fish_seen_subcommand_from {name}"'
        for word in own:
            known = values[name].get(word, "").format(program=program).replace("$(", "(")
            option = f"{within} -l {word[2:]}" + (f' -x -a "{known}"' if known else "")
            lines.append(option if word.startswith("--") else f"{within} -a {word}")
    rest = f'complete -c {program} -n "not __fish_use_subcommand"'
    lines += [f'{rest} -a "({program} completion names 2>/dev/null) (__fish_complete_path)"']
    return "\n".join(lines) + "\n"


def names() -> list[str]:
    """Every name that a command takes for a model."""
    from zoo.manifest import api

    return sorted([*api.catalog().models, *api.catalog().aliases])


def listed(kind: str) -> list[str]:
    """The values of one kind of LISTED, without blanks: `--task` takes underscores for them."""
    from zoo.manifest import api

    entries = [api.get(name) for name in api.catalog().models]
    if kind == "tasks":
        return sorted({task.replace(" ", "_") for entry in entries for task in entry.tasks})
    field = {"families": "family", "datasets": "dataset", "origins": "origin"}[kind]
    return sorted({getattr(entry, field) for entry in entries})


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a `completion` command."""
    text = "shell to print a script for; or what to list for such a script"
    parser.add_argument("shell", choices=[*SHELLS, "names", *LISTED.values()], help=text)


def run(shell: str, program: str, commands: Mapping[str, Command]) -> int:
    """Print what a `completion` command was asked for."""
    if shell in SHELLS:
        print(script(shell, program, commands).rstrip())
    else:
        print("\n".join(names() if shell == "names" else listed(shell)))
    return 0
