"""The GitHub Action, the Dockerfile and the devcontainer name commands, options and inputs that exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.cli import main as bench
from zoo.cli.framework import load_command
from zoo.cli.parser import Parser

ROOT = Path(__file__).resolve().parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = ACTION["runs"]["steps"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_every_input_of_the_action_is_declared_and_used():
    used = re.findall(r"inputs\.(\w+)", (ROOT / "action.yml").read_text())
    assert set(used) == set(ACTION["inputs"])


def test_inputs_reach_a_shell_only_through_its_environment():
    assert not [step for step in STEPS if "${{" in step.get("run", "")]


@pytest.mark.parametrize("line", re.findall(r"^ *(bench [^\n]*)", "\n".join(s.get("run", "") for s in STEPS), re.M))
def test_the_commands_of_the_action_take_their_options(line):
    _, command, *words = [word for word in shlex.split(line.partition(">>")[0]) if word not in ("$MODELS", "$OPTIONS")]
    parser = Parser()
    load_command(parser, bench.COMMANDS[command])
    models = ["yolox_s"] if command == "inference" else []
    parser.parse_args([*models, *words])


def test_the_image_installs_extras_that_exist():
    extras = re.search(r"/src\[([\w,]+)\]", DOCKERFILE)
    assert extras is not None
    setup = (ROOT / "setup.cfg").read_text()
    assert all(re.search(rf"^{extra} =$", setup, re.M) for extra in extras[1].split(","))


def test_the_image_has_a_base_by_argument_and_runs_without_root():
    assert "ARG BASE=" in DOCKERFILE and "FROM ${BASE}" in DOCKERFILE
    assert DOCKERFILE.rindex("USER 10001") > DOCKERFILE.rindex("RUN ")


def test_the_dockerfile_passes_its_linter():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    linted = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_screenshots_of_the_browser_tests_are_kept():
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]["steps"]
    (folder,) = [step["env"]["SCREENSHOTS"] for step in steps if "SCREENSHOTS" in step.get("env", {})]
    assert folder in [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")]


def test_the_devcontainer_uses_a_target_of_the_makefile():
    made = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())["postCreateCommand"]
    assert re.search(rf"^{made.removeprefix('make ')}:", (ROOT / "Makefile").read_text(), re.M)
