"""The code blocks of the documentation: which there are, what they need, and how a test runs them.

A block runs unless `<!-- needs: ... -->` stands above it. Commands of this project run in this process, which saves
importing PyTorch for each of them; everything else runs in bash.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.cli.main import main as bench
from zoo.cli.main import main as zoo

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
SHELL = ("sh", "bash", "shell", "console")
NEEDS = re.compile(r"<!-- needs: (.+) -->")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
INDENTED = re.compile(r"(?:^\n)((?:^(?: {4}.*)?\n)+)", re.M)
COMMAND = re.compile(
    r"^(zoo|bench|pip|make|python3?|torchrun|git|export|conda|for|cp|curl|docker|mkdocs|ZOO_\w+=\S+)( |$)"
)


class Block(NamedTuple):
    """language: `sh` or `python`. line: where it starts in the page. needs: what it needs, or nothing."""

    page: Path
    line: int
    language: str
    text: str
    needs: str | None


def blocks(page: Path) -> list[Block]:
    """The shell and Python blocks of a page, in order."""
    return sorted(_blocks(page, page.read_text()), key=lambda block: block.line)


def _blocks(page: Path, text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        if match[1] in (*SHELL, "python"):
            language = "python" if match[1] == "python" else "sh"
            yield Block(page, line_of(text, match.start()), language, match[2], needs(text[: match.start()]))
    bare = FENCE.sub(lambda match: "-\n" * match[0].count("\n") + "-", text)  # what is fenced is not indented
    for match in INDENTED.finditer(bare):
        lines = "".join(line[4:] or "\n" for line in match[1].splitlines(keepends=True)).strip() + "\n"
        if COMMAND.match(lines):
            start = line_of(bare, match.start()) - 1
            yield Block(page, start + 2, "sh", lines, needs("\n".join(text.splitlines()[:start])))


def line_of(text: str, position: int) -> int:
    """The number of the line at a position, from 1."""
    return text.count("\n", 0, position) + 1


def needs(before: str) -> str | None:
    """What the line above a block says that it needs."""
    last = before.rstrip().rpartition("\n")[2]
    return match[1] if (match := NEEDS.fullmatch(last)) else None


def commands(text: str) -> list[str]:
    """The lines of a shell block, with continued ones joined; a loop of several lines is one."""
    lines = text.replace("\\\n", " ").splitlines()
    if any(line.startswith("for ") and not line.rstrip().endswith("done") for line in lines):
        return [text]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a block in the working directory; fails the test with the line that failed."""
    where = f"{block.page.relative_to(ROOT)}:{block.line}"
    if block.language == "python":
        exec(compile(block.text, where, "exec"), {})
        return
    for line in commands(block.text):
        status = run_line(line, monkeypatch)
        assert status == 0, f"{where}: `{line}` ended with status {status}"


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run one line; returns its exit status."""
    if match := re.fullmatch(r'export (\w+)="?([^"]*)"?', line):
        monkeypatch.setenv(match[1], os.path.expandvars(match[2]))
        return 0
    words = shlex.split(line, comments=True)
    programs: dict[str, Callable[[list[str]], int]] = {"zoo": zoo, "bench": bench}
    if words[0] in programs and not re.search(r"[|<>$;&*`]", line.partition(" #")[0]):
        try:
            return programs[words[0]](words[1:])
        except SystemExit as error:  # of --version and --help
            return int(error.code or 0)
    if words[:2] == ["python", "-c"]:
        exec(words[2], {})
        return 0
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(["bash", "-euo", "pipefail", "-c", line], env={**os.environ, "PATH": path}).returncode
