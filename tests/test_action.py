"""The steps of the GitHub Action run: its shell commands, with the environment that a runner gives them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
STEPS: list[dict[str, Any]] = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
INPUTS = {
    "models": "yolox_tiny",
    "images": str(ROOT / "docs" / "images"),
    "options": "--random-weights --threads 1 --limit 1 --no-effects --set min_iterations=2 --set min_seconds=0.1 "
    "--set warmup_seconds=0.1",
    "repeat": "1",
}


class Runner:
    """A folder of a job. Files of the runner: the environment of later steps, and the summary of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.env_file, self.summary = folder, folder / "github_env", folder / "summary.md"
        self.env_file.touch()

    def run(self, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """Runs the step of a name, as `shell: bash` does."""
        (step,) = [step for step in STEPS if step.get("name") == name]
        given = {k: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda m: inputs[m[1]], v) for k, v in step["env"].items()}
        earlier = dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        files = {"GITHUB_ENV": str(self.env_file), "GITHUB_STEP_SUMMARY": str(self.summary)}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env=os.environ | {"PATH": path} | files | earlier | given,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A job whose models were measured."""
    runner = Runner(tmp_path_factory.mktemp("job"))
    done = runner.run("Measure", **INPUTS)
    assert done.returncode == 0, done.stderr
    return runner


def test_measuring_writes_records_and_the_summary_of_the_job(measured):
    assert "yolox_tiny" in (measured.folder / "detection-zoo.jsonl").read_text()
    assert "yolox_tiny" in measured.summary.read_text()


def test_the_check_passes_beside_a_baseline_of_the_same_machine(measured):
    bench = [str(Path(sys.executable).parent / "bench"), "baseline", "base.json", "--without-times"]
    subprocess.run([*bench, "--results", "detection-zoo.db"], cwd=measured.folder, check=True, timeout=60)
    assert measured.run("Measure", **INPUTS).returncode == 0
    done = measured.run("Check", **INPUTS, baseline="base.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "yolox_tiny" in (measured.folder / "detection-zoo.xml").read_text()


def test_old_records_cannot_stand_in_for_a_run_that_measured_nothing(measured):
    with measured.env_file.open("a") as file:
        file.write("ZOO_STARTED=2999-01-01T00:00:00\n")
    done = measured.run("Check", **INPUTS, baseline="base.json")
    assert done.returncode == 1 and "no " in done.stdout + done.stderr
