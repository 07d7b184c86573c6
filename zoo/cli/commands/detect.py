"""`zoo detect`: run a model on images of your own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

import zoo
from zoo.cli import image_paths
from zoo.cli.checkpoint_files import means_file
from zoo.errors import UnreadableImage, ZooError
from zoo.manifest import api
from zoo.system.device import usable_device

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector
    from zoo.structures import Detections


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model of the zoo, or your own checkpoint file")
    add("images", nargs="+", metavar="IMAGE", help="images, folders, or quoted globs")
    add("--name", metavar="NAME", help="architecture of a checkpoint file that does not state it")
    add("--out", type=Path, metavar="DIR", help="write images with drawn detections to this folder")
    add("--score-thr", type=float, default=0.3, metavar="S", help="minimum score (default %(default)s)")
    add("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default %(default)s)")
    add("--tta", action="store_true", help="test-time augmentation: three scales and mirror images, merged by NMS")
    add("--json", action="store_true", help="print detections in COCO's results format, with masks as RLE")


def run(args: argparse.Namespace) -> int:
    """Detect, draw, print. Exit status 1 if an image could not be read; the others are done all the same."""
    failures: list[str] = []
    check(args.model, args.name)
    paths = list(dict.fromkeys(expand(args.images, failures)))
    model = load(args.model, args.name, args.device) if paths else None
    if model is not None and args.tta:
        model = augmented(model, args.model)
    names = image_paths.output_names(paths)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in tqdm(paths, unit="img", disable=None):
        try:
            detections = detect(model, path, args, names[path])  # type: ignore[arg-type]
        except UnreadableImage as error:
            report(str(error), failures)
        else:
            rows += to_rows(detections, path, model)  # type: ignore[arg-type]
    print(json.dumps(rows) if args.json else table(rows))
    return int(bool(failures))


def expand(given: Sequence[str], failures: list[str]) -> Iterator[Path]:
    """All images that the arguments mean; what is wrong with one is reported, the others go on."""
    for one in given:
        try:
            yield from image_paths.find(one)
        except UnreadableImage as error:
            report(str(error), failures)


def report(sentence: str, failures: list[str]) -> None:
    """Say on stderr what is wrong with one of the images."""
    tqdm.write(f"zoo: {sentence}", file=sys.stderr)
    failures.append(sentence)


def check(model: str, name: str | None) -> None:
    """Whether a model or a checkpoint file exists. Raises UnknownModel, ZooError."""
    if not means_file(model):
        api.get(model)
    elif not Path(model).is_file():
        raise ZooError(f"{model} does not exist.")
    elif name is not None:
        api.architecture_name(name)


def load(model: str, name: str | None, device: str) -> Detector:
    """A published model, or a checkpoint file."""
    usable_device(device)
    return zoo.load_file(model, name, device) if means_file(model) else zoo.load(model, device)


def augmented(model: Detector, name: str) -> Any:
    """The model with test-time augmentation. Raises UsageError."""
    from zoo.errors import UnknownModel, UsageError
    from zoo.manifest import api
    from zoo.models.detectors.augmented import Augmented

    try:
        recipe = api.preprocessing(name)
    except UnknownModel:
        raise UsageError("--tta needs a model of the zoo, whose preprocessing is known.") from None
    return Augmented(model, recipe)


def detect(model: Detector, path: Path, args: argparse.Namespace, name: str) -> Detections:
    """What is in one image above the threshold; its drawing is written if asked for."""
    from zoo.preprocessing.preprocess import read_image
    from zoo.visualization import draw

    image = read_image(path)
    detections = model.detect([image])[0]
    if args.out is not None:
        draw.save(draw.draw(image, detections, names_for(model, detections), args.score_thr), args.out / name)
    return detections[detections.scores >= args.score_thr]


def names_for(model: Detector, detections: Detections) -> Sequence[str] | None:
    """Class names by label; panoptic maps number the stuff after the things, which is all that detectors name."""
    panoptic = api.dataset("coco_2017_panoptic")
    if detections.panoptic is not None and model.classes is not None and tuple(model.classes) == panoptic.classes:
        return panoptic.classes + panoptic.stuff_classes
    return model.classes


def to_rows(detections: Detections, path: Path, model: Detector) -> list[dict[str, Any]]:
    """COCO results, of a panoptic map one per segment; with the class's name, and the file's.

    image_id: COCO's number for the image where the file's name is one, else its path.
    """
    from zoo.coco_format import results
    from zoo.coco_format.keypoints import to_pixel_indices
    from zoo.visualization.draw import name_of

    names = names_for(model, detections) or ()
    image_id = int(path.stem) if path.stem.isdigit() else str(path)
    if detections.panoptic is not None:
        rows, labels = results.panoptic_results(image_id, detections.panoptic.numpy(), len(names))
    else:
        masks = None if detections.masks is None else results.encode_masks(detections.masks)
        boxes, scores, labels = (t.numpy() for t in (detections.boxes, detections.scores, detections.labels))
        keypoints = None
        if detections.keypoints is not None:
            keypoints = to_pixel_indices(detections.keypoints.numpy(), model.pixel_center)
        rows = results.to_results(image_id, boxes, scores, labels, masks, keypoints=keypoints)
    ids = results.category_ids(names)
    for row, label in zip(rows, labels.tolist()):
        number = ids[label] if label < len(ids) else label + bool(names)
        row |= {"category_id": number, "category": name_of(label, names), "file": str(path)}
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line per detection: file, class, score ("-" for segments), box as x, y, width, height."""
    lines = []
    for row in rows:
        score = f"{row['score']:.3f}" if "score" in row else "-"
        lines.append("\t".join((row["file"], row["category"], score, " ".join(f"{v:.1f}" for v in row["bbox"]))))
    return "\n".join(lines)
