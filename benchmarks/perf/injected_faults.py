"""Does `bench doctor` name the mistake? Detections that a script spoils in known ways, and others that are healthy.

    python -m benchmarks.perf.injected_faults --data DIR --predictions FILE [--seed N] [--json]
    python -m benchmarks.perf.injected_faults --data DIR --model NAME --checkpoint FILE [--limit N] [--json]

The first line spoils a healthy file of detections, in the ways that the rules were made for, or in ways drawn with a
seed (`drawn_faults`). The second one runs the model itself, also with preprocessing that is wrong. Of the spoiled files
at least 27 of 30 should have their own mistake named first; of the healthy ones, which are worse, smaller, moved or
rescored within reason, none should have a mistake.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.doctor import case as cases
from benchmarks.doctor import detections, rerun
from benchmarks.doctor.case import Case
from benchmarks.doctor.examine import examine
from benchmarks.doctor.pipelines import pipelines
from benchmarks.perf import drawn_faults, spoil
from benchmarks.perf.drawn import Drawn
from benchmarks.perf.spoil import Facts, Row, Spoil, alphabetical, at, boxes, categories

# Name -> (the keys that name it, how the file is spoiled).
FAULTS: dict[str, tuple[tuple[str, ...], Spoil]] = {
    "corners in place of sizes": (("xyxy",), spoil.layout("xyxy")),
    "centers in place of corners": (("center",), spoil.layout("center")),
    "y before x": (("yxyx",), spoil.layout("yxyx")),
    "height before width": (("yxhw",), spoil.layout("yxhw")),
    "fractions of the image": (("normalized",), spoil.layout("", 1)),
    "fractions, as corners": (
        ("xyxy-normalized",),
        spoil.layout("xyxy", 1),
    ),
    "network coordinates, letterbox": (("input-416-letterbox",), spoil.network(416, "letterbox")),
    "network coordinates, stretched": (("input-640-stretch",), spoil.network(640, "stretch")),
    "network coordinates, centered": (("input-416-centered",), spoil.network(416, "centered")),
    "letterbox undone as a stretch": (
        ("letterbox-as-stretch",),
        boxes(spoil.MAPPED["letterbox-as-stretch"]),
    ),
    "centered padding not subtracted": (
        ("center-padding",),
        boxes(spoil.MAPPED["center-padding"]),
    ),
    "width and height of images exchanged": (
        ("width-height",),
        boxes(spoil.MAPPED["width-height"]),
    ),
    "mirrored": (("mirrored",), boxes(lambda x, y, w, h, H, W: (W - x - w, y, w, h))),
    "shifted by 12 pixels": (("shifted",), boxes(lambda x, y, w, h, H, W: (x + 12, y + 12, w, h))),
    "boxes too small": (("scaled",), spoil.about_centers(0.75, 0.75)),
    "EXIF ignored": (("exif",), spoil.turned(3, 3)),
    "labels from 0": (("labels-from-0",), categories(lambda position, facts: position)),
    "labels from 1": (("labels-from-1",), categories(lambda position, facts: position + 1)),
    "classes one too high": (("classes-1",), categories(lambda position, facts: at(facts.categories, position + 1))),
    "classes one too low": (("classes+1",), categories(lambda position, facts: at(facts.categories, position - 1))),
    "alphabetical labels": (
        ("alphabetical",),
        categories(lambda position, facts: alphabetical(facts).index(facts.categories[position])),
    ),
    "classes in an unknown order": (
        ("other-order",),
        categories(lambda position, facts: facts.categories[(position * 37 + 11) % len(facts.categories)]),
    ),
    "images by index": (
        ("image-index-from-0", "image-name-index-from-0"),
        spoil.identified(lambda i, facts: i),
    ),
    "images one off": (("image-shift",), spoil.identified(lambda i, facts: at(facts.images, i + 1))),
    "half of the images": (
        ("missing-images",),
        spoil.identified(lambda i, facts: None if i % 2 else facts.images[i]),
    ),
    "scores from the wrong end": (("inverted-scores",), spoil.scored(lambda score: 1 - score)),
    "scores of other boxes": (("unrelated-scores",), spoil.shuffled),
    "no suppression": (("no-nms", "copies"), spoil.repeated(3, 0.03)),
    "score threshold 0.3": (("score-threshold",), spoil.above(0.3)),
    "five detections per image": (("at-most-5",), spoil.best(5)),
}
HEALTHY: dict[str, Spoil] = {
    "as it is": lambda rows, facts: rows,
    "threshold 0.02": spoil.above(0.02),
    "threshold 0.05": spoil.above(0.05),
    "the best 50": spoil.best(50),
    "the best 100": spoil.best(100),
    "rounded to pixels": boxes(lambda x, y, w, h, H, W: (round(x), round(y), round(w), round(h))),
    "rounded to tenths": boxes(lambda x, y, w, h, H, W: (round(x, 1), round(y, 1), round(w, 1), round(h, 1))),
    "half a pixel off": boxes(lambda x, y, w, h, H, W: (x + 0.5, y + 0.5, w, h)),
    "2% larger": spoil.about_centers(1.02, 1.02),
    "in another order": lambda rows, facts: [rows[i] for i in facts.random.permutation(len(rows))],
    "scores squared": spoil.scored(lambda score: score**2),
    "scores in percent": spoil.scored(lambda score: 100 * score),
    "scores as logarithms": spoil.scored(lambda score: float(np.log(score))),
    "scores in two digits": spoil.scored(lambda score: round(score, 2)),
    **{f"less certain scores ({noise:g})": spoil.uncertain(noise) for noise in (0.3, 0.7)},
    **{f"boxes {share:.0%} less exact": spoil.inexact(share) for share in (0.03, 0.08)},
    **{f"{share:.0%} of the detections": spoil.some(share) for share in (0.8, 0.6)},
}


def main() -> None:
    """Spoil, examine, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--seed", type=int, help="draw the faults and the healthy files")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.predictions:
        results = of_file(args.data, json.loads(args.predictions.read_text()), args.seed)
    else:
        results = of_model(args.data, args.model, args.checkpoint, args.limit)
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        print("\n".join(line(one) for one in results))
        print(verdict(results))


