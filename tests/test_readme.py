"""README.md: its generated tables, its example and its links hold what they promise."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.cli import main as bench_cli
from benchmarks.datasets import demo
from zoo.cli import main as zoo_cli
from zoo.cli.framework import load_command
from zoo.cli.parser import Parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ("reference/zoo.md", "reference/bench.md", "families/index.md")
"""Pages of the site that are made while it is built (.ci/site)."""


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_readme", ROOT / ".ci" / "write_readme.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_tables_are_those_of_the_manifests_and_reports(writer):
    assert writer.updated(README) == README, "run `python .ci/write_readme.py`"


def test_a_committed_record_fills_the_latency_column(writer, monkeypatch):
    assert "ms (" in writer.latency("demo_atss", "cpu")
    assert writer.latency("demo_atss", "cuda") == "not measured here yet"


def test_the_example_runs_with_a_detector_of_the_demo(tmp_path, capsys):
    example = re.search(r"```python\n(.*?)```", README, re.S)
    assert example is not None
    image = sorted((demo.write(tmp_path, {"val": 1}) / "val").glob("*.png"))[0]
    code = example[1].replace("faster_rcnn_r50", "demo_mask_rcnn").replace("street.jpg", str(image))
    exec(compile(code, "README.md", "exec"), {})
    assert "tensor" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_has_a_target(page):
    text = page.read_text()
    targets = [*re.findall(r"\]\(([^)#]+)[^)]*\)", text), *re.findall(r'src="([^"]+)"', text)]
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not [target for target in missing if not target.endswith(GENERATED)]


def documented_commands() -> list[str]:
    """Every line of an indented or fenced block that starts with `zoo` or `bench`, without its comment."""
    lines = [line for page in PAGES for line in page.read_text().replace("\\\n", " ").splitlines()]
    starts = re.compile(r"^(?: {4,}|      - run: |)(?:torchrun .* --no-python )?((?:zoo|bench) (?!-)[^#\n]*)")
    return sorted({match[1].strip() for line in lines if (match := starts.match(line))})


@pytest.mark.parametrize("command", documented_commands())
def test_every_documented_command_takes_its_options(command):
    command = command.replace(" --manifest mine.yaml", "")  # is read at once, and is not there
    for part in re.split(r" {3,}(?=zoo |bench )", command):  # several on one line
        program, name, *words = shlex.split(part)
        parser = Parser()
        load_command(parser, {"zoo": zoo_cli, "bench": bench_cli}[program].COMMANDS[name])
        parser.parse_args([word for word in words if word != "..."])


def test_there_are_documented_commands():
    assert len(documented_commands()) > 60
