"""The benchmark tables of MMDetection's zoo page, published columns with this machine's measurements beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.reports import peer_training, peers
from benchmarks.reports.table import Cell, Link, Table
from benchmarks.results import selection
from benchmarks.results.record import Record
from benchmarks.speed.peers import counterparts
from zoo.download.fetch import cached_path
from zoo.manifest import api

FILE = "reference_comparison.yaml"
MEASURED = ("measured", "measured with", "ratio")
PEERS = {"detectron2": "Detectron2", "mmdet": "MMDetection", "torchvision": "torchvision"}
BESIDE = tuple(name for label in PEERS.values() for name in (f"{label} measured", f"ours against {label}"))
HERE = (
    "`measured` is this machine's, `ratio` is measured over published MMDetection where both are of GPUs. Empty: not "
    "measured here."
)
PAIR = (
    "Ours against another: its seconds over ours in one interleaved run of that detector, with the 95% interval; above "
    "1 ours is faster. The rows of these runs, with all that differs between the networks, are below."
)


def read_facts(folder: Path | None = None) -> dict[str, Any]:
    """The published tables, from the manifests."""
    import yaml

    from zoo.manifest.yaml_io import builtin_files

    return yaml.safe_load(((folder or builtin_files()[0].parent) / FILE).read_text(encoding="utf-8"))


def tables(facts: Mapping[str, Any], records: Sequence[Record]) -> list[Table]:
    """All tables of the page, in its order."""
    pairs = facts["comparison_with_detectron2"]
    return [
        settings(facts["settings"]),
        throughput(facts["training_throughput"], records),
        accuracy(pairs, records),
        training_speed(pairs, records),
        inference_speed(pairs, records),
        training_memory(pairs, records),
        detectron2_zoo(pairs),
        *(table for table in (peers.table(records), peer_training.table(records)) if table.rows),
    ]


def settings(facts: Mapping[str, str]) -> Table:
    """Under which conditions the published numbers were measured."""
    rows = [{"setting": name, "value": value} for name, value in facts.items()]
    return Table("Published settings", ("setting", "value"), rows)


def throughput(facts: Mapping[str, Any], records: Sequence[Record]) -> Table:
    """Training throughput of seven frameworks; ours is measured in MMDetection's row, peers in their own."""
    rows = []
    for row in facts["rows"]:
        ours = row["implementation"] == facts["ours"]
        groups = selection.by_device(records) if ours else []
        result = next(filter(None, (newest(group, "training", facts["models"]) for group in groups)), None)
        value = result.metrics.get("images_per_second") if result else None
        cells: dict[str, Cell] = {
            "implementation": Link(row["implementation"], row["url"]),
            "published": float(row["published"]),
            "Detectron2's page": float(row["detectron2_docs"]),
        }
        rows.append(cells | measured(value, row["published"], result))
    columns = ("implementation", "published", "Detectron2's page", *MEASURED)
    note = f"In {facts['unit']}. {facts['note']} {HERE}"
    return Table(facts["title"], columns, rows, note, {"published": 0, "Detectron2's page": 0, "ratio": 2}, MEASURED)


