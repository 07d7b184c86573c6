"""A cache of its own for every test, no real waiting, and a small published file."""

from __future__ import annotations

import hashlib
import random

import pytest

from tests.zoo.download.server import serving
from zoo.download import fetch_file
from zoo.download.remote_file import RemoteFile

CONTENT = random.Random(0).randbytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and an environment without the user's settings."""
    for name in ("ZOO_MIRRORS", "ZOO_OFFLINE", "ZOO_LOCK", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_TIMEOUT", "0.4")
    monkeypatch.chdir(tmp_path)
    fetch_file.unreachable.clear()
    return tmp_path / "cache"


@pytest.fixture
def waits(monkeypatch):
    """The pauses that would have been made, instead of making them."""
    made: list[float] = []
    monkeypatch.setattr(fetch_file.time, "sleep", made.append)
    return made


@pytest.fixture
def server():
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def remote(server):
    return RemoteFile("models/file.pth", (server.url(),), SHA256[:8])
