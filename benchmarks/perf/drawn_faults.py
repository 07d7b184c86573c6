"""Faults and healthy files for `bench doctor`, drawn with a seed: another seed gives a set that no rule was made for.

    python -m benchmarks.perf.injected_faults --seed N --data DIR --predictions FILE

Kinds of mistakes and their sizes are drawn, and each comes together with what files of real detectors have: rounding,
thresholds, missing detections, noise. Healthy files are those of detectors that are worse, biased by a few percent or
a pixel or two, or scored otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.doctor.boxes import INPUTS
from benchmarks.perf import spoil
from benchmarks.perf.spoil import Spoil, after, at, boxes

FAULTS, HEALTHY = 30, 20
Random = np.random.Generator


class Drawn(NamedTuple):
    """name: with its parameters. keys: those that name it; none for a healthy file."""

    name: str
    keys: tuple[str, ...]
    change: Spoil


def draw(seed: int) -> list[Drawn]:
    """FAULTS faults, each of another kind while there are kinds, and HEALTHY healthy files."""
    random = np.random.default_rng(seed)
    kinds = [KINDS[i] for i in random.permutation(len(KINDS))]
    faults = [together(kinds[i % len(kinds)](random), random) for i in range(FAULTS)]
    healthy = [variation(random) for _ in range(HEALTHY)]
    return [*faults, *healthy]


def together(fault: Drawn, random: Random) -> Drawn:
    """A fault in a file that has something harmless too, half of the time."""
    if random.random() < 0.5 or fault.keys[0] in ALONE:
        return fault
    harmless = BESIDE[random.integers(len(BESIDE))](random)
    return Drawn(f"{fault.name}; {harmless.name}", fault.keys, after(harmless.change, fault.change))


def uniform(random: Random, low: float, high: float, digits: int = 2) -> float:
    """A number of few digits."""
    return round(float(random.uniform(low, high)), digits)


def one_of(random: Random, *values: Any) -> Any:
    """One of some values."""
    return values[random.integers(len(values))]


def layout(random: Random) -> Drawn:
    """Other meanings of the four numbers, in pixels or as shares."""
    key = one_of(random, *spoil.LAYOUTS)
    share = one_of(random, "", "normalized", "of-100", "of-1000") if key else one_of(random, *SHARES)
    factor = {"": 0, "normalized": 1, "of-100": 100, "of-1000": 1000}[share]
    return Drawn(f"boxes {key or 'xywh'} {share}", ("-".join(filter(None, (key, share))),), spoil.layout(key, factor))


SHARES = ("normalized", "of-100", "of-1000")


LONGEST = 640
"""Of most images of COCO: coordinates in an input of this side are those of the image, or another fault of `mapped`."""

SIDES = [side for side in INPUTS[:-1] if side != LONGEST]


def of_network(random: Random) -> Drawn:
    """Coordinates of the network's input."""
    side, how = one_of(random, *SIDES), one_of(random, "letterbox", "stretch", "centered")
    return Drawn(f"network coordinates, {side} {how}", (f"input-{side}-{how}",), spoil.network(side, how))


def corners_of_network(random: Random) -> Drawn:
    """The same as corners."""
    side, how = one_of(random, 320, 416, 512, 800, 1024), one_of(random, "letterbox", "stretch")
    name, key = f"network coordinates as corners, {side} {how}", f"xyxy-input-{side}-{how}"
    return Drawn(name, (key,), after(spoil.network(side, how), spoil.layout("xyxy")))


def other_input(random: Random) -> Drawn:
    """Scaled back with another input size than the network's: a factor from the image's corner.

    Where all images are equally long, as in most of COCO, that is the same as coordinates of some network's input.
    """
    used, wanted = one_of(random, *((a, b) for a in INPUTS for b in INPUTS if abs(np.log(a / b)) > 0.1))
    change = boxes(lambda x, y, w, h, H, W: tuple(value * wanted / used for value in (x, y, w, h)))
    same = [side for side in INPUTS if abs(np.log(side / (LONGEST * wanted / used))) < 0.03]
    keys = ("resize-scale", *(f"input-{side}-letterbox" for side in same))
    return Drawn(f"scaled back from {used} instead of {wanted}", keys, change)


def mapped(random: Random) -> Drawn:
    """Brought back from the network's input in the wrong way."""
    key, change = one_of(random, *spoil.MAPPED.items())
    return Drawn(f"mapped: {key}", (key,), boxes(change))


def mirrored(random: Random) -> Drawn:
    """Mirrored one way or the other."""
    if random.random() < 0.5:
        return Drawn("mirrored", ("mirrored",), boxes(lambda x, y, w, h, H, W: (W - x - w, y, w, h)))
    return Drawn("upside down", ("upside-down",), boxes(lambda x, y, w, h, H, W: (x, H - y - h, w, h)))


def shifted(random: Random) -> Drawn:
    """All boxes by the same pixels."""
    dx, dy = (int(one_of(random, -1, 1) * random.integers(8, 25)) for _ in range(2))
    return Drawn(f"shifted by {dx}, {dy}", ("shifted",), boxes(lambda x, y, w, h, H, W: (x + dx, y + dy, w, h)))


def sized(random: Random) -> Drawn:
    """Boxes of the wrong size about their centers."""
    factor = one_of(random, uniform(random, 0.5, 0.8), uniform(random, 1.25, 2))
    return Drawn(f"{factor:g} times as large", ("scaled",), spoil.about_centers(factor, factor))


def exif(random: Random) -> Drawn:
    """Turned images."""
    quarters, each = int(random.integers(1, 4)), int(random.integers(2, 5))
    return Drawn(f"{quarters} quarters in every {each}. image", ("exif",), spoil.turned(quarters, each))


def labels(random: Random) -> Drawn:
    """Labels in place of ids."""
    first = int(random.integers(2))
    return Drawn(f"labels from {first}", (f"labels-from-{first}",), spoil.categories(lambda p, facts: p + first))


def neighbor_classes(random: Random) -> Drawn:
    """Classes one off."""
    by = one_of(random, 1, -1)
    key = f"classes{-by:+d}"
    return Drawn(f"classes {by:+d}", (key,), spoil.categories(lambda p, facts: at(facts.categories, p + by)))


def neighbor_ids(random: Random) -> Drawn:
    """Ids one off."""
    by = one_of(random, 1, -1)
    return Drawn(f"ids {by:+d}", (f"ids{-by:+d}",), spoil.categories(lambda p, facts: facts.categories[p] + by))


def by_name(random: Random) -> Drawn:
    """Classes in alphabetical order."""
    first = int(random.integers(2))

    def change(position: int, facts: spoil.Facts) -> int:
        return first + spoil.alphabetical(facts).index(facts.categories[position])

    return Drawn(f"alphabetical from {first}", (f"alphabetical-labels-from-{first}",), spoil.categories(change))


def other_order(random: Random) -> Drawn:
    """Classes in an order that nothing explains."""
    seed = int(random.integers(1000))

    def change(position: int, facts: spoil.Facts) -> Any:
        return facts.categories[np.random.default_rng(seed).permutation(len(facts.categories))[position]]

    return Drawn(f"order {seed} of the classes", ("other-order",), spoil.categories(change))


def reversed_order(random: Random) -> Drawn:
    """Classes from the end."""
    return Drawn("classes reversed", ("reversed",), spoil.categories(lambda p, facts: facts.categories[-1 - p]))


def by_index(random: Random) -> Drawn:
    """Images by their position."""
    first = int(random.integers(2))
    keys = (f"image-index-from-{first}", f"image-name-index-from-{first}")
    return Drawn(f"images by index from {first}", keys, spoil.identified(lambda i, facts: i + first))


def by_file(random: Random) -> Drawn:
    """Images by their file names."""
    key = one_of(random, "file-name", "file-stem", "id-type")

    def change(i: int, facts: spoil.Facts) -> str:
        name = facts.file_names[facts.images[i]]
        return {"file-name": name, "file-stem": name.rpartition(".")[0], "id-type": str(facts.images[i])}[key]

    return Drawn(f"images by {key}", (key,), spoil.identified(change))


def neighbor_images(random: Random) -> Drawn:
    """Images one off."""
    by = one_of(random, 1, -1)
    return Drawn(f"images {by:+d}", ("image-shift",), spoil.identified(lambda i, facts: at(facts.images, i + by)))


def missing_images(random: Random) -> Drawn:
    """Only the first images."""
    share = uniform(random, 0.3, 0.75)

    def change(i: int, facts: spoil.Facts) -> Any:
        return facts.images[i] if i < share * len(facts.images) else None

    return Drawn(f"the first {share:.0%} of the images", ("missing-images",), spoil.identified(change))


def inverted(random: Random) -> Drawn:
    """Scores that fall where they should rise."""
    name, change = one_of(random, ("1 - s", lambda s: 1 - s), ("-s", lambda s: -s), ("1 / s", lambda s: 1 / (s + 0.01)))
    return Drawn(f"scores {name}", ("inverted-scores",), spoil.scored(change))


def unrelated(random: Random) -> Drawn:
    """Scores of other boxes."""
    name, change = one_of(random, ("any box", spoil.shuffled), ("the image", spoil.shuffled_within_images))
    return Drawn(f"scores of other boxes of {name}", ("unrelated-scores",), change)


def equal_scores(random: Random) -> Drawn:
    """No order."""
    value = uniform(random, 0.3, 1)
    return Drawn(f"all scores {value:g}", ("equal-scores",), spoil.scored(lambda s: value))


def unsuppressed(random: Random) -> Drawn:
    """Boxes several times."""
    count, noise = int(random.integers(1, 5)), one_of(random, 0.0, 0.02, 0.04)
    return Drawn(f"{count} copies, noise {noise:g}", ("copies", "no-nms"), spoil.repeated(count, noise))


def thresholded(random: Random) -> Drawn:
    """Low scores are missing."""
    least = uniform(random, 0.2, 0.5)
    return Drawn(f"threshold {least:g}", ("score-threshold",), spoil.above(least))


def capped(random: Random) -> Drawn:
    """Further detections are missing."""
    most = int(random.integers(3, 8))
    return Drawn(f"the best {most}", (f"at-most-{most}",), spoil.best(most))


KINDS: tuple[Callable[[Random], Drawn], ...] = (
    *(layout,) * 4,
    *(of_network,) * 3,
    corners_of_network,
    other_input,
    *(mapped,) * 3,
    mirrored,
    *(shifted,) * 2,
    *(sized,) * 2,
    exif,
    labels,
    neighbor_classes,
    neighbor_ids,
    by_name,
    other_order,
    reversed_order,
    by_index,
    by_file,
    neighbor_images,
    missing_images,
    inverted,
    unrelated,
    equal_scores,
    unsuppressed,
    thresholded,
    capped,
)
ALONE = ("score-threshold", "equal-scores", *(f"at-most-{most}" for most in range(3, 8)))
"""Of these, less than the whole file would be another fault."""


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


def biased_places(random: Random) -> Drawn:
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
    *(biased_places,) * 2,
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
