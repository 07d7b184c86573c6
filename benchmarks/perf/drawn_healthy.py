"""Healthy files for `bench doctor`, drawn with a seed: what files of real detectors have.

They are those of detectors that are worse, biased by a few percent or a pixel or two, or scored otherwise.
"""

from __future__ import annotations

import numpy as np

from benchmarks.perf import spoil
from benchmarks.perf.drawn import Drawn, Random, one_of, uniform
from benchmarks.perf.spoil import after, boxes


def lower_threshold(random: Random) -> Drawn:
    """A usual threshold."""
    least = uniform(random, 0.005, 0.06, 3)
    return Drawn(f"threshold {least:g}", (), spoil.above(least))


def enough(random: Random) -> Drawn:
    """A usual number of detections."""
    most = int(random.integers(40, 300))
    return Drawn(f"the best {most}", (), spoil.best(most))


def fewer(random: Random) -> Drawn:
    """A detector that misses some."""
    share = uniform(random, 0.6, 0.95)
    return Drawn(f"{share:.0%} of the detections", (), spoil.some(share))


def rounded(random: Random) -> Drawn:
    """Fewer digits."""
    name, change = one_of(random, ("rounded", round), ("rounded down", int), ("tenths", lambda v: round(v, 1)))
    return Drawn(f"boxes {name}", (), boxes(lambda x, y, w, h, H, W: tuple(map(change, (x, y, w, h)))))


def less_exact(random: Random) -> Drawn:
    """Boxes with noise."""
    share = uniform(random, 0.01, 0.08)
    return Drawn(f"boxes {share:.0%} less exact", (), spoil.inexact(share))


def biased_sizes(random: Random) -> Drawn:
    """Boxes that are a bit too small or large."""
    wider, higher = (uniform(random, 0.94, 1.06, 3) for _ in range(2))
    return Drawn(f"{wider:g} times as wide, {higher:g} as high", (), spoil.about_centers(wider, higher))


def biased_positions(random: Random) -> Drawn:
    """Boxes that are a bit off, by the same pixels."""
    dx, dy = (uniform(random, -1.5, 1.5) for _ in range(2))
    return Drawn(f"{dx:+g}, {dy:+g} pixels", (), boxes(lambda x, y, w, h, H, W: (x + dx, y + dy, w, h)))


def biased_edges(random: Random) -> Drawn:
    """Boxes that lean to one side, by a share of their size."""
    dx, dy = (uniform(random, -0.03, 0.03, 3) for _ in range(2))
    return Drawn(f"{dx:+g}, {dy:+g} of a box", (), boxes(lambda x, y, w, h, H, W: (x + dx * w, y + dy * h, w, h)))


def one_pixel(random: Random) -> Drawn:
    """The last pixel counted, or not."""
    by = one_of(random, -1, 1)
    return Drawn(f"{by:+d} pixel", (), boxes(lambda x, y, w, h, H, W: (x, y, max(w + by, 1), max(h + by, 1))))


def clipped(random: Random) -> Drawn:
    """Boxes cut at the image."""

    def change(x: float, y: float, w: float, h: float, H: int, W: int) -> tuple[float, ...]:
        return (max(x, 0), max(y, 0), min(x + w, W) - max(x, 0), min(y + h, H) - max(y, 0))

    return Drawn("boxes cut at the image", (), boxes(change))


def rescored(random: Random) -> Drawn:
    """Scores on another scale."""
    power = uniform(random, 0.3, 3)
    name, change = one_of(
        random,
        (f"to the power of {power:g}", lambda s: s**power),
        ("as logarithms", lambda s: np.log(s + 1e-9)),
        ("as odds", lambda s: s / (1.0001 - s)),
        ("in percent", lambda s: 100 * s),
        ("in three digits", lambda s: round(s, 3)),
    )
    return Drawn(f"scores {name}", (), spoil.scored(change))


def less_certain(random: Random) -> Drawn:
    """Scores with noise."""
    noise = uniform(random, 0.1, 0.8)
    return Drawn(f"scores {noise:.0%} less certain", (), spoil.uncertain(noise))


def reordered(random: Random) -> Drawn:
    """Rows in another order."""
    return Drawn("in another order", (), lambda rows, facts: [rows[i] for i in facts.random.permutation(len(rows))])


def blind_to_small(random: Random) -> Drawn:
    """A detector that misses most small objects."""
    side = int(random.integers(12, 48))

    def apply(rows: list[spoil.Row], facts: spoil.Facts) -> list[spoil.Row]:
        return [row for row in rows if row["bbox"][2] * row["bbox"][3] > side**2 or facts.random.random() < 0.3]

    return Drawn(f"few boxes below {side} pixels", (), apply)


def confused(random: Random) -> Drawn:
    """A detector that takes some objects for another class."""
    share = uniform(random, 0.05, 0.25)

    def apply(rows: list[spoil.Row], facts: spoil.Facts) -> list[spoil.Row]:
        def one(row: spoil.Row) -> spoil.Row:
            wrong = facts.random.random() < share
            return row | {"category_id": int(facts.random.choice(facts.categories))} if wrong else row

        return [one(row) for row in rows]

    return Drawn(f"{share:.0%} of another class", (), apply)


BESIDE = (lower_threshold, enough, fewer, rounded, less_exact, clipped, rescored, reordered)
"""What may be in a file beside a fault."""

VARIATIONS = (
    *BESIDE,
    *(biased_sizes,) * 3,
    *(biased_positions,) * 2,
    *(biased_edges,) * 2,
    one_pixel,
    less_certain,
    blind_to_small,
    confused,
)


def variation(random: Random) -> Drawn:
    """A healthy file with one or two peculiarities."""
    kinds = list(dict.fromkeys(VARIATIONS[i] for i in random.permutation(len(VARIATIONS))))
    first, second = kinds[0](random), kinds[1](random)
    if random.random() < 0.5:
        return first
    return Drawn(f"{first.name}; {second.name}", (), after(first.change, second.change))
