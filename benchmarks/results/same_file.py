"""Whether an exported file still has the content that an earlier record is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.results.record import Record
from benchmarks.results.store import Store


def changed(record: Record, store: Store) -> str | None:
    """A sentence where the newest earlier record of a file of this name is about other bytes; None otherwise."""
    file = exported_file(record)
    if not file:
        return None
    earlier = [one for one in store.select(model=record.model, samples=False) if one.id != record.id]
    named = [one for one in earlier if exported_file(one).get("file") == file["file"]]
    if not named or exported_file(named[-1])["sha256"] == file["sha256"]:
        return None
    before = exported_file(named[-1])["sha256"]
    return (
        f"{file['file']} has SHA-256 {file['sha256'][:12]}..., and {before[:12]}... in record {named[-1].id[:8]}: its "
        "content changed, so reports keep the two apart."
    )


def exported_file(record: Record) -> Mapping[str, Any]:
    """What a record says about the file it is about; empty for networks, exported on the way ones too."""
    file: Mapping[str, Any] = record.parameters.get("artifact") or {}
    return file if file.get("file") == record.parameters.get("weights") else {}
