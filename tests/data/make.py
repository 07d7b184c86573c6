"""Write the tiny data sets beside this file: `python tests/data/make.py`. One function per native layout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from scenes import SCENES, Scene, paint

HERE = Path(__file__).parent


def save(scene: Scene, path: Path) -> None:
    """The picture as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint(scene)).save(path, quality=95, subsampling=0)


def dump(document: Any, path: Path) -> None:
    """JSON, one entry a line where that is easy to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def coco(root: Path) -> None:
    """annotations/instances_val2017.json and val2017/; category ids and image ids have gaps, as COCO's have."""
    names = ("person", "bicycle", "car")
    images, annotations = [], []
    for number, scene in enumerate(SCENES):
        save(scene, root / "val2017" / f"{scene.name}.jpg")
        width, height = scene.size
        images.append({"id": 10 + 7 * number, "file_name": f"{scene.name}.jpg", "width": width, "height": height})
        for thing in scene.things:
            x, y, w, h = thing.box
            outline = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + 7 * number,
                    "category_id": 3 * thing.label + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(thing.special),
                    "segmentation": runs(scene, thing.box) if thing.special else [outline],
                }
            )
    categories = [{"id": 3 * label + 1, "name": name} for label, name in enumerate(names)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    dump(document, root / "annotations" / "instances_val2017.json")


def runs(scene: Scene, box: tuple[int, int, int, int]) -> dict[str, Any]:
    """A rectangle as COCO's uncompressed run lengths, column by column."""
    (width, height), (x, y, w, h) = scene.size, box
    counts = [x * height + y] + [h, height - h] * (w - 1) + [h, (width - x - w) * height + height - y - h]
    return {"size": [height, width], "counts": counts}


if __name__ == "__main__":
    coco(HERE / "coco")
