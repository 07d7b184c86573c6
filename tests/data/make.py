"""Write the tiny datasets beside this file: `python tests/data/make.py`. One function per native layout."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

sys.path.insert(0, str(Path(__file__).parent))

from scenes import SCENES, Scene, paint

HERE = Path(__file__).parent


def save(scene: Scene, path: Path) -> None:
    """The image as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint(scene)).save(path, quality=95, subsampling=0)


def dump(document: Any, path: Path) -> None:
    """JSON, one entry a line where that is easy to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def coco(
    root: Path,
    file: str = "instances_val2017.json",
    folder: str = "val2017",
    listed_in: str = "",
    names: tuple[str, ...] = ("person", "bicycle", "car"),
) -> None:
    """annotations/FILE and the images in `folder`; category ids and image ids have gaps, as COCO's have.

    listed_in: what stands before an image's name in the file.
    """
    images, annotations = [], []
    for number, scene in enumerate(SCENES):
        save(scene, root / folder / f"{scene.name}.jpg")
        width, height = scene.size
        name = f"{listed_in}{scene.name}.jpg"
        images.append({"id": 10 + 7 * number, "file_name": name, "width": width, "height": height})
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
    dump({"images": images, "annotations": annotations, "categories": categories}, root / "annotations" / file)


def keypoints(root: Path) -> None:
    """annotations/person_keypoints_val2017.json beside COCO's instances: persons, keypoints on a diagonal."""
    document = json.loads((root / "annotations" / "instances_val2017.json").read_text())
    document["annotations"] = [row for row in document["annotations"] if row["category_id"] == 1]
    document["categories"] = [row for row in document["categories"] if row["id"] == 1]
    for row in document["annotations"]:
        x, y, w, h = row["bbox"]
        points = [[round(x + w * i / 17), round(y + h * i / 17), 0 if i == 16 else 1 + i % 2] for i in range(17)]
        row["keypoints"] = [number for point in points for number in point]
        row["num_keypoints"] = 16
    dump(document, root / "annotations" / "person_keypoints_val2017.json")


