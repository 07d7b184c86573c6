"""Names of raw samples in records that more than one module reads or writes."""

from __future__ import annotations

# Seconds of the calibration workload beside each call: wall clock, and CPU time of the calling thread.
SAMPLES = "calibration_s"
CPU_SAMPLES = "calibration_cpu_s"
