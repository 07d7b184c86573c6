"""Write the generated parts of README.md: the tables of published models, and the strip of images.

python .ci/write_readme.py             # the tables, from manifests/ and the records of reports/
python .ci/write_readme.py --images    # also docs/images/, by `zoo detect` with the demo's models on generated images
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import zoo
from benchmarks.gpu_check.stages import WELL_KNOWN
from benchmarks.reports import comparison
from benchmarks.results.record import Record
from benchmarks.results.store import read_lines

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
# The demo's model and the generated image that it is shown with.
IMAGES = {"demo_atss": "000014", "demo_mask_rcnn": "000023", "demo_yolox": "000007"}
ENLARGED = 3
# Where the records of the benchmarks stand; other files of reports/ have lines of other kinds.
RECORDS = ("comparison", "demo", "gpu", "latency", "peers")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the generated parts of README.md.")
    parser.add_argument("--images", action="store_true", help="also draw docs/images/")
    if parser.parse_args().images:
        draw(ROOT / "docs" / "images")
    README.write_text(updated(README.read_text()))


def updated(text: str) -> str:
    """README.md with its generated tables written again, each between its two marks."""
    for mark, lines in (("models", models()), ("detectron2", detectron2())):
        begin, end = f"<!-- {mark}: written by .ci/write_readme.py -->\n", f"<!-- end of {mark} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + "".join(f"{line}\n" for line in lines) + end + rest.partition(end)[2]
    return text


def models() -> Iterator[str]:
    """The table of well-known models, in percent on COCO 2017 val, and millions of parameters."""
    yield "| model | box AP | mask AP | parameters | latency, CPU | latency, GPU | weights |"
    yield "| --- | ---: | ---: | ---: | --- | --- | --- |"
    for entry in sorted(map(zoo.get, WELL_KNOWN), key=lambda entry: entry.metric("box_ap") or 0.0):
        assert entry.checkpoint is not None and entry.parameters is not None
        figures = [f"{value:.1f}" if (value := entry.metric(key)) else "" for key in ("box_ap", "mask_ap")]
        latencies = [latency(entry.name, kind) for kind in ("cpu", "cuda")]
        cells = [entry.name, *figures, f"{entry.parameters / 1e6:.1f} M", *latencies, f"[file]({url(entry)})"]
        yield f"| {' | '.join(cells)} |"


def url(entry: zoo.Entry) -> str:
    """The first address of a model's weights, as in reports/zoo.md; the host that published them is off the air."""
    assert entry.checkpoint is not None
    return entry.checkpoint.urls[0]


def latency(model: str, device: str) -> str:
    """The median latency of a committed record, with its device and whatever is not as published."""
    own = [one for one in records() if one.model == model and one.environment.get("device_type") == device]
    measured = sorted(filter(image_by_image, own), key=lambda record: len(departures(record)))
    if not measured:
        return "not measured here yet"
    machine = measured[0].environment
    threads = [f"{machine['threads']['intra_op']} threads"] if device == "cpu" else []
    remarks = ", ".join([machine["device"], *threads, *departures(measured[0])])
    return f"{measured[0].metrics['latency_ms_p50']:.0f} ms ({remarks})"


def image_by_image(record: Record) -> bool:
    """Whether a record is of single images in float32."""
    expected = {"precision": "fp32", "batch": 1}
    return record.kind == "inference" and record.ok and expected.items() <= record.parameters.items()


def departures(record: Record) -> list[str]:
    """What was not as published: random weights, which make other work for NMS, and options."""
    weights = record.parameters["weights"]
    options = [key.replace("_", "-") for key, value in record.parameters.get("options", {}).items() if value]
    return [*([] if weights == "published" else [f"{weights} weights"]), *options]


def records() -> Iterator[Record]:
    """Every record that is committed."""
    for name in RECORDS:
        yield from read_lines(ROOT / "reports" / f"{name}.jsonl")


def detectron2() -> Iterator[str]:
    """MMDetection beside Detectron2, as MMDetection published it."""
    yield "| model | box AP | mask AP | training, s/iteration | inference, images/s | training memory, GB |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for pair in comparison.read_facts()["comparison_with_detectron2"]:
        accuracy = [beside(pair["accuracy"], metric) for metric in ("box_ap", "mask_ap")]
        costs = [f"{pair[key]['detectron2']:{form}} / {pair[key]['mmdetection']:{form}}" for key, form in COSTS.items()]
        yield f"| {' | '.join([pair['type'], *accuracy, *costs])} |"


COSTS = {"training_speed": ".3f", "inference_speed": ".1f", "training_memory": ".1f"}


def beside(accuracy: dict[str, dict[str, float]], metric: str) -> str:
    """`Detectron2 / MMDetection`, or nothing for a metric that the method does not have."""
    values = [accuracy[project].get(metric) for project in ("detectron2", "mmdetection")]
    return "" if None in values else f"{values[0]} / {values[1]}"


def draw(folder: Path) -> None:
    """Draw one generated image per model of the demo."""
    import cv2

    from benchmarks.datasets import demo
    from zoo.cli.main import main as zoo_command

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        data = demo.write(Path(work) / "data", {"val": 32})
        for model, number in IMAGES.items():
            image = cv2.imread(str(data / "val" / f"{number}.png"))
            file = Path(work) / f"{model}.png"
            large = cv2.resize(image, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(file), large)
            zoo_command(["detect", model, str(file), "--score-thr", "0.4", "--out", work + "/drawn"])
            drawn = cv2.imread(f"{work}/drawn/{model}.png")
            cv2.imwrite(str(folder / f"{model}.jpg"), drawn, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
