"""The datasets there are, and how one is found by its name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.files import UnknownDataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.spec import Spec

if TYPE_CHECKING:
    from benchmarks.datasets.dataset import Dataset

COCO_MEASURES = ("box", "mask", "proposal")
COCO_ANNOTATIONS = "images, annotations and categories in COCO's format"


def coco_style(name: str, title: str, root: str, split: str, annotations: str, images: str, **files: Any) -> Spec:
    """A dataset in COCO's layout with COCO's metric."""
    layout = {annotations: COCO_ANNOTATIONS, f"{images}/": "the images"}
    files |= {"annotations": annotations, "images": images}
    metric = "COCO box and mask AP, proposal recall"
    return Spec(name, title, metric, root, split, f"{name}_{split}", layout, COCO_MEASURES, "coco:CocoDataset", files)


def coco_2017(name: str, title: str) -> Spec:
    """COCO 2017, for models of all or some of its classes."""
    return coco_style(name, title, "data/coco", "val", "annotations/instances_{split}2017.json", "{split}2017")


def lvis(version: str, images: str) -> Spec:
    """A version of LVIS."""
    annotations = f"annotations/lvis_{version}_{{split}}.json"
    layout = {annotations: "LVIS's annotations", "{split}2017/": "COCO's images"}
    if version == "v1":
        layout["train2017/"] = "COCO's images; some of LVIS's validation images are there"
    files = {"annotations": annotations, "images": images}
    metric = "LVIS box and mask AP: all, rare, common, frequent"
    name = f"lvis_{version}"
    return Spec(
        name,
        f"LVIS {version}",
        metric,
        f"data/{name}",
        "val",
        f"{name}_val",
        layout,
        ("box", "mask"),
        "lvis:LvisDataset",
        files,
    )


def open_images(name: str, title: str, reader: str, layout: dict[str, str], **files: str) -> Spec:
    """A version of Open Images."""
    metric = "mAP at IoU 0.5 with class hierarchy, groups and image-level labels, MMDetection's (not the server's)"
    return Spec(
        name,
        title,
        metric,
        "data/OpenImages",
        "validation",
        f"{name}_val",
        layout,
        ("box",),
        f"open_images:{reader}",
        files,
    )


def voc(name: str, title: str, folder: str, split: str) -> Spec:
    """A year of Pascal VOC."""
    layout = {
        f"{folder}/ImageSets/Main/{{split}}.txt": "names of the split's images",
        f"{folder}/Annotations/": "an XML file for each image",
        f"{folder}/JPEGImages/": "the images",
    }
    files = {"folder": folder, "split": "{split}"}
    metric = "mAP at IoU 0.5, by 11 points for 2007 and by area"
    published = f"{folder.lower().replace('voc', 'voc_')}_{split}"
    return Spec(name, title, metric, "data/VOCdevkit", split, published, layout, ("box",), "voc:VocDataset", files)


COCO_PANOPTIC = Spec(
    "coco_2017_panoptic",
    "COCO 2017 panoptic",
    "panoptic, segmentation and recognition quality of all, things and stuff; box and mask AP of things",
    "data/coco",
    "val",
    "coco_2017_val",
    {
        "annotations/panoptic_{split}2017.json": "COCO's panoptic annotations",
        "annotations/panoptic_{split}2017/": "their PNG files",
        "annotations/instances_{split}2017.json": "the instances, for box and mask AP",
        "{split}2017/": "the images",
    },
    ("panoptic", "box", "mask"),
    "panoptic:CocoPanoptic",
    {
        "annotations": "annotations/panoptic_{split}2017.json",
        "segments": "annotations/panoptic_{split}2017",
        "images": "{split}2017",
        "instances": "annotations/instances_{split}2017.json",
    },
)
COCO_KEYPOINTS = Spec(
    "coco_2017_keypoints",
    "COCO 2017 persons with keypoints",
    "COCO box AP of persons, COCO keypoint AP",
    "data/coco",
    "val",
    "coco_2017_val",
    {"annotations/person_keypoints_{split}2017.json": COCO_ANNOTATIONS, "{split}2017/": "the images"},
    ("box", "keypoint"),
    "coco:CocoDataset",
    {"annotations": "annotations/person_keypoints_{split}2017.json", "images": "{split}2017"},
)
CITYSCAPES = Spec(
    "cityscapes",
    "Cityscapes",
    "COCO box and mask AP, Cityscapes instance AP",
    "data/cityscapes",
    "val",
    "cityscapes_val",
    {
        "leftImg8bit/{split}/CITY/*_leftImg8bit.png": "the images",
        "gtFine/{split}/CITY/*_gtFine_instanceIds.png": "the instances",
    },
    ("box", "mask"),
    "cityscapes:Cityscapes",
    {"images": "leftImg8bit/{split}", "ground_truth": "gtFine/{split}"},
)
WIDER_FACE = Spec(
    "wider_face",
    "WIDER FACE",
    "AP of easy, medium and hard faces at IoU 0.5",
    "data/WIDERFace",
    "val",
    "wider_face_val",
    {
        "WIDER_{split}/images/EVENT/*.jpg": "the images",
        "eval_tools/ground_truth/wider_face_val.mat": "all faces",
        "eval_tools/ground_truth/wider_{easy,medium,hard}_val.mat": "which of them belong to a subset",
    },
    ("box",),
    "wider_face:WiderFace",
    {"ground_truth": "eval_tools/ground_truth", "images": "WIDER_{split}/images"},
)
CROWDHUMAN = Spec(
    "crowdhuman",
    "CrowdHuman",
    "AP at IoU 0.5, log-average miss rate (lower is better), Jaccard index",
    "data/CrowdHuman",
    "val",
    "crowdhuman_val",
    {"annotation_{split}.odgt": "the persons, a JSON object a line", "Images/": "the images"},
    ("box",),
    "crowdhuman:CrowdHuman",
    {"annotations": "annotation_{split}.odgt", "images": "Images", "sizes": "id_hw_{split}.json"},
)
OPEN_IMAGES_V6 = open_images(
    "openimages_v6",
    "Open Images v6",
    "OpenImagesV6",
    {
        "annotations/class-descriptions-boxable.csv": "the classes, in label order",
        "annotations/bbox_labels_600_hierarchy.json": "which class lies above which",
        "annotations/{split}-annotations-bbox.csv": "the boxes",
        "annotations/{split}-annotations-human-imagelabels-boxable.csv": "labels that people looked for",
        "OpenImages/{split}/": "the images",
    },
    classes="annotations/class-descriptions-boxable.csv",
    hierarchy="annotations/bbox_labels_600_hierarchy.json",
    boxes="annotations/{split}-annotations-bbox.csv",
    labels="annotations/{split}-annotations-human-imagelabels-boxable.csv",
    images="OpenImages/{split}",
)
OPEN_IMAGES_CHALLENGE = open_images(
    "openimages_challenge_2019",
    "Open Images Challenge 2019",
    "OpenImagesChallenge",
    {
        "challenge2019/cls-label-description.csv": "the classes",
        "challenge2019/class_label_tree.np": "which class lies above which, a NumPy array",
        "challenge2019/challenge-2019-{split}-detection-bbox.txt": "the boxes",
        "challenge2019/challenge-2019-{split}-detection-human-imagelabels.csv": "labels that people looked for",
        "OpenImages/{split}/": "the images",
    },
    classes="challenge2019/cls-label-description.csv",
    hierarchy="challenge2019/class_label_tree.np",
    boxes="challenge2019/challenge-2019-{split}-detection-bbox.txt",
    labels="challenge2019/challenge-2019-{split}-detection-human-imagelabels.csv",
    images="OpenImages",
)
# Images of Objects365 v2 that are annotated but are not part of its download.
OBJECTS365_MISSING = (
    "patch16/objects365_v2_00908726.jpg",
    "patch6/objects365_v1_00320532.jpg",
    "patch6/objects365_v1_00320534.jpg",
)
SPECS = [
    coco_2017("coco_2017", "COCO 2017, or a dataset of yours in its layout"),
    coco_2017("coco_2017_person", "COCO 2017, for models of persons"),
    coco_2017("coco_2017_person_bicycle_car", "COCO 2017, for models of persons, bicycles and cars"),
    COCO_KEYPOINTS,
    COCO_PANOPTIC,
    lvis("v1", "."),
    lvis("v0.5", "{split}2017"),
    coco_style(
        "objects365_v1",
        "Objects365 v1",
        "data/Objects365/Obj365_v1",
        "val",
        "annotations/objects365_{split}.json",
        "{split}",
        sort=True,
    ),
    coco_style(
        "objects365_v2",
        "Objects365 v2",
        "data/Objects365/Obj365_v2",
        "val",
        "annotations/zhiyuan_objv2_{split}.json",
        "{split}",
        name_parts=2,
        missing=OBJECTS365_MISSING,
    ),
    coco_style(
        "deepfashion_inshop",
        "DeepFashion In-shop",
        "data/DeepFashion/In-shop",
        "gallery",
        "annotations/DeepFashion_segmentation_{split}.json",
        "Img",
    ),
    coco_style(
        "demo",
        "Shapes on textured backgrounds, generated (`bench demo` makes them)",
        "data/demo",
        "val",
        "annotations/instances_{split}.json",
        "{split}",
    ),
    voc("voc_0712", "Pascal VOC 2007, for models trained on 2007 and 2012", "VOC2007", "test"),
    voc("voc_2012", "Pascal VOC 2012", "VOC2012", "val"),
    CITYSCAPES,
    OPEN_IMAGES_V6,
    OPEN_IMAGES_CHALLENGE,
    WIDER_FACE,
    CROWDHUMAN,
]
DATASETS = {spec.name: spec for spec in SPECS}


def spec(name: str) -> Spec:
    """The entry called `name`. Raises UnknownDataset with the nearest names."""
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.4) or list(DATASETS)
    raise UnknownDataset(f"no dataset '{name}'. Nearest: {', '.join(near)}; `bench datasets` lists all.")


def open_dataset(name: str, root: Path | str, request: MetricConfig | None = None) -> Dataset:
    """The dataset called `name` in the folder `root`.

    Raises UnknownDataset, or DatasetError where a file is missing or is not what the layout says.
    """
    return spec(name).open(Path(root), request or MetricConfig())
