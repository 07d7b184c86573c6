"""The one table of protocols: what each is called, what it times, and its parameters. Nothing here imports torch."""

from __future__ import annotations

from benchmarks.speed.protocols.base import STAGES, Protocol
from zoo.errors import UsageError

INTERLEAVED = Protocol(
    name="interleaved",
    title="Warm-up until stable, median of whole passes, interleaved when comparing",
    source="benchmarks/speed/protocols/interleaved.py",
    timed=("host_to_device", "network", "post_processing", "mask_pasting"),
    defaults={
        "min_iterations": 50,
        "min_seconds": 10.0,
        "max_seconds": 300.0,
        "loaded": 64,
        "stable": 0.05,
        "lap_calls": 5,
        "warmup_seconds": 60.0,
        "calibrate": True,
    },
    module="interleaved",
    batch=None,
)

MMDET_V2 = Protocol(
    name="mmdet-v2",
    title="MMDetection 2.x inference benchmark",
    source="MMDetection 2.28.2, tools/analysis_tools/benchmark.py",
    timed=("host_to_device", "network", "post_processing", "mask_pasting"),
    defaults={"num_warmup": 5, "max_iter": 2000, "log_interval": 50},
    module="mmdet_v2",
)

DETECTRON2 = Protocol(
    name="detectron2",
    title="Detectron2 inference_on_dataset",
    source="Detectron2 02b5c4e2, detectron2/evaluation/evaluator.py",
    timed=("host_to_device", "network", "post_processing", "mask_pasting"),
    defaults={"num_warmup": 5, "max_iter": 5000},
    module="detectron2",
)

MLPERF_SINGLE_STREAM = Protocol(
    name="mlperf-singlestream",
    title="MLPerf Inference single stream (90th percentile latency)",
    source="mlcommons/inference, mlperf.conf and loadgen/results.cc",
    timed=("host_to_device", "network", "post_processing", "mask_pasting"),
    defaults={"min_queries": 1024, "min_seconds": 600.0, "loaded": 64, "seed": 0},
    module="mlperf_singlestream",
)

MLPERF_OFFLINE = Protocol(
    name="mlperf-offline",
    title="MLPerf Inference offline (throughput)",
    source="mlcommons/inference, mlperf.conf",
    timed=("host_to_device", "network", "post_processing", "mask_pasting"),
    defaults={"min_samples": 24576, "min_seconds": 600.0, "loaded": 64},
    module="mlperf_offline",
    batch=None,
)

END_TO_END = Protocol(
    name="end-to-end",
    title="From image bytes to encoded detections, stage by stage and overlapped",
    source="benchmarks/speed/protocols/end_to_end.py",
    timed=STAGES,
    defaults={"streams": 2, "loaded": 64, "min_seconds": 10.0, "num_warmup": 5},
    module="end_to_end",
)

ALL = (INTERLEAVED, MMDET_V2, DETECTRON2, MLPERF_SINGLE_STREAM, MLPERF_OFFLINE, END_TO_END)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in ALL}
DEFAULT = INTERLEAVED.name


def get(name: str) -> Protocol:
    """The protocol of that name. Raises UsageError for an unknown one."""
    if name not in PROTOCOLS:
        raise UsageError(f"No protocol '{name}'. There are: {', '.join(PROTOCOLS)}; docs/protocols.md describes them.")
    return PROTOCOLS[name]
