"""Where a run is on its way, and what is due there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Schedule:
    """Optimizer steps: `done` of `total`, `per_epoch` in each epoch."""

    per_epoch: int
    total: int
    done: int = 0

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 0."""
        return self.done // self.per_epoch

    @property
    def inside(self) -> int:
        """Steps done of the epoch of the next step."""
        return self.done % self.per_epoch

    @property
    def finished(self) -> bool:
        """True after the last step."""
        return self.done >= self.total

    def should_run(self, every: int) -> bool:
        """Whether something that runs every so many epochs (0: never) is due after the last step."""
        return bool(every) and (self.done % (every * self.per_epoch) == 0 or self.finished)

    def should_log(self, every: int) -> bool:
        """Whether a line of the log, every so many steps and at the end of each epoch, is due after the last step."""
        return self.done % every == 0 or self.inside == 0
