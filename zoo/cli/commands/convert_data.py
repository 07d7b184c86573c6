"""`zoo convert-data`: annotations in COCO's, YOLO's or Pascal VOC's format as another of the three."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.coco_format.labeled_images import LabeledImages

FORMATS = ("coco", "yolo", "voc")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    help_text = "an annotation file of COCO's format, or a folder in YOLO's (labels/) or VOC's (Annotations/)"
    add("source", type=Path, metavar="SOURCE", help=help_text)
    add("--to", choices=FORMATS, required=True, help="format to write")
    add("--out", type=Path, metavar="PATH", required=True, help="file (coco) or folder (yolo, voc) to write")
    add("--from", dest="format", choices=FORMATS, help="format of SOURCE (default: recognized)")
    add("--images", type=Path, metavar="DIR", help="images, which are not copied; YOLO's default is SOURCE/images")
    help_text = "names of classes in order, one a line, for yolo and voc (default: those of SOURCE)"
    add("--classes", type=Path, metavar="FILE", help=help_text)


def run(args: argparse.Namespace) -> int:
    """Read, write, and say what got lost."""
    kind = args.format or recognized(args.source)
    if args.out.resolve() == args.source.resolve():
        raise UsageError("--out is SOURCE itself; name another folder.")
    if kind == "coco" and args.classes is not None:
        raise UsageError("--classes is for YOLO and VOC; a file in COCO's format names its classes.")
    if args.to == "coco" and args.out.is_dir():
        raise UsageError(f"{args.out} is a folder; COCO's format is one file, such as {args.out / 'annotations.json'}.")
    data = read(args, kind)
    write(data, args)
    for notice in data.notices:
        print(f"zoo: note: {notice}.", file=sys.stderr)
    boxes = sum(len(image.boxes) for image in data.images)
    counts = f"{len(data.images):,} images, {boxes:,} boxes, {len(data.classes):,} classes"
    print(f"zoo: {counts}: {args.source} ({kind}) to {args.out} ({args.to})", file=sys.stderr)
    return 0


def recognized(source: Path) -> str:
    """The format of a source. Raises UsageError."""
    if not source.exists():
        raise UsageError(f"{source} does not exist.")
    if source.is_file():
        return "coco"
    if (source / "Annotations").is_dir() or any(source.glob("*.xml")):
        return "voc"
    if (source / "labels").is_dir() or any(source.glob("*.txt")):
        return "yolo"
    raise UsageError(f"{source} has neither labels/ nor Annotations/; say its format with --from.")


def read(args: argparse.Namespace, kind: str) -> LabeledImages:
    """The boxes of the source."""
    from zoo.coco_format import coco_boxes, voc, yolo

    if kind == "coco":
        return coco_boxes.read(args.source, args.images)
    if kind == "yolo":
        return yolo.read(args.source, args.images, args.classes)
    return voc.read(args.source, yolo.read_names(args.classes) if args.classes else None)


def write(data: LabeledImages, args: argparse.Namespace) -> None:
    """Write the boxes in the other format."""
    from zoo.coco_format import coco_boxes, voc, yolo

    if args.to == "coco":
        coco_boxes.write(data, args.out)
    else:
        (yolo if args.to == "yolo" else voc).write(data, args.out, args.source)