def lvis(root: Path, version: str) -> None:
    """annotations/lvis_VERSION_val.json; classes are looked for in some images.

    v1 has addresses of images in val2017/ and train2017/, v0.5 has COCO 2014's names of images in val2017/.
    """
    images, annotations = [], []
    for number, scene in enumerate(SCENES):
        folder = "train2017" if number == 1 and version == "v1" else "val2017"
        name = f"{int(scene.name):012d}.jpg"
        save(scene, root / folder / name)
        width, height = scene.size
        images.append(
            {
                "id": int(scene.name),
                **(
                    {"coco_url": f"http://images.cocodataset.org/{folder}/{name}"}
                    if version == "v1"
                    else {"file_name": f"COCO_val2014_{name}"}
                ),
                "width": width,
                "height": height,
                "neg_category_ids": [3] if number == 0 else [],
                "not_exhaustive_category_ids": [2] if number == 0 else [],
            }
        )
        for thing in scene.things:
            x, y, w, h = thing.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(scene.name),
                    "category_id": thing.label + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
    frequencies = {"aerosol_can": "f", "air_conditioner": "c", "airplane": "r"}
    categories = [{"id": i, "name": name, "frequency": f} for i, (name, f) in enumerate(frequencies.items(), 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    dump(document, root / "annotations" / f"lvis_{version}_val.json")


def panoptic(root: Path) -> None:
    """annotations/panoptic_val2017.json and its PNGs beside the instances: class 2 is stuff, the rest is void."""
    coco(root)
    images, annotations = [], []
    for number, scene in enumerate(SCENES):
        width, height = scene.size
        ids, segments = np.zeros((height, width), np.int64), []
        for place, thing in enumerate(scene.things, 1):
            x, y, w, h = thing.box
            number_of = 70000 * place + 5
            ids[y : y + h, x : x + w] = number_of
            crowd = int(thing.special and thing.label < 2)
            segments.append({"id": number_of, "category_id": 3 * thing.label + 1, "iscrowd": crowd, "area": w * h})
        images.append({"id": 10 + 7 * number, "file_name": f"{scene.name}.jpg", "width": width, "height": height})
        annotations.append({"image_id": 10 + 7 * number, "file_name": f"{scene.name}.png", "segments_info": segments})
        png = root / "annotations" / "panoptic_val2017" / f"{scene.name}.png"
        png.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(png)
    names = {"person": 1, "bicycle": 1, "grass-merged": 0}
    categories = [{"id": 3 * i + 1, "name": name, "isthing": thing} for i, (name, thing) in enumerate(names.items())]
    document = {"images": images, "annotations": annotations, "categories": categories}
    dump(document, root / "annotations" / "panoptic_val2017.json")


def voc(folder: Path, split: str) -> None:
    """A year's ImageSets/Main/SPLIT.txt, Annotations/ and JPEGImages/; coordinates begin at 1."""
    names = ("person", "bicycle", "car")
    for scene in SCENES:
        save(scene, folder / "JPEGImages" / f"{scene.name}.jpg")
        objects = "".join(
            f"<object><name>{names[label]}</name><difficult>{int(special)}</difficult><bndbox>"
            f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>\n"
            for label, (x, y, w, h), special in scene.things
        )
        write(f"<annotation>\n{objects}</annotation>\n", folder / "Annotations" / f"{scene.name}.xml")
    write("".join(f"{scene.name}\n" for scene in SCENES), folder / "ImageSets" / "Main" / f"{split}.txt")


def cityscapes(root: Path) -> None:
    """leftImg8bit/ and gtFine/ by city; class 0 is a person, 1 a bicycle, 2 a car; a special thing is a group."""
    numbers = (24, 33, 26)
    for number, scene in enumerate(SCENES):
        city = ("aachen", "ulm")[number % 2]
        stem = f"{city}_{scene.name}_000019"
        save(scene, root / "leftImg8bit" / "val" / city / f"{stem}_leftImg8bit.png")
        width, height = scene.size
        ids = np.full((height, width), 7, np.uint16)
        ids[:4] = 3  # out of the region of interest
        for place, (label, (x, y, w, h), special) in enumerate(scene.things):
            ids[y : y + h, x : x + w] = numbers[label] if special else numbers[label] * 1000 + place
        png = root / "gtFine" / "val" / city / f"{stem}_gtFine_instanceIds.png"
        png.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids).save(png)


def open_images_v6(root: Path) -> None:
    """CSV files of version 6: a vehicle lies above a bicycle and a car; a special thing is a group."""
    mids = ("/m/person", "/m/bicycle", "/m/car", "/m/vehicle")
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    rows, labels = [header], ["ImageID,Source,LabelName,Confidence"]
    for scene in SCENES:
        save(scene, root / "OpenImages" / "validation" / f"{scene.name}.jpg")
        for label, box, special in scene.things:
            x1, y1, x2, y2 = shares(box, scene.size)
            rows.append(f"{scene.name},xclick,{mids[label]},1,{x1},{x2},{y1},{y2},0,0,{int(special)},0,0")
    labels += ["000001,verification,/m/car,0", "000002,verification,/m/car,1"]
    here = root / "annotations"
    write("\n".join(rows) + "\n", here / "validation-annotations-bbox.csv")
    write("\n".join(labels) + "\n", here / "validation-annotations-human-imagelabels-boxable.csv")
    write("".join(f"{mid},{mid[3:].title()}\n" for mid in mids), here / "class-descriptions-boxable.csv")
    vehicle = {"LabelName": mids[3], "Subcategory": [{"LabelName": mids[1]}, {"LabelName": mids[2]}]}
    dump({"LabelName": "/m/entity", "Subcategory": [{"LabelName": mids[0]}, vehicle]}, here / HIERARCHY)


HIERARCHY = "bbox_labels_600_hierarchy.json"


def open_images_challenge(root: Path) -> None:
    """The same content in the challenge's files."""
    mids = ("/m/person", "/m/bicycle", "/m/car", "/m/vehicle")
    lines = []
    for scene in SCENES:
        save(scene, root / "OpenImages" / "validation" / f"{scene.name}.jpg")
        if not scene.things:
            continue
        lines += [f"validation/{scene.name}.jpg", "0", str(len(scene.things))]
        for label, box, special in scene.things:
            lines.append(" ".join(map(str, (label + 1, *shares(box, scene.size), int(special)))))
    here, stem = root / "challenge2019", "challenge-2019-validation-detection"
    write("\n".join(lines) + "\n", here / f"{stem}-bbox.txt")
    labels = "ImageID,LabelName,Confidence\n000001,/m/car,0\n000002,/m/car,1\n"
    write(labels, here / f"{stem}-human-imagelabels.csv")
    described = "".join(f"{mid},{mid[3:].title()},{number}\n" for number, mid in enumerate(mids, 1))
    write(described, here / "cls-label-description.csv")
    above = np.eye(5)
    above[2:4, 4] = 1
    with (here / "class_label_tree.np").open("wb") as file:
        np.save(file, above)


def shares(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[float, ...]:
    """x1, y1, x2, y2 as shares of the image's size."""
    (x, y, w, h), (width, height) = box, size
    return tuple(round(v, 6) for v in (x / width, y / height, (x + w) / width, (y + h) / height))


def wider_face(root: Path) -> None:
    """WIDER_val/images/ by event and eval_tools' .mat files; every thing is a face, easy ones are class 0."""
    events = {"0--Parade": SCENES[:2], "1--Handshaking": SCENES[2:]}
    for event, scenes in events.items():
        for scene in scenes:
            save(scene, root / "WIDER_val" / "images" / event / f"{scene.name}.jpg")
    tools = root / "eval_tools" / "ground_truth"
    tools.mkdir(parents=True, exist_ok=True)
    files = cells([cells([s.name for s in scenes]) for scenes in events.values()])
    faces = cells([cells([np.array([t.box for t in s.things], float) for s in scenes]) for scenes in events.values()])
    listed = {"event_list": cells(list(events)), "file_list": files, "face_bbx_list": faces}
    savemat(tools / "wider_face_val.mat", listed)
    for subset, labels in {"easy": (0,), "medium": (0, 1), "hard": (0, 1, 2)}.items():
        chosen = [cells([numbers_of(s, labels) for s in scenes]) for scenes in events.values()]
        savemat(tools / f"wider_{subset}_val.mat", listed | {"gt_list": cells(chosen)})


def crowdhuman(root: Path) -> None:
    """annotation_val.odgt and Images/; every thing is a person, special ones are to be ignored."""
    lines = []
    for scene in SCENES:
        save(scene, root / "Images" / f"{scene.name}.jpg")
        rows = [
            {
                "tag": "person",
                "fbox": list(thing.box),
                "vbox": list(thing.box),
                "hbox": list(thing.box),
                "head_attr": {},
                "extra": {"ignore": 1} if thing.special else {"box_id": number},
            }
            for number, thing in enumerate(scene.things)
        ]
        lines.append(json.dumps({"ID": scene.name, "gtboxes": rows}))
    write("\n".join(lines) + "\n", root / "annotation_val.odgt")


def numbers_of(scene: Scene, labels: tuple[int, ...]) -> np.ndarray:
    """The numbers, from 1, of the things with these labels, as a column."""
    return np.array([[i] for i, thing in enumerate(scene.things, 1) if thing.label in labels], np.uint8)


def cells(values: list[Any]) -> np.ndarray:
    """A MATLAB cell array, one value a row."""
    made = np.empty((len(values), 1), object)
    for place, value in enumerate(values):
        made[place, 0] = value
    return made


def write(text: str, path: Path) -> None:
    """A text file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def runs(scene: Scene, box: tuple[int, int, int, int]) -> dict[str, Any]:
    """A rectangle as COCO's uncompressed run lengths, column by column."""
    (width, height), (x, y, w, h) = scene.size, box
    counts = [x * height + y] + [h, height - h] * (w - 1) + [h, (width - x - w) * height + height - y - h]
    return {"size": [height, width], "counts": counts}


if __name__ == "__main__":
    coco(HERE / "coco")
    keypoints(HERE / "coco")
    coco(HERE / "objects365_v1", "objects365_val.json", "val")
    coco(HERE / "objects365_v2", "zhiyuan_objv2_val.json", "val/patch1", "images/v2/patch1/")
    coco(
        HERE / "deepfashion_inshop",
        "DeepFashion_segmentation_gallery.json",
        "Img/img/WOMEN",
        "img/WOMEN/",
        ("top", "skirt", "leggings"),
    )
    lvis(HERE / "lvis_v1", "v1")
    lvis(HERE / "lvis_v0.5", "v0.5")
    panoptic(HERE / "coco_panoptic")
    voc(HERE / "VOCdevkit" / "VOC2007", "test")
    voc(HERE / "VOCdevkit" / "VOC2012", "val")
    cityscapes(HERE / "cityscapes")
    open_images_v6(HERE / "openimages_v6")
    open_images_challenge(HERE / "openimages_challenge_2019")
    wider_face(HERE / "wider_face")
    crowdhuman(HERE / "crowdhuman")
