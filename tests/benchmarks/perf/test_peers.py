"""The table of peers: one line for each, from one run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from benchmarks.perf import peers
from benchmarks.results.record import Record, skipped

HOST = {"device_type": "cpu", "host": {"vector_units": "AVX2"}}
HELD = {"device_type": "cpu", "host": {"vector_units": "AVX2", "held_to": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}}


def compared(
    peer: str | None, options: dict[str, bool] | None = None, environment: dict[str, Any] = HOST, **metrics: float
) -> Record:
    """A record of `bench compare`."""
    parameters = {"peer": peer, "options": options or {}, "threads": 2}
    numbers = {"latency_ms_p50": 100.0, "samples": 10, **metrics}
    return Record("m", "compare", parameters=parameters, metrics=numbers, environment=environment)


def test_a_line_says_how_many_times_as_fast_ours_is_plain_and_with_options() -> None:
    ratio = {"speedup_low": 0.5, "speedup_high": 1.0}
    records = [
        compared(None, speedup=1.0, **ratio),
        compared(None, {"fuse_conv_bn": True}, speedup=1.5, **ratio),
        compared("torchvision", speedup=0.8, **ratio),
    ]
    (line,) = peers.table(records)
    assert (line["instructions"], line["threads"], line["ours is faster by"]) == ("AVX2", 2, "1.25")
    assert (line["95% interval"], line["at its best"]) == ("1.00 to 2.00", "1.88")


def test_at_its_best_is_the_fastest_runtime_of_its_own_run_unless_it_cannot_be_held_to_the_instructions() -> None:
    ratio = {"speedup_low": 0.5, "speedup_high": 1.0}
    runs = [
        compared(peer, None, environment, speedup=speedup, **ratio)
        for environment in (HOST, HELD)
        for peer, speedup in ((None, 1.0), ("torchvision", 0.8), ("openvino", 1.6))
    ]
    lines = peers.table(runs)
    assert [line["at its best"] for line in lines if line["against"] == "torchvision"] == ["2.00", "1.25"]
    assert [line["instructions"] for line in lines if line["against"] == "openvino"] == ["AVX2", "own choice"]


def test_other_work_and_peers_that_did_not_run_have_no_ratio() -> None:
    lines = peers.table([compared("torchvision"), skipped("m", "compare", "not here", parameters={"peer": "x"})])
    assert "ours is faster by" not in lines[0] and lines[1]["remark"] == "not here"


def test_a_run_is_held_to_its_instructions_and_threads() -> None:
    args = SimpleNamespace(calls=4, images=1)
    words = peers.command(peers.PAIRS[0], "2", args, "r.db")
    assert words[words.index("--threads") + 1] == "2" and "min_iterations=4" in words
    assert peers.INSTRUCTIONS["avx2"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
