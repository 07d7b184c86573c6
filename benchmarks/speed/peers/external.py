"""A peer in another Python environment, driven over JSON lines; `workers/serve.py` states the contract.

The worker times its own calls, so that neither pipes nor JSON are inside the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.system.timing import Timed
from zoo.errors import ZooError
from zoo.structures import Detections

WORKERS = Path(__file__).parent / "workers"


class PeerError(ZooError):
    """The peer could not be started, or answered with an error."""


class ExternalWorkload:
    """A peer's detector and the images, one per batch. A `Workload` that keeps its own time."""

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
    ) -> None:
        """Start the worker and let it build the network. Raises PeerError with what it said."""
        self.images, self.peer = images, peer
        self.shapes: dict[int, tuple[int, int]] = {}  # of the inputs that the worker made, (H, W)
        self.command = [python, str(script or WORKERS / f"{peer}_worker.py")]
        # A thread pool that spins while it waits for the other's turn would slow the other down.
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONPATH": ""}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (a pipe that nobody reads would block the worker)
        try:
            self.process = subprocess.Popen(
                self.command,
                text=True,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
            )
        except OSError as error:
            raise PeerError(f"{peer}: {python} cannot be started: {error.strerror}.") from error
        self.facts = self.ask(op="open", config=config, weights=weights, device=device, threads=threads)

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> int:
        """Let the worker read and preprocess an image and keep it."""
        answer = self.ask(op="load", index=index, path=str(self.images[index].resolve()))
        self.shapes[index] = (answer["shape"][0], answer["shape"][1])
        return index

    def time(self, batch: int) -> tuple[None, Timed]:
        """One call, timed by the worker."""
        return None, Timed(self.ask(op="compute", index=batch)["seconds"], None)

    def compute(self, batch: int) -> list[Detections]:
        """What the peer detects."""
        found = self.ask(op="detect", index=batch)
        boxes = torch.tensor(found["boxes"], dtype=torch.float32).reshape(-1, 4)
        return [Detections(boxes, torch.tensor(found["scores"]).float(), torch.tensor(found["labels"]).long())]

    def evaluate(self, results: Any) -> None:
        """Nothing: no protocol that compares times it."""

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerError(f"{self.peer}: {' '.join(self.command)} ended: {self.last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.peer}: {' '.join(answer['error'].split())}")
        return answer

    def last_words(self) -> str:
        """The last line that the worker wrote to stderr."""
        self.process.wait(10)
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1] if lines else "it said nothing."

    def close(self) -> None:
        """End the worker."""
        self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
