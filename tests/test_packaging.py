"""What the package says about itself: one version, the supported Pythons, files that tools read."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import yaml

import zoo

ROOT = Path(__file__).parents[1]


def setup() -> configparser.ConfigParser:
    """`setup.cfg`."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def test_the_version_has_one_source() -> None:
    assert setup()["metadata"]["version"] == "attr: zoo.__version__"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == zoo.__version__


def test_every_supported_python_is_tried() -> None:
    classifiers = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert jobs["install"]["strategy"]["matrix"]["python"] == classifiers
    assert jobs["test"]["strategy"]["matrix"]["python"] == [classifiers[0], classifiers[-1]]
    assert setup()["options"]["python_requires"] == f">={classifiers[0]}"


def test_lowest_versions_name_every_dependency() -> None:
    words = [sys.executable, str(ROOT / ".ci" / "lowest_versions.py")]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    required = setup()["options"]["install_requires"].split()
    assert [line.split("==")[0] for line in printed] == [re.split("[><=]", name)[0] for name in required]


def test_no_page_installs_from_an_index_that_does_not_have_it() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    sources = [path for package in ("zoo", "benchmarks") for path in (ROOT / package).rglob("*.py")]
    wrong = re.compile(r"pip install ['\"]?detection-zoo")
    assert [path for path in (*pages, *sources) if wrong.search(path.read_text(encoding="utf-8"))] == []


def test_templates_are_yaml() -> None:
    files = [ROOT / ".pre-commit-config.yaml", *(ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")]
    assert len(files) == 4 and all(yaml.safe_load(path.read_text()) for path in files)
