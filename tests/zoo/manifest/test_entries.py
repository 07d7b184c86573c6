"""Rewriting the manifests leaves every entry what it was."""

from __future__ import annotations

import json
from pathlib import Path

from tests.zoo.manifest import entries


def test_every_entry_is_what_it_was():
    before, now = json.loads(entries.FILE.read_text()), entries.digests()
    changed = [name for name, digest in before.items() if now.get(name) != digest]
    assert changed == []


def test_a_digest_covers_what_was_published():
    before = entries.digests()
    assert len([name for name in before if name.startswith("model ")]) >= 562 + 61 + 9
    assert len(set(before.values())) > 1300  # hardly any two say the same


def test_the_manifests_that_people_write_stay_short_enough_to_be_read():
    files = (Path(__file__).parents[3] / "manifests").glob("*.yaml")  # generated ones stand in a folder of their own
    assert sum(len(file.read_text().splitlines()) for file in files) <= 12_000
