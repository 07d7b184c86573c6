"""The result store's benchmark, on few records."""

from __future__ import annotations

from benchmarks.perf.result_store import measure


def test_no_record_is_lost_and_every_query_has_a_ratio() -> None:
    result = measure(records=1200, small=600, rounds=1)
    assert result["appended by 4 processes at once, lost"] == 0
    assert all(value > 0 for key, value in result.items() if key.endswith("ratio"))
    assert len([key for key in result if key.endswith("ratio")]) == 6
