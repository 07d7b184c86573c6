"""Completion scripts for shells, from the tables of commands and their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from zoo.commandline import Command, load_command

SHELLS = ("bash", "zsh", "fish")

_BASH = """# {program} completion for bash: source <({program} completion bash)
_{program}_complete() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then words="{commands}"
    elif [ "${{word#-}}" != "$word" ]; then case "$command" in
{cases}
        esac
    else words="$({program} completion names 2>/dev/null)"; fi
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
    options = {name: command_options(command) for name, command in commands.items()}
    if shell == "fish":
        return fish(program, commands, options)
    cases = "\n".join(f'        {name}) words="{" ".join(words)}" ;;' for name, words in options.items())
    bash = _BASH.format(program=program, commands=" ".join(commands), cases=cases)
    return bash if shell == "bash" else _ZSH.format(program=program) + bash.split("\n", 1)[1]


def command_options(command: Command) -> list[str]:
    """Every long option that a command takes."""
    parser = argparse.ArgumentParser()
    load_command(parser, command)
    return sorted(word for word in parser._option_string_actions if word.startswith("--"))


def fish(program: str, commands: Mapping[str, Command], options: Mapping[str, list[str]]) -> str:
    """The script in fish's own language."""
    first = f"complete -c {program} -n __fish_use_subcommand"
    lines = [f"# {program} completion for fish: {program} completion fish | source", f"complete -c {program} -f"]
    lines += [f'{first} -a {name} -d "{command.help}"' for name, command in commands.items()]
    for name, words in options.items():
        within = f'complete -c {program} -n "__fish_seen_subcommand_from {name}"'
        lines += [f"{within} -l {word[2:]}" for word in words]
    rest = f'complete -c {program} -n "not __fish_use_subcommand"'
    lines += [f'{rest} -a "({program} completion names 2>/dev/null) (__fish_complete_path)"']
    return "\n".join(lines) + "\n"


def names() -> list[str]:
    """Every name that a command takes for a model."""
    from zoo import manifest

    return sorted([*manifest.list_models(unpublished=True), *manifest.catalog().aliases])