def of_file(data: Path, rows: list[Row], seed: int | None = None) -> list[dict[str, Any]]:
    """What is named for each fault, and for each healthy file. seed: of a drawn set, in place of the fixed one."""
    dataset = open_dataset("coco_2017", data, MetricConfig(measures=("box",), predictions=True))
    assert isinstance(dataset, CocoDataset)
    case, facts = cases.open_case(dataset), Facts(dataset)
    return [
        {"fault": name, "expected": list(keys), **named(case, change(rows, facts))}
        for name, keys, change in (fixed() if seed is None else drawn_faults.draw(seed))
    ]


def fixed() -> list[Drawn]:
    """FAULTS and HEALTHY in one list."""
    faults = [Drawn(name, keys, change) for name, (keys, change) in FAULTS.items()]
    return [*faults, *(Drawn(name, (), change) for name, change in HEALTHY.items())]


# Of the model's own detections in each image: which stay.
SELECTIONS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "score threshold 0.05": (("score-threshold",), lambda table: table[table[:, 5] >= 0.05]),
    "score threshold 0.1": (("score-threshold",), lambda table: table[table[:, 5] >= 0.1]),
    "score threshold 0.5": (("score-threshold",), lambda table: table[table[:, 5] >= 0.5]),
    "ten detections per image": (("at-most-10",), lambda table: table[np.argsort(-table[:, 5])][:10]),
    "none": ((), lambda table: table),
    "the best 100": ((), lambda table: table[np.argsort(-table[:, 5])][:100]),
}


