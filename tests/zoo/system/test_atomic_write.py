"""A file that is written is there as a whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.system.atomic_write import atomic_path, atomic_write


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file.json"
    atomic_write(path, "old", parents=True)
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]


def test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    atomic_write(path, "old")
    with pytest.raises(ValueError, match="stopped"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("stopped")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    with atomic_path(path) as one, atomic_path(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the outer block ends last
