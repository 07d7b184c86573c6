"""A teacher that is the moving average of its student (Tarvainen and Valpola, Mean Teacher, 2017)."""

from __future__ import annotations

from zoo.models.detectors.soft_teacher import SoftTeacher


class MeanTeacher:
    """Lets the teacher of a network follow its student.

    momentum: part of the way that it goes after each step. burn_in: so many steps learn from annotated images only, and
    the teacher is the student as it is (Liu et al., Unbiased Teacher, 2021); the reference has none.
    """

    def __init__(self, network: SoftTeacher, momentum: float, burn_in: int = 0) -> None:
        self.network, self.momentum, self.burn_in = network, momentum, burn_in
        network.teach(1)

    def burning_in(self, done: int) -> bool:
        """Whether the step after `done` steps is one of the first."""
        self.network.burning_in = done < self.burn_in
        return self.network.burning_in

    def follow(self) -> None:
        """Move the teacher after a step."""
        self.network.teach(1 if self.network.burning_in else self.momentum)