def accuracy(pairs: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> Table:
    """Box and mask AP of models that both trained under the same settings."""
    rows = []
    accuracies = selection.accuracies(records, [api.get(pair["models"][0]) for pair in pairs])
    for pair in pairs:
        result = accuracies.get(pair["models"][0])
        for metric, published in pair["accuracy"]["mmdetection"].items():
            value = selection.percent(result, metric)
            cells: dict[str, Cell] = {
                "type": pair["type"],
                "schedule": pair["schedule"],
                "metric": metric,
                "Detectron2": pair["accuracy"]["detectron2"][metric],
                "MMDetection": published,
                "model": pair["models"][0],
            }
            here = without_accuracy(pair["models"][0]) if value is None else measured(value, published, result)
            rows.append(cells | here)
    columns = ("type", "schedule", "metric", "Detectron2", "MMDetection", *MEASURED, "model")
    return Table("Accuracy", columns, rows, f"COCO 2017 val, percent points. {HERE}", {"ratio": 3}, MEASURED)


def without_accuracy(model: str) -> dict[str, Cell]:
    """This machine's columns where nothing was measured; they say so if it has no file of the model's weights."""
    return dict.fromkeys(MEASURED) | {"measured with": None if cached_path(api.get(model)) else "no weights here"}


def training_speed(pairs: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> Table:
    """Seconds per iteration; a peer that was measured in the same run stands beside ours."""

    def row(pair: Mapping[str, Any], group: Sequence[Record]) -> dict[str, Cell]:
        published, names = pair["training_speed"], [*detectron2_names(pair["models"]), *pair["models"]]
        result = newest(group, "compare training", names) or newest(group, "training", pair["models"])
        cells = both(pair, published) | measured(value_of(result, "iteration_s"), published["mmdetection"], result)
        return cells | beside(group, "compare training", pair["models"], "iteration_s")

    note = f"Seconds per iteration, lower is better; published with 16 images on 8 GPUs. {HERE} {PAIR}"
    digits = {"Detectron2": 3, "MMDetection": 3, "measured": 3, "ratio": 2, **dict.fromkeys(BESIDE[::2], 3)}
    columns = ("type", "Detectron2", "MMDetection", *MEASURED, *BESIDE)
    rows = on_each_device(row, pairs, records, (*MEASURED, *BESIDE))
    return Table("Training speed", columns, rows, note, digits, (*MEASURED, *BESIDE))


def inference_speed(pairs: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> Table:
    """Images per second; a peer that was measured in the same run stands beside ours."""

    def row(pair: Mapping[str, Any], group: Sequence[Record]) -> dict[str, Cell]:
        published, names = pair["inference_speed"], [*detectron2_names(pair["models"]), *pair["models"]]
        result = newest(group, "compare", names) or newest(group, "inference", pair["models"])
        cells = both(pair, published) | {"Detectron2's zoo": published["detectron2_official"]}
        cells |= measured(value_of(result, "fps"), published["mmdetection"], result)
        return cells | beside(group, "compare", pair["models"], "fps")

    note = f"Images per second on one GPU, without data loading; Mask R-CNN without mask encoding. {HERE} {PAIR}"
    columns = ("type", "Detectron2", "Detectron2's zoo", "MMDetection", *MEASURED, *BESIDE)
    digits = {"measured": 2, "ratio": 2, **dict.fromkeys(BESIDE[::2], 2)}
    rows = on_each_device(row, pairs, records, (*MEASURED, *BESIDE))
    return Table("Inference speed", columns, rows, note, digits, (*MEASURED, *BESIDE))


def on_each_device(
    row: Callable[[Mapping[str, Any], Sequence[Record]], dict[str, Cell]],
    pairs: Sequence[Mapping[str, Any]],
    records: Sequence[Record],
    filled: Sequence[str],
) -> list[Mapping[str, Cell]]:
    """A row per detector and device on which something of it was measured; at least one per detector.

    row: makes it of the records of one device. filled: the columns that a measurement fills.
    """
    rows: list[Mapping[str, Cell]] = []
    for pair in pairs:
        cells = [row(pair, group) for group in selection.by_device(records)]
        rows += [one for one in cells if any(one[name] is not None for name in filled)] or [row(pair, [])]
    return rows


def value_of(record: Record | None, metric: str) -> float | None:
    """A number of a record, if there is one."""
    return record.metrics.get(metric) if record else None


def beside(records: Sequence[Record], kind: str, models: Sequence[str], metric: str) -> dict[str, Cell]:
    """Each peer's number in the run in which it was measured with ours, and how many times as fast ours was."""
    cells: list[Cell] = []
    for peer in PEERS:
        record = newest(records, kind, names_of(models, peer), peer)
        cells += [value_of(record, metric), times_as_fast(record)]
    return dict(zip(BESIDE, cells))


def times_as_fast(peer: Record | None) -> str | None:
    """How many times as fast as a peer ours was; None where both did not do the same."""
    m = peer.metrics if peer else {}
    if "speedup" not in m:
        return None
    return f"{1 / m['speedup']:.2f} ({1 / m['speedup_high']:.2f} to {1 / m['speedup_low']:.2f})"


def names_of(models: Sequence[str], peer: str) -> list[str]:
    """Under which names these networks, or those without what is special to caffe, are compared with a peer."""
    plain = [re.sub(r"_caffe_fpn_.*", "_fpn_1x_coco", model) for model in models]
    if peer == "torchvision":
        return [f"torchvision/{counterparts.TORCHVISION[name]}" for name in plain if name in counterparts.TORCHVISION]
    own = detectron2_names(models) if peer == "detectron2" else plain
    return list(dict.fromkeys([*own, *models]))


def detectron2_names(models: Sequence[str]) -> list[str]:
    """The same networks as Detectron2 has them, under whose names it is compared."""
    result = []
    for model in models:
        with suppress(counterparts.NoCounterpart):
            result.append(counterparts.in_detectron2(model).name)
    return list(dict.fromkeys(result))


def training_memory(pairs: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> Table:
    """What tensors took on the GPU, in GB."""

    def row(pair: Mapping[str, Any], group: Sequence[Record]) -> dict[str, Cell]:
        published, result = pair["training_memory"], newest(group, "training", pair["models"])
        mib = value_of(result, "cuda_allocated_mib")
        gigabytes = None if mib is None else mib * 2**20 / 1e9
        return both(pair, published) | measured(gigabytes, published["mmdetection"], result)

    note = f"GB allocated by PyTorch (the page names no unit), two images per GPU. {HERE}"
    columns = ("type", "Detectron2", "MMDetection", *MEASURED)
    rows = on_each_device(row, pairs, records, MEASURED)
    return Table("Training memory", columns, rows, note, {"ratio": 2}, MEASURED)


def detectron2_zoo(pairs: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of Detectron2's own zoo that the page compares with, then and now."""
    entries = [(pair, pair[key]) for pair in pairs for key in ("detectron2_zoo", "detectron2_zoo_now") if key in pair]
    columns = ("type", *dict.fromkeys(name for _, entry in entries for name in entry))
    rows = [{"type": pair["type"], **entry} for pair, entry in entries]
    note = "Its training speed and memory equal the page's columns digit for digit; RetinaNet was trained anew since."
    digits = {"train_s_per_iter": 3, "inference_s_per_image": 3}
    return Table("Detectron2's own zoo", columns, rows, note, digits)


def both(pair: Mapping[str, Any], published: Mapping[str, float]) -> dict[str, Cell]:
    """The columns that most tables begin with."""
    return {
        "type": pair["type"],
        "Detectron2": published["detectron2"],
        "MMDetection": published["mmdetection"],
    }


def measured(value: float | None, published: float, record: Record | None) -> dict[str, Cell]:
    """This machine's columns; all empty without a measurement."""
    if value is None or record is None:
        return dict.fromkeys(MEASURED)
    parts = [record.environment.get("device"), record.protocol, record.parameters.get("weights")]
    text = ", ".join(str(part) for part in parts if part)
    on_cpu = record.environment.get("device_type") == "cpu"  # the published numbers are of GPUs
    return {"measured": float(value), "measured with": text, "ratio": None if on_cpu else value / published}


def newest(records: Sequence[Record], kind: str, models: Sequence[str], peer: str | None = None) -> Record | None:
    """The newest plain measurement of the most preferred model; of a peer if one is named."""
    result = selection.newest(records, kind, peer)
    return next((result[model] for model in models if model in result), None)
