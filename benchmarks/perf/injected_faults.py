"""Does `bench doctor` name the mistake? Detections that a script spoils in known ways, and others that are healthy.

    python -m benchmarks.perf.injected_faults --data DIR --predictions FILE [--json]
    python -m benchmarks.perf.injected_faults --data DIR --model NAME --checkpoint FILE [--limit N] [--json]

The first line spoils a healthy file of detections. The second one runs the model itself, also with preprocessing that
is wrong. Of the spoiled files at least 27 of 30 should have their own mistake named first; of the healthy ones, which
are worse, smaller, moved or rescored within reason, none should have a mistake.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
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
from benchmarks.perf import fresh_faults

Row = dict[str, Any]
Spoil = Callable[[list[Row], "Facts"], list[Row]]


class Facts:
    """What a fault may need: sizes (h, w) and category ids by position, of an annotation file."""

    def __init__(self, dataset: CocoDataset) -> None:
        self.sizes = {image.id: size or (1, 1) for image, size in zip(dataset.file.images, dataset.sizes)}
        self.categories = [category.id for category in dataset.file.categories]
        self.names = {category.id: category.name for category in dataset.file.categories}
        self.images = list(self.sizes)
        self.random = np.random.default_rng(0)


def boxes(change: Callable[..., tuple[float, ...]]) -> Spoil:
    """A fault in every box. change: x, y, width, height, and the image's height and width."""
    return lambda rows, facts: [
        row | {"bbox": [float(value) for value in change(*row["bbox"], *facts.sizes[row["image_id"]])]} for row in rows
    ]


def categories(change: Callable[[int, Facts], Any]) -> Spoil:
    """A fault in every category. change: the position of the category in the annotation file."""

    def spoil(rows: list[Row], facts: Facts) -> list[Row]:
        position = {category: i for i, category in enumerate(facts.categories)}
        changed = [row | {"category_id": change(position[row["category_id"]], facts)} for row in rows]
        return [row for row in changed if row["category_id"] is not None]

    return spoil


def at(listed: list[Any], position: int) -> Any:
    """What stands at a position; None outside of the list."""
    return listed[position] if 0 <= position < len(listed) else None


def best(rows: list[Row], count: int) -> list[Row]:
    """The best detections of each image."""
    kept: dict[Any, int] = {}
    result = []
    for row in sorted(rows, key=lambda row: -row["score"]):
        kept[row["image_id"]] = kept.get(row["image_id"], 0) + 1
        if kept[row["image_id"]] <= count:
            result.append(row)
    return result


def alphabetical(facts: Facts) -> list[Any]:
    """Category ids in the order of their names."""
    return sorted(facts.categories, key=lambda category: facts.names[category])


def rotated(rows: list[Row], facts: Facts) -> list[Row]:
    """Every third image as if its EXIF orientation had been ignored: a quarter of a turn back."""
    turned = set(facts.images[::3])
    result = []
    for row in rows:
        x, y, w, h = row["bbox"]
        width = facts.sizes[row["image_id"]][1]
        result.append(row | {"bbox": [y, width - x - w, h, w]} if row["image_id"] in turned else row)
    return result


def neighbors(rows: list[Row], facts: Facts) -> list[Row]:
    """Each image's detections under the id of the next one."""
    following = dict(zip(facts.images, facts.images[1:]))
    return [row | {"image_id": following[row["image_id"]]} for row in rows if row["image_id"] in following]


def shuffled(rows: list[Row], facts: Facts) -> list[Row]:
    """Scores that belong to other boxes."""
    scores = facts.random.permutation([row["score"] for row in rows]).tolist()
    return [row | {"score": score} for row, score in zip(rows, scores)]


def without_suppression(rows: list[Row], facts: Facts) -> list[Row]:
    """Three more boxes around each, with lower scores."""
    extra = []
    for row in rows:
        for _ in range(3):
            x, y, w, h = row["bbox"]
            dx, dy = facts.random.normal(0, 0.03, 2) * (w, h)
            extra.append(row | {"bbox": [x + dx, y + dy, w, h], "score": row["score"] * facts.random.uniform(0.7, 1)})
    return rows + extra