def of_model(data: Path, name: str, checkpoint: Path | None, limit: int) -> list[dict[str, Any]]:
    """The same for a model that is run with wrong preprocessing, and for selections of its own detections."""
    import zoo
    from zoo.manifest import api

    dataset = detections.opened(data, "coco_2017", None)
    case, recipe = cases.open_case(dataset, limit), api.preprocessing(name)
    known = detections.Known(zoo.load_file(checkpoint, name) if checkpoint else zoo.load(name), recipe)
    numbers, paths = rerun.number_of_labels(case, known.model), rerun.paths_of(case)
    tables = {
        one.key: {i: rerun.detect(known.model, one, path, numbers, i) for i, path in paths.items()}
        for one in pipelines(recipe)
        if one.key != "exif"  # nothing without such files
    }
    tried: dict[str, tuple[tuple[str, ...], dict[int, Any]]] = {
        f"preprocessing: {key}": ((key,), table) for key, table in tables.items() if key
    }
    for title, (keys, select) in SELECTIONS.items():
        tried[f"selection: {title}"] = (keys, {i: select(table) for i, table in tables[""].items()})
    results = []
    for title, (keys, table) in tried.items():
        result = compared(case, known, np.concatenate(list(table.values())))
        results.append({"fault": title, "expected": list(keys), **result})
        print(line(results[-1]), file=sys.stderr)
    return results


def compared(case: Case, known: detections.Known, table: Any) -> dict[str, Any]:
    """What `bench doctor --model` says of detections."""
    ids = {number: i for i, number in case.image_ids.items()}, {number: i for i, number in case.category_ids.items()}
    image, category = (np.array([names[int(i)] for i in table[:, c]], object) for names, c in zip(ids, (0, 6)))
    diagnosis = examine(
        case, cases.Rows(image, category, table[:, 1:5], table[:, 5]), detections.inputs_of(known.recipe)
    )
    result = detections.with_model(case, diagnosis, known, detections.as_data(case, diagnosis))
    keys, points = ([one[name] for one in result["explanations"]] for name in ("key", "points"))
    repaired = result["model_box_ap"] or diagnosis.repaired
    return {"named": keys, "points": points, "ap": diagnosis.ap, "repaired": repaired}


def named(case: Case, rows: list[Row]) -> dict[str, Any]:
    """What `bench doctor` says of a file with these rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.json"
        file.write_text(json.dumps(rows))
        diagnosis = examine(case, cases.read_rows(file))
    keys = [one.key for one in diagnosis.explanations]
    points = [one.points for one in diagnosis.explanations]
    return {"named": keys, "points": points, "ap": diagnosis.ap, "repaired": diagnosis.repaired}


OPEN = ("score-threshold", "image-shift", "alphabetical")
"""Keys that go on with a number or a further fact."""


def is_right(one: dict[str, Any]) -> bool:
    """Whether a fault is named first, or nothing is named for a healthy file."""
    if not one["expected"]:
        return not one["named"]
    first = one["named"][0] if one["named"] else ""
    return first in one["expected"] or first.startswith(tuple(key for key in one["expected"] if key in OPEN))


def line(one: dict[str, Any]) -> str:
    """One result for people."""
    said = ", ".join(one["named"]) or "nothing"
    numbers = f"{100 * one['ap']:5.1f} -> {100 * one['repaired']:5.1f}"
    return f"{'ok ' if is_right(one) else 'NOT'} {one['fault']:60} {numbers}  {said}"


def verdict(results: list[dict[str, Any]]) -> str:
    """How many are right."""
    faults = [one for one in results if one["expected"]]
    healthy = [one for one in results if not one["expected"]]
    return (
        f"{sum(map(is_right, faults))} of {len(faults)} faults named first, "
        f"{sum(not is_right(one) for one in healthy)} of {len(healthy)} healthy files with a false verdict."
    )


if __name__ == "__main__":
    main()
