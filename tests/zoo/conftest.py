"""Fixtures for tests of the zoo."""

from __future__ import annotations

import hashlib

import pytest

from zoo.manifest import api


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model of the user's own in a manifest, and the folder that mirrors its file."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_MIRRORS", str(tmp_path / "mirror"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mirror" / "mine").mkdir(parents=True)
    (tmp_path / "mirror" / "mine" / "nano.pth").write_bytes(b"weights")
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    (tmp_path / "mine.yaml").write_text(
        f"""schema: 1
family: Mine
models:
  my_nano:
    aliases: [mine]
    architecture: yolox_nano_8x8_300e_coco
    normalization: none
    preprocessing: {api.get("yolox_nano_8x8_300e_coco").preprocessing}
    dataset: coco_2017
    checkpoint: {{path: mine/nano.pth, sha256: "{digits}"}}
"""
    )
    monkeypatch.setenv("ZOO_MANIFESTS", str(tmp_path / "mine.yaml"))
    return tmp_path
