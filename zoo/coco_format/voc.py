"""Labeled images in Pascal VOC's format: an XML file per image.

Its coordinates are whole pixels that begin at 1, and `xmax` and `ymax` are the last pixels inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from zoo.coco_format.labeled_images import LabeledBox, LabeledImage, LabeledImages, Size, file_names
from zoo.errors import DataError
from zoo.system.atomic_write import atomic_write
from zoo.text import printable

SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(folder: Path, classes: Sequence[str] | None = None) -> LabeledImages:
    """The boxes in a folder's `Annotations`, or in itself. classes: by default all names, in alphabetical order.

    Raises DataError.
    """
    base = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
    files = sorted(base.rglob("*.xml"))
    if not files:
        raise DataError(f"{base} has no XML files of Pascal VOC.")
    roots = {path: parsed(path) for path in files}
    used = {name_of(node, path) for path, root in roots.items() for node in root.findall("object")}
    names = list(classes) if classes is not None else sorted(used)
    if unknown := sorted(used - set(names)):
        raise DataError(f"{base} has objects of classes that the list of classes lacks: {', '.join(unknown[:5])}.")
    return LabeledImages(names, [image_of(root, path, base, names) for path, root in roots.items()])


def parsed(path: Path) -> Element:
    """An annotation file. Raises DataError."""
    try:
        return ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path} is not an annotation file of Pascal VOC: {error}.") from None


def image_of(root: Element, path: Path, base: Path, names: Sequence[str]) -> LabeledImage:
    """One image. Its name is stated, or that of the file; subfolders are those of the file."""
    height, width = (number(root, f"size/{side}", path) for side in ("height", "width"))
    stated = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    name = stated if Path(stated).suffix else path.with_suffix(".jpg").name
    boxes = [object_of(node, path, names) for node in root.findall("object")]
    return LabeledImage((path.relative_to(base).parent / name).as_posix(), (int(height), int(width)), boxes)


def object_of(node: Element, path: Path, names: Sequence[str]) -> LabeledBox:
    """One object. Raises DataError."""
    left, top, right, bottom = (number(node, f"bndbox/{side}", path) for side in SIDES)
    if right < left or bottom < top:
        raise DataError(f"{path}: a {name_of(node, path)} has a box that ends before it begins.")
    box = [left - 1, top - 1, right - left + 1, bottom - top + 1]
    return LabeledBox(names.index(name_of(node, path)), box, number(node, "difficult", path, "0") != 0)


def name_of(node: Element, path: Path) -> str:
    """The class of an object. Raises DataError without one."""
    name = (node.findtext("name") or "").strip()
    if not name:
        raise DataError(f"{path}: an object has no <name>.")
    return name


def number(node: Element, tag: str, path: Path, default: str = "") -> float:
    """A finite number of at least 0. Raises DataError."""
    text = (node.findtext(tag) or default).strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{path}: <{tag.rpartition('/')[2]}> is '{printable(text, 40)}', not a number of pixels.")
    return value


def write(data: LabeledImages, folder: Path, source: Path) -> None:
    """Write `Annotations`, and the list of images `ImageSets/Main/all.txt`. Ignored objects are difficult ones."""
    files = file_names(data.images, ".xml", source)
    for image, name in zip(data.images, files):
        atomic_write(folder / "Annotations" / name, document(image, data.classes), parents=True)
    stems = "".join(f"{name.removesuffix('.xml')}\n" for name in files)
    atomic_write(folder / "ImageSets" / "Main" / "all.txt", stems, parents=True)
    boxes = [one for image in data.images for one in image.boxes]
    rounded = sum(any(value != round(value) for value in one.box) for one in boxes)
    data.note(rounded, "boxes are rounded to whole pixels")
    data.note(sum(one.polygons is not None for one in boxes), "outlines are left out: only boxes are written")


def document(image: LabeledImage, classes: Sequence[str]) -> str:
    """The XML of one image."""
    root = Element("annotation")
    SubElement(root, "filename").text = image.name.replace("\\", "/").rpartition("/")[2]
    size = SubElement(root, "size")
    for tag, value in (("width", image.size[1]), ("height", image.size[0]), ("depth", 3)):
        SubElement(size, tag).text = str(value)
    for one in image.boxes:
        node = SubElement(root, "object")
        SubElement(node, "name").text = classes[one.label]
        SubElement(node, "difficult").text = str(int(one.ignored))
        box = SubElement(node, "bndbox")
        for tag, pixel in zip(SIDES, pixels(one.box, image.size)):
            SubElement(box, tag).text = str(pixel)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def pixels(box: Sequence[float], size: Size) -> list[int]:
    """The first and last pixels of a box, from 1, inside of the image."""
    height, width = size
    left, top = min(max(round(box[0]), 0), width - 1) + 1, min(max(round(box[1]), 0), height - 1) + 1
    right, bottom = round(box[0] + box[2]), round(box[1] + box[3])
    return [left, top, max(min(right, width), left), max(min(bottom, height), top)]
