"""A detector's whole way from an image file's bytes to encoded detections, cut into stages that can be timed alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.speed.protocols.base import PIPELINE
from benchmarks.speed.workload import DetectorWorkload, ImageSource
from zoo.errors import UnreadableImage, UsageError
from zoo.export.runtimes import ExportedDetector
from zoo.preprocessing.preprocess import DECODERS, Preprocessor, normalized, resized
from zoo.structures import Detections, Sample

STAGES = PIPELINE


class Pipeline:
    """The stages of one detector.

    workload: whose network, device, precision and layout are used. clock: what tells the network's time from that of
    post-processing while it is switched on.
    """

    def __init__(self, workload: DetectorWorkload, synchronize: Callable[[], None]) -> None:
        preprocess = workload.model.preprocess
        if not isinstance(preprocess, Preprocessor):
            raise UsageError("end-to-end needs a network whose preprocessing is a recipe, as those of the zoo have.")
        self.workload, self.model, self.recipe = workload, workload.model, preprocess.recipe
        self.synchronize, self.clock = synchronize, NetworkClock(workload.model, synchronize)

    def timed(self, content: np.ndarray) -> tuple[str, list[Detections], dict[str, float]]:
        """One image alone: its detections as JSON and as they are, and seconds of each stage."""
        marks = [time.perf_counter()]

        def mark(value: Any) -> Any:
            self.synchronize()
            marks.append(time.perf_counter())
            return value

        before = self.clock.seconds
        image = mark(self.decode(content))
        small = mark(resized(self.recipe, image))
        sample = mark(normalized(self.recipe, small))
        tensor = mark(self.copy(sample))
        detections = mark(self.detect(tensor, sample))
        text = mark(self.encode(detections))
        seconds = [after - start for start, after in pairwise(marks)]
        network = min(self.clock.seconds - before, seconds[4])
        return text, detections, dict(zip(STAGES, [*seconds[:4], network, seconds[4] - network, seconds[5]]))

    def whole(self, content: np.ndarray) -> list[Detections]:
        """One image through all stages, without a clock."""
        sample = normalized(self.recipe, resized(self.recipe, self.decode(content)))
        detections = self.detect(self.copy(sample), sample)
        self.encode(detections)
        return detections

    def decode(self, content: np.ndarray) -> np.ndarray:
        """BGR uint8 (H, W, 3) from a file's bytes."""
        image = DECODERS[self.recipe.decoder](content)
        if image is None:
            raise UnreadableImage(f"an image of {content.size} bytes does not decode")
        return image

    def copy(self, sample: Sample) -> Tensor:
        """The network's input on its device."""
        layout = torch.channels_last if self.workload.channels_last else torch.contiguous_format
        return sample.image[None].to(self.workload.device, memory_format=layout)

    def detect(self, images: Tensor, sample: Sample) -> list[Detections]:
        """Network and post-processing; results on the CPU."""
        with torch.inference_mode(), self.workload.autocast():
            if isinstance(self.model, ExportedDetector):
                outputs = self.clock.around(self.model.run, images, [sample.geometry])
                return self.model.finish(outputs, images, [sample.geometry])
            return [one.to("cpu") for one in self.model.predict(images, [sample.geometry])]

    def encode(self, detections: list[Detections]) -> str:
        """Results in COCO's format, masks run-length encoded, as JSON."""
        return json.dumps(self.workload.evaluate(detections), default=lambda value: value.decode())


class NetworkClock:
    """Seconds that a detector spends in its layers, as opposed to choosing boxes, suppression and pasting masks.

    The layers are the detector's parts and those of its RoI head; time inside one another counts once. An exported file
    chooses and suppresses inside its graph, so there the network is the graph, unless it is one of several images.
    """

    def __init__(self, model: nn.Module, synchronize: Callable[[], None]) -> None:
        self.model, self.synchronize = model, synchronize
        self.depth, self.start, self.seconds, self.on = 0, 0.0, 0.0, False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Switched on: hooks at every part."""
        handles = [hook for part in parts(self.model) for hook in self.hooks(part)]
        self.on = True
        try:
            yield
        finally:
            self.on = False
            for handle in handles:
                handle.remove()

    def hooks(self, part: nn.Module) -> list[Any]:
        """What starts and stops the clock."""
        return [
            part.register_forward_pre_hook(lambda *_: self.enter()),
            part.register_forward_hook(lambda *_: self.leave(), always_call=True),
        ]

    def enter(self) -> None:
        """The clock starts at the outermost part."""
        if self.depth == 0:
            self.synchronize()
            self.start = time.perf_counter()
        self.depth += 1

    def leave(self) -> None:
        """And stops there."""
        self.depth -= 1
        if self.depth == 0:
            self.synchronize()
            self.seconds += time.perf_counter() - self.start

    def around(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A call that is all network."""
        if not self.on:
            return function(*arguments)
        self.enter()
        try:
            return function(*arguments)
        finally:
            self.leave()


def parts(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a detector that consist of layers: its children, and those of its RoI head."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            yield from child
        elif name == "roi_head":
            yield from parts(child)
        else:
            yield child


def contents(images: list[ImageSource]) -> list[np.ndarray]:
    """The bytes of image files; arrays are encoded as JPEG."""
    result = []
    for image in images:
        if isinstance(image, np.ndarray):
            result.append(cv2.imencode(".jpg", image)[1].ravel())
        else:
            result.append(np.fromfile(Path(image), np.uint8))
    return result
