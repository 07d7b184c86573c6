"""The commands in README and docs run as they are printed, or say what they need."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.datasets import demo
from tests.documentation import PAGES, ROOT, Block, blocks, commands, run

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
OTHERS = [page for page in PAGES if page not in TUTORIALS]
EVERY = [block for page in PAGES for block in blocks(page)]


@pytest.fixture
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An empty folder, with a cache of its own, no network and no variable that a user would not have."""
    for variable in [name for name in os.environ if name.startswith(("ZOO_", "GITHUB_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield monkeypatch


@pytest.mark.parametrize("page", [page for page in TUTORIALS if page.stem != "index"], ids=lambda page: page.stem)
def test_a_tutorial_runs_from_an_empty_folder(page, users_folder):
    runnable = [block for block in blocks(page) if block.needs is None]
    assert len(runnable) > 1
    for block in runnable:
        run(block, users_folder)


@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_of_other_pages_run_or_say_what_they_need(page, users_folder):
    runnable = [block for block in blocks(page) if block.needs is None and page.name != "README.md"]
    if not runnable:
        pytest.skip("every block of this page says what it needs")
    demo.write("shapes", {"val": 2})
    for block in runnable:
        run(block, users_folder)


def test_every_block_of_the_readme_but_its_example_says_what_it_needs():
    """tests/test_readme.py runs the example with a detector of the demo."""
    bare = [block for block in EVERY if block.page.name == "README.md" and block.needs is None]
    assert [block.language for block in bare] == ["python"]


@pytest.mark.parametrize("block", EVERY, ids=lambda block: f"{block.page.relative_to(ROOT).as_posix()}:{block.line}")
def test_a_block_is_valid_in_its_language(block: Block):
    if block.language == "python":
        ast.parse(block.text)
    else:
        assert commands(block.text)


def test_blocks_are_recognized_in_both_forms():
    assert {"docs/tutorials/reproduce.md", "docs/files.md"} <= {
        block.page.relative_to(ROOT).as_posix() for block in EVERY
    }
