"""README.md: its generated tables, its example and its links hold what they promise."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.datasets import demo

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


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


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_relative_link_has_a_target(page):
    text = page.read_text()
    targets = [*re.findall(r"\]\(([^)#]+)[^)]*\)", text), *re.findall(r'src="([^"]+)"', text)]
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing
