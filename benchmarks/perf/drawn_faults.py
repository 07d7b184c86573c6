"""Faults and healthy files for `bench doctor`, drawn with a seed: another seed gives a set that no rule was made for.

    python -m benchmarks.perf.injected_faults --seed N --data DIR --predictions FILE

Kinds of mistakes and their sizes are drawn, and each comes together with what files of real detectors have: rounding,
thresholds, missing detections, noise. `drawn_healthy` has the healthy files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.doctor.boxes import INPUTS
from benchmarks.perf import spoil
from benchmarks.perf.drawn import Drawn, Random, one_of, uniform
from benchmarks.perf.drawn_healthy import BESIDE, variation
from benchmarks.perf.spoil import after, at, boxes

FAULTS, HEALTHY = 30, 20


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
