"""The table of peers: one line for each, from one run."""

from __future__ import annotations

from types import SimpleNamespace

from benchmarks.perf import peers
from benchmarks.results.record import Record, skipped

HOST = {"host": {"vector_units": "AVX2"}}


def compared(peer: str | None, options: dict[str, bool] | None = None, **metrics: float) -> Record:
    """A record of `bench compare`."""
    parameters = {"peer": peer, "options": options or {}, "threads": 2}
    numbers = {"latency_ms_p50": 100.0, "samples": 10, **metrics}
    return Record("m", "compare", parameters=parameters, metrics=numbers, environment=HOST)


def test_a_line_says_how_many_times_as_fast_ours_is_plain_and_with_options() -> None:
    ratio = {"speedup_low": 0.5, "speedup_high": 1.0}
    records = [
        compared(None, speedup=1.0, **ratio),
        compared(None, {"fuse_conv_bn": True}, speedup=1.5, **ratio),
        compared("torchvision", speedup=0.8, **ratio),
    ]
    (line,) = peers.table(records)
    assert (line["instructions"], line["threads"], line["ours is faster by"]) == ("AVX2", 2, "1.25")
    assert (line["95% interval"], line["with options"]) == ("1.00 to 2.00", "1.88")


def test_other_work_and_peers_that_did_not_run_have_no_ratio() -> None:
    lines = peers.table([compared("torchvision"), skipped("m", "compare", "not here", parameters={"peer": "x"})])
    assert "ours is faster by" not in lines[0] and lines[1]["remark"] == "not here"


def test_a_run_is_held_to_its_instructions_and_threads() -> None:
    args = SimpleNamespace(calls=4, images=1)
    words = peers.command(peers.PAIRS[0], "2", args, "r.db")
    assert words[words.index("--threads") + 1] == "2" and "min_iterations=4" in words
    assert peers.INSTRUCTIONS["avx2"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
