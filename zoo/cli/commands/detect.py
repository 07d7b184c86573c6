"""`zoo detect`: run a model on images, videos and cameras."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

import zoo
from zoo.cli.argument_types import positive
from zoo.cli.checkpoint_files import means_file
from zoo.cli.detection import inputs
from zoo.cli.detection.inputs import Frame, Source
from zoo.errors import UnreadableImage, UsageError, ZooError
from zoo.manifest import api
from zoo.manifest.formatting import table
from zoo.system.device import usable_device

if TYPE_CHECKING:
    from zoo.cli.detection.drawings import Drawings
    from zoo.cli.detection.outputs import Output
    from zoo.models.detectors.base import Detector
    from zoo.structures import Detections, Sample

IMAGES = "images, videos, folders of them, quoted globs such as 'street/**/*.jpg', or cameras: webcam, webcam:1"


class ShowClasses(argparse.Action):
    """A flag with which no images are required. (`nargs="*"` would not take images behind an option.)"""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=False, help=help)

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any) -> None:
        """Set the flag."""
        setattr(namespace, self.dest, True)
        for action in parser._actions:
            action.required = action.required and action.dest != "images"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a model of the zoo, or your own checkpoint file")
    add("images", nargs="+", default=[], metavar="IMAGE", help=IMAGES)
    add("--name", metavar="NAME", help="architecture of a checkpoint file that does not state it")
    add("--score-thr", type=float, default=0.3, metavar="S", help="minimum score (default %(default)s)")
    add("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default %(default)s)")
    help_text = "images that run together (default %(default)s, as published accuracies were measured; more pad images"
    add("--batch-size", type=positive, default=1, metavar="N", help=f"{help_text} to the largest of a batch)")
    add("--tta", action="store_true", help="test-time augmentation: three scales and mirror images, merged by NMS")
    add("--frame-step", type=positive, default=1, metavar="N", help="every N-th frame of videos and cameras")
    add("--max-frames", type=positive, metavar="N", help="at most N frames of each video and camera")
    add("--show-classes", action=ShowClasses, help="list the model's classes, and detect nothing; needs no IMAGE")
    configure_outputs(parser)


def configure_outputs(parser: argparse.ArgumentParser) -> None:
    """Declare the options about where detections go."""
    add = parser.add_argument
    printed = parser.add_mutually_exclusive_group()
    help_text = "print detections in COCO's results format, with masks as RLE; with --show-classes: the classes"
    printed.add_argument("--json", action="store_true", help=help_text)
    printed.add_argument("--csv", action="store_true", help="print comma-separated values, one detection a line")
    add("--out", type=Path, metavar="DIR", help="write images and videos with drawn detections to this folder")
    help_text = "write detections as annotations in COCO's format, with images and categories"
    add("--coco", type=Path, metavar="FILE", help=help_text)
    help_text = "write a text file per image in YOLO's format (label and box, relative to the image), and classes.txt"
    add("--yolo", type=Path, metavar="DIR", help=help_text)


def run(args: argparse.Namespace) -> int:
    """Detect, draw, write. Exit status 1 if an image could not be read; the others are done all the same."""
    check(args)
    if args.show_classes:
        return show_classes(args)
    failures: list[str] = []
    sources = list(dict.fromkeys(expand(args.images, failures)))
    if not sources:
        return 1
    model = load(args.model, args.name, args.device)
    if args.tta:
        model = augmented(model)
    with drawings(args, sources) as drawn:
        writers = outputs(args, model, sources)
        count = detect_all(model, sources, args, failures, writers, drawn)
        for writer in writers:
            writer.close()
    if not count and not failures:
        print(f"zoo: no detection has a score of at least {args.score_thr:g}.", file=sys.stderr)
    return int(bool(failures))


def check(args: argparse.Namespace) -> None:
    """Whether the request makes sense and its model exists. Raises UsageError, UnknownModel, ZooError."""
    if args.tta and args.batch_size > 1:
        raise UsageError("--tta runs image by image; leave out --batch-size.")
    check_model(args.model, args.name)


def check_model(model: str, name: str | None) -> None:
    """Whether a model or a checkpoint file exists. Raises UnknownModel, ZooError."""
    if not means_file(model):
        api.get(model)
    elif not Path(model).is_file():
        raise ZooError(f"{model} does not exist.")
    elif name is not None:
        api.architecture_name(name)


def show_classes(args: argparse.Namespace) -> int:
    """List the classes of a model, for a model of the zoo without its weights."""
    from zoo.cli.detection.rows import class_rows, names_for

    if means_file(args.model):
        classes, panoptic = load(args.model, args.name, args.device).classes, False
    else:
        entry = api.get(args.model)
        classes, panoptic = api.dataset(entry.dataset).classes, "panoptic segmentation" in entry.tasks
    rows = class_rows(names_for(classes, panoptic))
    if not rows:
        raise ZooError(f"{args.model} does not say what its classes are called.")
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        print("\n".join(table([list(rows[0]), *([str(value) for value in row.values()] for row in rows)])))
    return 0


def expand(given: Sequence[str], failures: list[str]) -> Iterator[Source]:
    """All images, videos and cameras that the arguments mean; what is wrong with one is reported, the others go on."""
    for one in given:
        try:
            yield from inputs.find(one)
        except UnreadableImage as error:
            report(str(error), failures)


def report(sentence: str, failures: list[str]) -> None:
    """Say on stderr what is wrong with one of the images."""
    tqdm.write(f"zoo: {sentence}", file=sys.stderr)
    failures.append(sentence)


def load(model: str, name: str | None, device: str) -> Detector:
    """A published model, or a checkpoint file."""
    usable_device(device)
    return zoo.load_file(model, name, device) if means_file(model) else zoo.load(model, device)


def augmented(model: Detector) -> Any:
    """The model with test-time augmentation. Raises UsageError."""
    from zoo.models.detectors.augmented import Augmented

    return Augmented(model)


def drawings(args: argparse.Namespace, sources: Sequence[Source]) -> Any:
    """What draws, or a context without anything."""
    from zoo.cli.detection.drawings import Drawings

    return nullcontext() if args.out is None else Drawings(args.out, inputs.output_names(sources), args.score_thr)


def outputs(args: argparse.Namespace, model: Detector, sources: Sequence[Source]) -> list[Output]:
    """What takes the rows."""
    from zoo.cli.detection.outputs import CocoFile, Csv, Results, Table, YoloFolder

    result: list[Output] = [Results() if args.json else Csv() if args.csv else Table()]
    names = list(model.classes or ())
    if args.coco is not None:
        result.append(CocoFile(args.coco, names))
    if args.yolo is not None:
        result.append(YoloFolder(args.yolo, names, inputs.output_names(sources, ".txt")))
    return result


def detect_all(
    model: Detector,
    sources: Sequence[Source],
    args: argparse.Namespace,
    failures: list[str],
    writers: Sequence[Output],
    drawn: Drawings | None,
) -> int:
    """Hand the detections of every image to the outputs; how many there are. A camera goes on until Ctrl-C."""
    from zoo.cli.detection.rows import names_for, to_rows

    count = 0
    samples = read(model, sources, args, failures)
    try:
        for batch in inputs.grouped(samples, args.batch_size):
            for (frame, sample), one in zip(batch, detect_batch(model, [sample for _, sample in batch])):
                names = names_for(model.classes, one.panoptic is not None)
                if drawn is not None:
                    drawn.add(frame, one, names or None)
                rows = to_rows(one[one.scores >= args.score_thr], frame, names, model.pixel_center)
                count += len(rows)
                for writer in writers:
                    writer.add(frame, sample.original_size, rows)
    except KeyboardInterrupt:
        if all(source.camera is None for source in sources):
            raise
    return count


def read(
    model: Detector, sources: Sequence[Source], args: argparse.Namespace, failures: list[str]
) -> Iterator[tuple[Frame, Sample]]:
    """Every image with its network input; one that cannot be read is reported, and the others go on."""
    assert model.preprocess is not None
    total = None if any(source.moves for source in sources) else len(sources)
    with tqdm(total=total, unit="img", disable=None) as bar:
        for source in sources:
            try:
                for frame in inputs.frames(source, args.frame_step, args.max_frames):
                    yield frame, model.preprocess(frame.image)
                    bar.update()
            except UnreadableImage as error:
                report(str(error), failures)


def detect_batch(model: Detector, samples: Sequence[Sample]) -> list[Detections]:
    """Detections in some images, in their own pixels; an image alone goes the way of `model.detect`."""
    import torch

    from zoo.preprocessing.batch import pad_to_batch

    home = next(model.parameters())
    with torch.inference_mode():
        if len(samples) == 1:
            return [model.detect_sample(samples[0], home)]
        images = pad_to_batch([sample.image for sample in samples]).to(home)
        return [one.to("cpu") for one in model.predict(images, [sample.geometry for sample in samples])]
