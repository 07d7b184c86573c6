"""Which of two equal ways inference takes on a CPU: every choice in one place, with the number that decided it.

docs/cpu.md has the measurements, on AVX2 and on AVX-512, with one thread and with two; `python -m
benchmarks.perf.cpu_paths` makes them again on any machine. A way is here because it loses nothing that matters on any
of these, so none of the choices asks what the processor is.
"""

from __future__ import annotations

SMALL_PIXELS = 512 * 512
"""Pixels of a batch up to which a pixel's channels are not put together: below, that made detectors at most 1.08 times
as fast on one thread (RetinaNet; 1.12 times at 800 x 1000), and `SteadyConv` can keep their bits the same."""

LONG_LIST = 16_384
"""Scores from which on the best ones are found sooner than all are sorted."""

GROUPED_NMS_FROM = 2000
"""Boxes from which on NMS is faster group by group: a CPU compares every survivor with all boxes behind it."""

FEWEST = 512
"""Boxes that NMS compares first at least: comparing 512 takes 0.3 ms, comparing 4,096 takes 17."""

FEW_IMAGES = 16
"""Images of a batch from which on PyTorch computes a 1x1 convolution with the same kernels on one thread as on more."""