def index_of(rows: list[Row], facts: Facts, first: int) -> list[Row]:
    """Images by their position in the annotation file."""
    position = {image: i for i, image in enumerate(facts.images, first)}
    return [row | {"image_id": position[row["image_id"]]} for row in rows]


def uncertain(noise: float) -> Spoil:
    """Scores with noise, relative to themselves."""
    return lambda rows, facts: [
        row | {"score": float(row["score"] * np.exp(facts.random.normal(0, noise)))} for row in rows
    ]


def inexact(share: float) -> Spoil:
    """Boxes with noise, relative to their sizes."""
    return lambda rows, facts: [row | {"bbox": jittered(row["bbox"], facts, share)} for row in rows]


def some(share: float) -> Spoil:
    """Only some detections, whichever."""
    return lambda rows, facts: [row for row in rows if facts.random.random() < share]


def jittered(box: list[float], facts: Facts, share: float) -> list[float]:
    """A box with noise in all four numbers, relative to its size."""
    x, y, w, h = box
    dx, dy, dw, dh = facts.random.normal(0, share, 4).tolist()
    return [x + dx * w, y + dy * h, w * float(np.exp(dw)), h * float(np.exp(dh))]


# Name -> (the beginnings of the keys that name it, how the file is spoiled).
FAULTS: dict[str, tuple[tuple[str, ...], Spoil]] = {
    "corners in place of sizes": (("xyxy",), boxes(lambda x, y, w, h, H, W: (x, y, x + w, y + h))),
    "centers in place of corners": (("center",), boxes(lambda x, y, w, h, H, W: (x + w / 2, y + h / 2, w, h))),
    "y before x": (("yxyx",), boxes(lambda x, y, w, h, H, W: (y, x, y + h, x + w))),
    "height before width": (("yxhw",), boxes(lambda x, y, w, h, H, W: (y, x, h, w))),
    "fractions of the image": (("normalized",), boxes(lambda x, y, w, h, H, W: (x / W, y / H, w / W, h / H))),
    "fractions, as corners": (
        ("xyxy-normalized",),
        boxes(lambda x, y, w, h, H, W: (x / W, y / H, (x + w) / W, (y + h) / H)),
    ),
    "network coordinates, letterbox": (
        ("input-416-letterbox",),
        boxes(lambda x, y, w, h, H, W: tuple(v * 416 / max(H, W) for v in (x, y, w, h))),
    ),
    "network coordinates, stretched": (
        ("input-640-stretch",),
        boxes(lambda x, y, w, h, H, W: (x * 640 / W, y * 640 / H, w * 640 / W, h * 640 / H)),
    ),
    "network coordinates, centered": (
        ("input-416-centered",),
        boxes(
            lambda x, y, w, h, H, W: (
                (x + (max(H, W) - W) / 2) * 416 / max(H, W),
                (y + (max(H, W) - H) / 2) * 416 / max(H, W),
                w * 416 / max(H, W),
                h * 416 / max(H, W),
            )
        ),
    ),
    "letterbox undone as a stretch": (
        ("letterbox-as-stretch",),
        boxes(lambda x, y, w, h, H, W: (x * W / max(H, W), y * H / max(H, W), w * W / max(H, W), h * H / max(H, W))),
    ),
    "centered padding not subtracted": (
        ("center-padding",),
        boxes(lambda x, y, w, h, H, W: (x + (max(H, W) - W) / 2, y + (max(H, W) - H) / 2, w, h)),
    ),
    "width and height of images exchanged": (
        ("width-height",),
        boxes(lambda x, y, w, h, H, W: (x * H / W, y * W / H, w * H / W, h * W / H)),
    ),
    "mirrored": (("mirrored",), boxes(lambda x, y, w, h, H, W: (W - x - w, y, w, h))),
    "shifted by 12 pixels": (("shifted",), boxes(lambda x, y, w, h, H, W: (x + 12, y + 12, w, h))),
    "boxes too small": (("scaled",), boxes(lambda x, y, w, h, H, W: (x + w / 8, y + h / 8, 3 * w / 4, 3 * h / 4))),
    "EXIF ignored": (("exif",), rotated),
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
        lambda rows, facts: index_of(rows, facts, 0),
    ),
    "images one off": (("image-shift",), neighbors),
    "half of the images": (
        ("missing-images",),
        lambda rows, facts: [row for row in rows if row["image_id"] in set(facts.images[::2])],
    ),
    "scores from the wrong end": (
        ("inverted-scores",),
        lambda rows, facts: [row | {"score": 1 - row["score"]} for row in rows],
    ),
    "scores of other boxes": (("unrelated-scores",), shuffled),
    "no suppression": (("no-nms", "copies"), without_suppression),
    "score threshold 0.3": (("score-threshold",), lambda rows, facts: [row for row in rows if row["score"] >= 0.3]),
    "five detections per image": (("at-most-5",), lambda rows, facts: best(rows, 5)),
}
HEALTHY: dict[str, Spoil] = {
    "as it is": lambda rows, facts: rows,
    "threshold 0.02": lambda rows, facts: [row for row in rows if row["score"] >= 0.02],
    "threshold 0.05": lambda rows, facts: [row for row in rows if row["score"] >= 0.05],
    "the best 50": lambda rows, facts: best(rows, 50),
    "the best 100": lambda rows, facts: best(rows, 100),
    "rounded to pixels": boxes(lambda x, y, w, h, H, W: (round(x), round(y), round(w), round(h))),
    "rounded to tenths": boxes(lambda x, y, w, h, H, W: (round(x, 1), round(y, 1), round(w, 1), round(h, 1))),
    "half a pixel off": boxes(lambda x, y, w, h, H, W: (x + 0.5, y + 0.5, w, h)),
    "2% larger": boxes(lambda x, y, w, h, H, W: (x - w / 100, y - h / 100, w * 1.02, h * 1.02)),
    "in another order": lambda rows, facts: [rows[i] for i in facts.random.permutation(len(rows))],
    "scores squared": lambda rows, facts: [row | {"score": row["score"] ** 2} for row in rows],
    "scores in percent": lambda rows, facts: [row | {"score": 100 * row["score"]} for row in rows],
    "scores as logarithms": lambda rows, facts: [row | {"score": float(np.log(row["score"]))} for row in rows],
    "scores in two digits": lambda rows, facts: [row | {"score": round(row["score"], 2)} for row in rows],
    **{f"less certain scores ({noise:g})": uncertain(noise) for noise in (0.3, 0.7)},
    **{f"boxes {share:.0%} less exact": inexact(share) for share in (0.03, 0.08)},
    **{f"{share:.0%} of the detections": some(share) for share in (0.8, 0.6)},
}


