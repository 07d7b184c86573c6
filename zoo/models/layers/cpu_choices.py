"""Which of two equal ways is taken on a CPU: every choice in one place, with the number that decided it.

docs/cpu.md has the measurements, on AVX2 and on AVX-512, with one thread and with two; `python -m
benchmarks.perf.cpu_paths` makes them again on any machine. A way is here because it loses nothing that matters on any
of these, so none of the choices asks what the processor is.
"""

from __future__ import annotations

SMALL_PIXELS = 512 * 512
"""Pixels of a batch up to which a pixel's channels are not put together: below, that made detectors at most 1.08 times
as fast on one thread (RetinaNet; 1.12 times at 800 x 1000), and `FastConv2d` can keep their bits the same."""

SMALL_PIXELS_OF = {"SSDVGG": 0, "CSPDarknet": 0}
"""The same for backbones that gain at any size: VGG's maps are wide and shallow, a CSPDarknet slices and concatenates
channels. VGG is 1.11 to 1.16 times as fast at 300 x 300, YOLOX-tiny's backbone 1.26 to 1.33 times at 416 x 416 (one
thread and two, AVX-512 and AVX2); YOLOv3's Darknet has 0.79 of its speed at 320 x 256, so this is no rule for all."""

LONG_LIST = 16_384
"""Scores from which on the best ones are found sooner than all are sorted."""

GROUPED_NMS_FROM = 2000
"""Boxes from which on NMS is faster group by group: a CPU compares every survivor with all boxes behind it."""

FEWEST = 512
"""Boxes that NMS compares first at least: comparing 512 takes 0.3 ms, comparing 4,096 takes 17."""

LARGE_PRODUCT = 1 << 24
"""Multiplications of a 1x1 convolution from which on oneDNN is faster than PyTorch's choice on one thread, a product of
matrices, where a pixel's channels lie together: a ResNet-50 at 800 x 1088 is 1.08 times as fast (AVX-512 and AVX2).
Below, preparing the kernel costs more."""

SMALL_MAP = 20_480
"""Numbers of one image's map up to which PyTorch does not convolve by oneDNN: preparing its kernel takes 30 to 50 us. A
1x1 convolution of 32 channels at 16 x 16 with a ReLU takes 20 us, by oneDNN in one pass 50 to 60."""

FEW_IMAGES = 16
"""Images of a batch from which on PyTorch computes a 1x1 convolution with the same kernels on one thread as on more."""

WIDE_CONV = 128
"""Channels of the inputs and of the outputs from which on a 3x3 convolution is computed by Winograd's method: its other
work grows with their sum, what it saves with their product. With 64 it was 0.87 to 1.2 times as fast."""

WIDE_CONV_TRAINING = 256
"""The same in training, where maps are copied to another layout and back: with 128 channels, two maps of 100 x 152 and
all gradients take 1 / 1.01 of the time on two threads (1 / 1.2 on one), with 256 channels 1 / 1.34."""

FEWEST_TILES_TRAINING = 200
"""Tiles from which on it is used in training, where every call packs the filters, however few tiles there are: two maps
of 38 x 38 with 512 channels, 200 tiles, gain 8% on two threads, two of 34 x 34 with 1024 channels, 162, lose 9%."""

MOST_BEYOND = 1.45
"""Cells of all tiles that Winograd's method computes over cells of the map, up to which it is used: the rest is for
nothing. A map of 38 x 38 has 1.42, many regions of 14 x 14 have 1.31. One of 25 x 42 has 1.95: with 256 channels it
gains nothing."""

LARGE_FILTERS = 256 * 256
"""Pairs of channels from which on Winograd's method computes many tiles at once: the factors of the filters, 9 MB, do
not stay in a core's cache, and are read once for all tiles that are computed at once. With AVX2 on two threads that
takes 0.65 to 0.8 of the time."""

MORE_TILES = 1.03
"""How many times as many tiles may be computed then because the last group is not full. With 1.08 times as many, 100
regions of 14 x 14 took 1.15 times as long with AVX-512 on two threads."""

LARGE_LOSS = 1 << 22
"""Predictions from which on a loss is summed in pieces in training: RetinaNet's 35 million take 1 / 2.4 of the time,
one million of a quality focal loss 1.1 times as long."""

WIDE_SAMPLE = 16
"""Channels that move together in a deformable convolution, from which on their samples are sums of rows: with 16, four
groups of 64 channels at 25 x 38, they take 1 / 4.3 of the time on two threads, 1 / 2.8 on one. Fewer were not tried."""

LARGE_MAP = 32 << 20
"""Bytes of a map from which on a region proposal network predicts tile by tile, without that map: what is smaller is
memory that the process has kept. With 62 MB it takes 1 / 1.11 to 1 / 1.15 of the time, with 4 MB as long or 4% more."""

LARGE_HIDDEN = 32 << 20
"""Bytes between the two layers of a feed-forward network from which on it is computed some rows at a time. What is
smaller is memory that the process has kept: with 23 MB, pieces gain nothing; with 47 MB they take 1 / 1.15 to 1 / 1.3
of the time, with 93 MB 1 / 1.3 to 1 / 1.6."""
