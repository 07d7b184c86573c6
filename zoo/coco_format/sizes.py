"""The images' sizes: those in the files, which must be those that the annotations were made for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zoo.coco_format.annotations import Annotations
from zoo.coco_format.image_files import image_size
from zoo.coco_format.problems import Problems
from zoo.errors import UnreadableImage
from zoo.preprocessing.image_file import require_regular, truncated

Size = tuple[int, int]  # (height, width)

READERS = 8  # threads


def checked_sizes(annotations: Annotations, paths: Sequence[Path]) -> list[Size | None]:
    """(height, width) of each image as its file has it, else as the annotations say; None where neither does.

    paths: the images' files, which may be missing. Raises UnreadableImage for a file that is not an image or not all of
    one, and DataError where a file's size is not the annotated one.
    """
    problems, sizes = Problems(annotations.path), []
    with ThreadPoolExecutor(READERS) as pool:  # files may lie far away
        actuals = list(pool.map(file_size, paths, chunksize=64))
    for index, (image, path, actual) in enumerate(zip(annotations.images, paths, actuals)):
        if actual and image.size and actual != image.size:
            problems.add(f"images[{index}]", difference(path, image.size, actual))
        sizes.append(actual or image.size)
    problems.check()
    check_boxes(annotations, sizes)
    return sizes


def file_size(path: Path) -> Size | None:
    """(height, width) of an image as it is read; None for a missing file. Raises UnreadableImage."""
    if not path.exists():
        return None
    require_regular(path)
    width, height = image_size(path)
    if truncated(path):
        raise UnreadableImage(f"{path}: the file ends before the image does")
    return height, width


def difference(path: Path, annotated: Size, actual: Size) -> str:
    """How an image is not what the annotations say."""
    sides = f"{annotated[1]} x {annotated[0]}", f"{actual[1]} x {actual[0]}"
    return f"says size (width x height) {sides[0]}, but {path.name} is read as {sides[1]}, so its boxes do not fit"


def check_boxes(annotations: Annotations, sizes: Sequence[Size | None]) -> None:
    """Raise DataError for boxes beside their image, where the annotations do not say for which size they were made."""
    problems = Problems(annotations.path)
    for one in annotations.objects:
        size = sizes[one.image]
        if annotations.images[one.image].size or not size or not one.bbox:
            continue
        if one.bbox[0] >= size[1] or one.bbox[1] >= size[0]:
            name = annotations.images[one.image].file_name
            problems.add(f"annotations[{one.number}].bbox", f"lies outside {name}, which is {size[1]} x {size[0]}")
    problems.check()
