"""A training loop of your own: networks are plain PyTorch modules with a `losses` method.

    python examples/training_loop.py --data shapes --steps 20

`zoo train` is the complete trainer, with the published recipes. This loop shows its basis: preprocessing, targets
in the coordinates of the network's input, and a dictionary of losses.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import zoo

Row = tuple[Path, list[list[float]], list[int]]


def read(data: Path) -> list[Row]:
    """Images with boxes (xywh, in pixels) and labels, in COCO's layout."""
    content = json.loads((data / "annotations" / "instances_train.json").read_text())
    labels = {category["id"]: label for label, category in enumerate(content["categories"])}
    objects = defaultdict(list)
    for annotation in content["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    rows = []
    for image in content["images"]:
        if own := objects[image["id"]]:
            boxes, classes = [one["bbox"] for one in own], [labels[one["category_id"]] for one in own]
            rows.append((data / "train" / image["file_name"], boxes, classes))
    return rows


def target(boxes: list[list[float]], labels: list[int], scale: tuple[float, float]) -> dict[str, Tensor]:
    """Boxes as xyxy in input coordinates, and labels."""
    x, y, width, height = torch.tensor(boxes).unbind(1)
    scaled = torch.stack([x, y, x + width, y + height], 1) * torch.tensor([*scale, *scale])
    return {"boxes": scaled, "labels": torch.tensor(labels)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a detector in a loop of your own.")
    parser.add_argument("--data", type=Path, required=True, help="folder with annotations/instances_train.json, train/")
    parser.add_argument("--model", default="demo_atss", help="a model or an architecture for as many classes")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, help="file for the weights, such as weights.safetensors")
    args = parser.parse_args()

    random.seed(0)
    torch.manual_seed(0)
    rows, preprocess = read(args.data), zoo.preprocessor(args.model)
    model = zoo.build(args.model).train()  # random weights; zoo.load starts from the published ones
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for step in range(1, args.steps + 1):
        path, boxes, labels = random.choice(rows)
        sample = preprocess(path)
        losses = model.losses(sample.image[None], [sample.size], [target(boxes, labels, sample.scale)])
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        if step == 1 or step % 10 == 0:
            print(f"step {step}: loss {total:.3f}", *(f"{name} {value:.3f}" for name, value in losses.items()))
    if args.out is not None:
        save_file(model.state_dict(), args.out)  # zoo.load_file(args.out, args.model) reads it


if __name__ == "__main__":
    try:
        main()
    except zoo.ZooError as error:
        sys.exit(f"training_loop.py: {error}")
