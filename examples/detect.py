"""Detect objects in images: one line of CSV per detection, and drawings.

    python examples/detect.py street.jpg --model faster_rcnn_r50 --out drawn

Without --model, the small Mask R-CNN that comes with the package is used, which detects colored shapes only.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import zoo
from zoo.preprocessing.preprocess import read_image
from zoo.visualization import draw


def main() -> None:
    parser = argparse.ArgumentParser(description="Detect objects in images.")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--model", default="demo_mask_rcnn", help="a name of the zoo, or a checkpoint file")
    parser.add_argument("--score-thr", type=float, default=0.3, help="minimum score")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="folder for drawings")
    args = parser.parse_args()

    load = zoo.load_file if Path(args.model).is_file() else zoo.load
    model = load(args.model, device=args.device)
    classes = model.classes or ()
    writer = csv.writer(sys.stdout)
    writer.writerow(["image", "class", "score", "x1", "y1", "x2", "y2"])
    for path in args.images:
        (detections,) = model.detect([path])
        detections = detections[detections.scores >= args.score_thr]
        for box, score, label in zip(detections.boxes, detections.scores, detections.labels.tolist()):
            name = classes[label] if label < len(classes) else label
            writer.writerow([path, name, f"{score:.3f}", *(f"{value:.1f}" for value in box)])
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            draw.save(draw.draw(read_image(path), detections, classes, args.score_thr), args.out / path.name)


if __name__ == "__main__":
    try:
        main()
    except zoo.ZooError as error:  # each one is a sentence
        sys.exit(f"detect.py: {error}")
