"""Files, folders, patterns, videos and cameras on a command line -> frames to detect in."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from zoo.errors import UnreadableImage

if TYPE_CHECKING:
    import cv2
    import numpy as np

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
VIDEOS = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"}
CAMERA = re.compile(r"webcam(?::(\d+))?")
T = TypeVar("T")
FPS = 25.0
"""Frames per second of drawings of a source that does not state its own."""


@dataclass(frozen=True)
class Source:
    """An image file, a video file, or a camera (its number)."""

    path: Path
    camera: int | None = None

    @property
    def moves(self) -> bool:
        """Whether it has frames."""
        return self.camera is not None or self.path.suffix.lower() in VIDEOS

    @property
    def name(self) -> str:
        """The path, or the words on the command line that mean a camera."""
        return str(self.path)


@dataclass(frozen=True, eq=False)
class Frame:
    """One image. number: of a frame in its source, from 0; None for an image file.

    pixels: BGR uint8 (H, W, 3) of a frame; None for an image file, which a model decodes in its own way. fps: frames
    per second of the source.
    """

    source: Source
    number: int | None = None
    pixels: np.ndarray | None = None
    fps: float = FPS

    @property
    def name(self) -> str:
        """The file's path; of a frame with its number, such as `street.mp4#12`."""
        return self.source.name if self.number is None else f"{self.source.name}#{self.number}"

    @property
    def image(self) -> Path | np.ndarray:
        """What a model's preprocessing takes."""
        return self.source.path if self.pixels is None else self.pixels


def find(given: str) -> list[Source]:
    """What one argument means: a file, `webcam`, `webcam:1`, everything in a folder, or all files matching a pattern.

    Raises UnreadableImage where there is none.
    """
    if camera := CAMERA.fullmatch(given):
        return [Source(Path(given), int(camera[1] or 0))]
    path = Path(given)
    if path.is_dir():
        return [Source(file) for file in in_folder(path)]
    if path.exists():
        return [Source(path)]
    matching = [Path(name) for name in sorted(glob.glob(given, recursive=True)) if Path(name).is_file()]
    if not matching:
        hint = f" (the camera of this number is webcam:{given})" if given.isdecimal() else ""
        raise UnreadableImage(f"{given}: there is no such file or folder, and nothing matches it as a pattern{hint}")
    return [Source(file) for file in matching]


def in_folder(folder: Path) -> list[Path]:
    """The images and videos in a folder, by name. Raises UnreadableImage for a folder without any."""
    result = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES | VIDEOS and p.is_file())
    if not result:
        raise UnreadableImage(f"{folder}: there are no images or videos in this folder ({endings()})")
    return result


def endings() -> str:
    """The suffixes that are looked for in a folder."""
    return ", ".join(sorted(IMAGES | VIDEOS))


def frames(source: Source, step: int = 1, most: int | None = None) -> Iterator[Frame]:
    """An image, or every `step`-th frame of a video or camera, at most `most` of them.

    Raises UnreadableImage for a video or a camera that does not open, or has no frame.
    """
    if not source.moves:
        yield Frame(source)
        return
    for count, frame in enumerate(moving(source, step)):
        if count == most:
            return
        yield frame


def moving(source: Source, step: int) -> Iterator[Frame]:
    """Every `step`-th frame of a video or a camera. Raises UnreadableImage."""
    import cv2

    capture = open_capture(source)
    number = 0
    try:
        fps = capture.get(cv2.CAP_PROP_FPS)
        whole = Frame(source, fps=fps / step if math.isfinite(fps) and fps > 0 else FPS)
        while capture.grab():
            if number % step == 0:
                ok, pixels = capture.retrieve()
                if not ok:
                    break
                yield replace(whole, number=number, pixels=pixels)
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise UnreadableImage(f"{source.name}: has no frame that can be decoded")


def open_capture(source: Source) -> cv2.VideoCapture:
    """A video or a camera, opened. Raises UnreadableImage."""
    import cv2

    from zoo.preprocessing.image_file import require_regular

    if source.camera is None:
        require_regular(source.path)
    capture = cv2.VideoCapture(source.camera if source.camera is not None else str(source.path))
    if not capture.isOpened():
        kind = "there is no such camera, or it is in use" if source.camera is not None else "does not open as a video"
        raise UnreadableImage(f"{source.name}: {kind}")
    return capture


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Consecutive items in groups of `size`, the last one maybe smaller."""
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def output_names(sources: Sequence[Source], suffix: str | None = None) -> dict[Source, str]:
    """A file name for each source's results: its own, with a number where another one has it.

    suffix: of the names; by default that of drawings: the image's own, PNG for unusual ones, MP4 for what moves.
    """
    names: dict[Source, str] = {}
    taken: set[str] = set()
    for source in sources:
        stem, end = source.path.stem.replace(":", "_"), suffix or drawing_suffix(source)
        name, number = stem + end, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}{end}"
        names[source] = name
        taken.add(name.lower())
    return names


def drawing_suffix(source: Source) -> str:
    """The format of a source's drawing."""
    if source.moves:
        return ".mp4"
    return source.path.suffix if source.path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".png"
