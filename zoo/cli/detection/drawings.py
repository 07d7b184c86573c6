"""Drawings of detections: an image file for each image, a video for each video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2

from zoo.cli.detection.inputs import Frame, Source
from zoo.errors import ZooError
from zoo.preprocessing.preprocess import read_image
from zoo.structures import Detections
from zoo.system.atomic_write import atomic_path
from zoo.visualization import draw


class Drawings:
    """Writes drawings into a folder. names: a file name for each source. score_thr: the least score of what is drawn.

    A video appears when its last frame is written.
    """

    def __init__(self, folder: Path, names: Mapping[Source, str], score_thr: float) -> None:
        self.folder, self.names, self.score_thr = folder, names, score_thr
        self.source: Source | None = None
        self.stack, self.video = ExitStack(), cv2.VideoWriter()
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, frame: Frame, detections: Detections, classes: Sequence[str] | None) -> None:
        """Draw one image."""
        pixels = read_image(frame.source.path) if frame.pixels is None else frame.pixels
        drawn = draw.draw(pixels, detections, classes, self.score_thr)
        if frame.source != self.source:
            self.close()
            self.source = frame.source
            if frame.source.moves:
                self.open(frame)
        if frame.source.moves:
            self.video.write(drawn)
        else:
            draw.save(drawn, self.folder / self.names[frame.source])

    def open(self, frame: Frame) -> None:
        """Begin the video of a source. Raises ZooError where OpenCV has no encoder."""
        assert frame.pixels is not None
        path = self.folder / self.names[frame.source]
        part = self.stack.enter_context(atomic_path(path, ".part.mp4"))
        height, width = frame.pixels.shape[:2]
        self.video = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), frame.fps, (width, height))
        if not self.video.isOpened():
            raise ZooError(f"{path}: this build of OpenCV cannot write MP4 videos.")

    def close(self) -> None:
        """End the video that is being written."""
        self.video.release()
        self.stack.close()

    def __enter__(self) -> Drawings:
        return self

    def __exit__(self, *error: Any) -> None:
        self.video.release()
        self.stack.__exit__(*error)  # an error leaves no video
