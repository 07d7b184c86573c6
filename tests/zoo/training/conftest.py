"""A small dataset that all training tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.datasets import demo


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.write(tmp_path_factory.mktemp("shapes"), {"train": 12, "val": 4})
