"""Text from files reaches an output of any encoding, without steering the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = Path(__file__).parents[1] / "checkpoint" / "hostile"
SHOW = "from zoo.cli.framework import escape_foreign_letters; escape_foreign_letters(); print('\\u00e9\\ud800')"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_what_an_encoding_lacks_is_shown_escaped(encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0 and b"\\ud800" in done.stdout


@pytest.mark.parametrize("command", ["inspect", "detect"])
def test_a_files_own_texts_do_not_steer_the_terminal(command: str, tmp_path: Path) -> None:
    path = HOSTILE / "cfg_typeansi.pth"
    words = [sys.executable, "-m", "zoo", command, str(path), *([str(path)] if command == "detect" else [])]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "ZOO_CACHE": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, timeout=120)
    said = done.stdout + done.stderr
    assert b"\x1b" not in said and b"\x07" not in said and b"Traceback" not in said, said
