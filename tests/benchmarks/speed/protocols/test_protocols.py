from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from benchmarks.speed import protocols
from benchmarks.speed.protocols import interleaved, mmdet_v2
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.system.timing import Stopwatch, median_interval, summary
from zoo.errors import UsageError

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only while a Clockwork computes, so that a busy machine does not disturb a test."""
    now = [100.0]
    monkeypatch.setattr(Clockwork, "clock", now)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


class Clockwork:
    """A workload of known duration that writes down what happens to it."""

    clock = [0.0]

    def __init__(self, seconds: float = 0.0, count: int = 12, batch: int = 1, name: str = "", log: list | None = None):
        self.seconds, self.count, self.batch, self.name = seconds, count, batch, name
        self.events: list[tuple[str, int]] = []
        self.log = log if log is not None else []

    def __len__(self) -> int:
        return self.count

    def load(self, index: int) -> int:
        self.events.append(("load", index))
        return index

    def compute(self, batch: int) -> list[int]:
        self.events.append(("compute", batch))
        self.log.append((self.name, batch))
        self.clock[0] += self.seconds
        return [batch] * self.batch

    def evaluate(self, results: list[int]) -> None:
        self.events.append(("evaluate", results[0]))


def test_mmdet_v2_goes_through_the_images_once_in_order_and_leaves_out_five(clock):
    workload = Clockwork(0.002)
    measured = protocols.run(protocols.get("mmdet-v2"), workload)
    assert workload.events == [(what, i) for i in range(12) for what in ("load", "compute")]
    assert measured.images == len(measured.samples["latency_s"]) == 7
    assert measured.metrics["fps"] == pytest.approx(7 / sum(measured.samples["latency_s"]))
    assert measured.metrics["fps"] == pytest.approx(500)


def test_mmdet_v2_stops_at_2000_images(clock):
    workload = Clockwork(0.001, count=2100)
    assert protocols.run(protocols.get("mmdet-v2"), workload, overrides={"log_interval": 0}).images == 1995


def test_mmdet_v2_logs_as_the_reference_does(clock, capsys):
    mmdet_v2.measure(Clockwork(0.001, count=10), CPU, num_warmup=5, max_iter=2000, log_interval=8)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Done image [8  / 10], fps: ") and line.endswith("ms / img")


def test_mmdet_v2_needs_more_images_than_it_leaves_out():
    with pytest.raises(UsageError, match="first 5 images and got only 5"):
        protocols.run(protocols.get("mmdet-v2"), Clockwork(count=5))


@pytest.mark.parametrize(("count", "timed"), [(12, 7), (3, 1), (1, 1)])
def test_detectron2_leaves_out_at_most_five_and_always_has_one_left(clock, count, timed):
    workload = Clockwork(0.001, count=count)
    measured = protocols.run(protocols.get("detectron2"), workload)
    assert measured.images == timed
    assert workload.events[:3] == [("load", 0), ("compute", 0), ("evaluate", 0)]
    assert measured.metrics["compute_s_per_image"] == pytest.approx(0.001)
    assert measured.metrics["data_s_per_image"] == measured.metrics["evaluate_s_per_image"] == 0


def test_singlestream_obeys_both_of_its_minimums_and_takes_loadgens_percentile(clock):
    protocol = protocols.get("mlperf-singlestream")
    assert (protocol.defaults["min_queries"], protocol.defaults["min_seconds"]) == (1024, 600)
    measured = protocols.run(protocol, Clockwork(0.001), overrides={"min_queries": 50, "min_seconds": 0})
    seconds = measured.samples["latency_s"]
    assert len(seconds) == 50
    assert measured.metrics["latency_ms_mlperf_p90"] == sorted(seconds)[45] * 1000
    measured = protocols.run(protocol, Clockwork(0.001), overrides={"min_queries": 1, "min_seconds": 0.2})
    assert measured.images == pytest.approx(200, abs=1)


def test_offline_runs_all_samples_and_counts_whole_batches(clock):
    protocol = protocols.get("mlperf-offline")
    assert (protocol.defaults["min_samples"], protocol.defaults["min_seconds"]) == (24576, 600)
    workload = Clockwork(0.001, batch=4)
    measured = protocols.run(protocol, workload, overrides={"min_samples": 30, "min_seconds": 0})
    assert (measured.images, len(measured.samples["batch_s"])) == (32, 8)
    assert measured.metrics["fps"] == pytest.approx(32 / sum(measured.samples["batch_s"]))


def test_steady_times_whole_passes_with_data_loading_outside(clock):
    workload = Clockwork(0.001, count=4)
    measured = protocols.run(protocols.get("interleaved"), workload, overrides={"min_iterations": 9, "min_seconds": 0})
    assert len(measured.samples["latency_s"]) == 12
    assert [what for what, _ in workload.events].index("compute") == 4
    assert measured.metrics["fps"] == pytest.approx(1 / np.median(measured.samples["latency_s"]))


def test_steady_warms_up_until_two_laps_agree(clock):
    class Settling(Clockwork):
        def compute(self, batch):
            self.seconds = 0.02 if len(self.log) < 5 else 0.002
            return super().compute(batch)

    measured = protocols.run(
        protocols.get("interleaved"), Settling(count=1), overrides={"min_iterations": 5, "min_seconds": 0}
    )
    assert max(measured.samples["latency_s"]) < 0.01


def test_compared_workloads_run_in_turns_and_each_is_first_equally_often(clock):
    log: list[tuple[str, int]] = []
    workloads = {"a": Clockwork(0.002, name="a", log=log, count=2), "b": Clockwork(0.004, name="b", log=log, count=2)}
    result = interleaved.compare(workloads, CPU, {"min_iterations": 8, "min_seconds": 0})
    turns = [name for name, _ in log][-16:]
    assert turns == ["a", "b", "b", "a"] * 4
    assert result["b"].metrics["speedup"] == pytest.approx(0.5)
    assert result["b"].metrics["speedup_low"] <= result["b"].metrics["speedup"] <= result["b"].metrics["speedup_high"]
    assert result["a"].metrics["speedup"] == 1


def test_repeated_runs_keep_all_samples_and_average_fps(clock):
    measured = protocols.run(protocols.get("mmdet-v2"), Clockwork(0.001), repeat=3)
    assert len(measured.samples["latency_s"]) == measured.images == 21
    assert measured.metrics["fps"] == pytest.approx(np.mean(measured.metrics["fps_runs"]))


def test_a_protocol_defined_for_one_image_refuses_a_batch():
    with pytest.raises(UsageError, match="defined for batch 1, not 4"):
        protocols.run(protocols.get("mmdet-v2"), Clockwork(batch=4))


def test_unknown_names_and_values_are_misuse():
    with pytest.raises(UsageError, match=r"No protocol 'mlperf'.*mlperf-offline"):
        protocols.get("mlperf")
    with pytest.raises(UsageError, match="no parameter 'warmup'; it has: num_warmup"):
        protocols.get("mmdet-v2").parameters({"warmup": 1})
    for value in ("soon", -1):
        with pytest.raises(UsageError, match="takes a number"):
            protocols.get("mmdet-v2").parameters({"num_warmup": value})


def test_a_record_says_what_is_timed_and_where_a_run_departs_from_the_definition():
    protocol = protocols.get("mmdet-v2")
    said = protocol.describe(protocol.parameters({"max_iter": "20"}))
    assert said["max_iter"] == 20 and said["departs_in"] == ["max_iter"]
    assert said["timed"] == {
        "data_loading": False,
        "host_to_device": True,
        "network": True,
        "post_processing": True,
        "mask_pasting": True,
        "mask_encoding": False,
    }
    assert protocol.describe(protocol.parameters())["departs_in"] == []


def test_the_interval_of_the_median_covers_it_as_often_as_it_says():
    random = np.random.RandomState(0)
    intervals = [median_interval(random.lognormal(size=60)) for _ in range(1000)]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.94 <= covered <= 0.985


def test_few_samples_give_an_interval_and_none_give_no_number():
    assert median_interval([3.0]) == (3.0, 3.0)
    assert summary([]) == {}
    assert summary([0.001, 0.003])["latency_ms_p50"] == pytest.approx(2)


def test_the_harness_costs_less_than_two_percent_of_a_millisecond():
    calls, parameters = 500, dict(INTERLEAVED.defaults, min_iterations=500, min_seconds=0)
    del parameters["calibrate"]

    def cost() -> float:
        workload = Clockwork(count=10)
        start = time.process_time()
        for i in range(calls):
            workload.compute(i % 10)
        bare = time.process_time() - start
        interleaved.interleave({"": workload}, CPU, interleaved.Schedule(**parameters))
        return (time.process_time() - start - 2 * bare) / calls

    assert min(cost() for _ in range(5)) < 20e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_clock_waits_for_the_gpu_and_events_agree_with_it():
    x = torch.randn(4096, 4096, device="cuda")
    watch = Stopwatch("cuda")
    watch.time(torch.mm, x, x)
    _, timed = watch.time(lambda: [x @ x for _ in range(20)])
    assert timed.device_seconds is not None and not math.isnan(timed.device_seconds)
    assert 0.5 * timed.seconds < timed.device_seconds <= timed.seconds * 1.01
