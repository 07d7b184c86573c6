"""A file whose content changed since it was measured is not taken for the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.results import same_file
from benchmarks.results.record import Record
from benchmarks.results.store import Store


def record(digest: str, file: str = "m.onnx", weights: str = "m.onnx", **more: Any) -> Record:
    """A measurement of a file."""
    return Record(
        "yolox", "accuracy", parameters={"artifact": {"file": file, "sha256": digest * 64}, "weights": weights}
    )


def test_other_bytes_than_in_the_newest_record_are_said_in_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.db")
    first, second = store.append(record("a")), record("b")
    said = same_file.changed(second, store)
    assert said is not None and "m.onnx has SHA-256 bbbbbbbbbbbb..., and aaaaaaaaaaaa..." in said
    assert first.id[:8] in said
    store.append(second)
    assert same_file.changed(record("b"), store) is None


def test_the_same_bytes_other_names_and_networks_need_no_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.db")
    assert same_file.changed(record("a"), store) is None
    store.append(record("a"))
    assert same_file.changed(record("a"), store) is None
    assert same_file.changed(record("b", "other.onnx", "other.onnx"), store) is None
    assert same_file.changed(record("b", weights="published"), store) is None  # exported on the way
    assert same_file.changed(Record("yolox", "accuracy"), store) is None