def main() -> None:
    """Spoil, examine, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--fresh", action="store_true", help="the second set, which no rule was made for")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.predictions:
        results = of_file(args.data, json.loads(args.predictions.read_text()), args.fresh)
    else:
        results = of_model(args.data, args.model, args.checkpoint, args.limit)
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        print("\n".join(line(one) for one in results))
        print(verdict(results))


def of_file(data: Path, rows: list[Row], fresh: bool = False) -> list[dict[str, Any]]:
    """What is named for each fault, and for each healthy file. fresh: of the second set."""
    dataset = open_dataset("coco_2017", data, MetricConfig(measures=("box",), predictions=True))
    assert isinstance(dataset, CocoDataset)
    case, facts = cases.open_case(dataset), Facts(dataset)
    faults, healthy = (fresh_faults.FAULTS, fresh_faults.HEALTHY) if fresh else (FAULTS, HEALTHY)
    wanted: Mapping[str, tuple[tuple[str, ...], Spoil]] = faults | {name: ((), one) for name, one in healthy.items()}
    return [
        {"fault": name, "expected": list(keys), **named(case, spoil(rows, facts))}
        for name, (keys, spoil) in wanted.items()
    ]


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


def is_right(one: dict[str, Any]) -> bool:
    """Whether a fault is named first, or nothing is named for a healthy file."""
    if not one["expected"]:
        return not one["named"]
    return bool(one["named"]) and one["named"][0].startswith(tuple(one["expected"]))


def line(one: dict[str, Any]) -> str:
    """One result for people."""
    said = ", ".join(one["named"]) or "nothing"
    numbers = f"{100 * one['ap']:5.1f} -> {100 * one['repaired']:5.1f}"
    return f"{'ok ' if is_right(one) else 'NOT'} {one['fault']:38} {numbers}  {said}"


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
