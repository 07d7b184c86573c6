"""A peer in another Python environment, driven over JSON lines; `workers/serve.py` states the contract.

The worker times its own calls, so that neither pipes nor JSON are inside the clock. Nothing that a worker does stops
the harness: whatever is not the answer in time is a PeerError with a sentence.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.system.timing import Timed
from zoo.errors import ZooError
from zoo.structures import Detections
from zoo.system import allocator
from zoo.text import printable

WORKERS = Path(__file__).parent / "workers"
OPENING_SECONDS, ANSWER_SECONDS = 600.0, 600.0
"""How long a worker may take to build its network, and for any other answer."""

CHUNK = 1 << 16
MOST_PIXELS = 1 << 26  # of a mask


class PeerError(ZooError):
    """The peer could not be started, failed, took too long, or answered with nonsense."""


class ExternalWorkload:
    """A peer's detector and the images, one per batch. A `Workload` that keeps its own time.

    patience: seconds that any answer may take but the first. tf32: whether a GPU multiplies float32 as TF32.
    """

    batch = 1

    def __init__(
        self,
        peer: str,
        python: str,
        config: str,
        images: Sequence[Path],
        device: str = "cpu",
        weights: str | None = None,
        threads: int | None = None,
        script: Path | None = None,
        paths: Sequence[str] = (),
        patience: float = ANSWER_SECONDS,
        tf32: bool = False,
    ) -> None:
        """Start the worker and let it build the network. Raises PeerError with what it said."""
        self.images, self.peer, self.patience = images, peer, patience
        self.shapes: dict[int, tuple[int, int]] = {}  # of the inputs that the worker made, (H, W)
        self.command = [python, str(script or WORKERS / f"{peer}_worker.py")]
        # A thread pool that spins while it waits for the other's turn would slow the other down.
        waiting = {"OMP_WAIT_POLICY": "passive"}
        environment = {**os.environ, **allocator.variables(), **waiting, "PYTHONPATH": os.pathsep.join(paths)}
        self.errors, self.unread = tempfile.TemporaryFile("w+"), b""  # noqa: SIM115 (a full pipe would block the worker)
        try:
            self.process = subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
            )
        except OSError as error:
            raise PeerError(f"{peer}: {python} cannot be started: {error.strerror}.") from error
        try:
            opening = {"config": config, "weights": weights, "device": device, "threads": threads, "tf32": tf32}
            self.facts = self.ask(op="open", seconds=max(patience, OPENING_SECONDS), **opening)
        except PeerError:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> int:
        """Let the worker read and preprocess an image and keep it."""
        answer = self.ask(op="load", index=index, path=str(self.images[index].resolve()))
        height, width = self.numbers(answer, "shape", 2)
        self.shapes[index] = (int(height), int(width))
        return index

    def time(self, batch: int) -> tuple[None, Timed]:
        """One call, timed by the worker."""
        return None, Timed(self.seconds(self.ask(op="compute", index=batch)), None)

    def compute(self, batch: int) -> list[Detections]:
        """What the peer detects."""
        answer = self.ask(op="detect", index=batch)
        try:
            boxes = torch.tensor(answer["boxes"], dtype=torch.float32).reshape(-1, 4)
            scores, labels = torch.tensor(answer["scores"]).float(), torch.tensor(answer["labels"]).long()
            same = scores.shape == labels.shape == (len(boxes),)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise self.nonsense("detections that are no numbers") from error
        if not same or not bool(torch.isfinite(boxes).all() and torch.isfinite(scores).all()):
            raise self.nonsense(f"{len(boxes)} boxes, {scores.numel()} scores and {labels.numel()} labels")
        return [Detections(boxes, scores, labels, self.masks(answer, len(boxes)))]

    def masks(self, answer: dict[str, Any], count: int) -> Tensor | None:
        """The masks (count, H, W) bool in an answer, which all have one size; None without any."""
        listed = answer.get("masks")
        if listed is None:
            return None
        if not isinstance(listed, list) or len(listed) != count or not all(map(is_mask, listed)):
            raise self.nonsense("masks that are no run lengths, or not one for each box")
        if len({tuple(one["size"]) for one in listed}) > 1:
            raise self.nonsense("masks of several sizes")
        masks = [filled(one["size"], one["counts"]) for one in listed]
        return torch.stack(masks) if masks else torch.zeros((0, 1, 1), dtype=torch.bool)

    def evaluate(self, results: Any) -> None:
        """Nothing: no protocol that compares times it."""

    def memory(self) -> dict[str, float]:
        """The process's peaks in MiB."""
        return {name: float(value) for name, value in self.ask(op="memory").items() if name.endswith("_mib")}

    def train(self, batch: Path, take_all: bool) -> dict[str, float]:
        """The losses of a training batch by name, after which `step` trains on it."""
        answer = self.ask(op="train", batch=str(batch), take_all=take_all)
        losses = answer.get("losses")
        if not isinstance(losses, dict) or not all(isinstance(value, float) for value in losses.values()):
            raise self.nonsense("losses that are no numbers")
        return losses

    def step(self) -> tuple[float, float]:
        """Seconds of one training iteration, and those that the process's threads computed."""
        answer = self.ask(op="step")
        return self.seconds(answer), self.numbers({"cpu": [answer.get("cpu_seconds")]}, "cpu", 1)[0]

    def seconds(self, answer: dict[str, Any]) -> float:
        """The time in an answer, which must be one."""
        (value,) = self.numbers({"seconds": [answer.get("seconds")]}, "seconds", 1)
        if value <= 0:
            raise self.nonsense(f"a call of {value} seconds")
        return value

    def numbers(self, answer: dict[str, Any], name: str, count: int) -> list[float]:
        """A list of so many finite numbers in an answer."""
        values = answer.get(name)
        if isinstance(values, list) and len(values) == count and all(map(finite, values)):
            return [float(value) for value in values]
        raise self.nonsense(f"no {name}")

    def nonsense(self, what: str) -> PeerError:
        """The error for an answer that makes no sense."""
        return PeerError(f"{self.peer}: the worker answered with {printable(what)}.")

    @property
    def told(self) -> str:
        """The command without the folders of this machine, for records that others read."""
        return f"python {Path(self.command[-1]).name}"

    def ask(self, seconds: float | None = None, **request: Any) -> dict[str, Any]:
        """One request and its answer. seconds: how long it may take."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self.line(seconds or self.patience)
        except BrokenPipeError:
            line = b""
        if not line:
            raise PeerError(f"{self.peer}: {' '.join(self.command)} ended: {self.last_words()}")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self.nonsense(f"{line[:60]!r}, which is not JSON") from error
        if not isinstance(answer, dict):
            raise self.nonsense(f"{answer!r:.60}, which is not an object")
        if "error" in answer:
            raise PeerError(f"{self.peer}: {printable(' '.join(str(answer['error']).split()), limit=500)}")
        return answer

    def line(self, seconds: float) -> bytes:
        """The next line of the worker's output, empty at its end. Raises PeerError when it does not come in time."""
        assert self.process.stdout is not None
        pipe, deadline = self.process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self.unread:
            ready, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                self.process.kill()
                raise PeerError(f"{self.peer}: no answer within {seconds:.0f} seconds; the worker was ended.")
            chunk = os.read(pipe, CHUNK)
            if not chunk:
                return b""
            self.unread += chunk
        line, _, self.unread = self.unread.partition(b"\n")
        return line

    def last_words(self) -> str:
        """The last line that the worker wrote to stderr."""
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return printable(lines[-1], limit=500) if lines else "no output on stderr."

    def close(self) -> None:
        """End the worker."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def is_mask(value: Any) -> bool:
    """Whether a value of JSON is a mask's size and its run lengths, which fill it."""
    if not isinstance(value, dict):
        return False
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or not isinstance(counts, list) or len(size) != 2:
        return False
    whole = all(type(number) is int and number >= 0 for number in [*size, *counts])
    return whole and sum(counts) == size[0] * size[1] and sum(counts) <= MOST_PIXELS


def filled(size: Sequence[int], counts: Sequence[int]) -> Tensor:
    """The mask (H, W) bool of run lengths down its columns, the first of zeros."""
    values = np.arange(len(counts)) % 2 == 1
    return torch.from_numpy(np.ascontiguousarray(np.repeat(values, counts).reshape(size[1], size[0]).T))


def finite(value: Any) -> bool:
    """Whether a value of JSON is a number that is neither infinite nor NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
