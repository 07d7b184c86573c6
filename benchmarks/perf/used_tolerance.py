"""A plugin for pytest that says how much of their tolerance the comparisons of each test use.

Whether a test passes says little about how near it was to failing, and the next processor finds out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

# Function -> its tolerances (relative, absolute) where a call does not say them; None: by the values' type.
COMPARISONS: dict[tuple[Any, str], tuple[float, float] | None] = {
    (torch.testing, "assert_close"): None,
    (torch, "allclose"): (1e-5, 1e-8),
    (np, "allclose"): (1e-5, 1e-8),
    (np.testing, "assert_allclose"): (1e-7, 0.0),
}


class Watch:
    """used: test -> the largest part of a tolerance that a comparison that holds took; infinity if the test failed.

    known: values of an earlier run, whose tests are not run again. tell: called with each test that ends and its value.
    """

    def __init__(self, known: Mapping[str, float] | None = None, tell: Callable[[str, float], None] | None = None):
        self.known, self.tell = known or {}, tell
        self.used: dict[str, float] = {}
        self.current = ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Take known values over and run the other tests."""
        self.used |= {item.nodeid: self.known[item.nodeid] for item in items if item.nodeid in self.known}
        items[:] = [item for item in items if item.nodeid not in self.known]

    def pytest_runtest_call(self, item: Any) -> None:
        """A test begins."""
        self.current = item.nodeid
        self.used[self.current] = 0.0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """One phase of a test ends."""
        if report.failed:
            self.used[report.nodeid] = math.inf
        elif report.skipped:
            self.used.pop(report.nodeid, None)
        if report.when == "teardown" and self.tell and report.nodeid in self.used:
            self.tell(report.nodeid, self.used[report.nodeid])

    def add(self, part: float) -> None:
        """A comparison took this part of its tolerance; one that did not hold was meant not to, or fails the test."""
        if part <= 1 and self.current:
            self.used[self.current] = max(self.used.get(self.current, 0.0), part)

    @contextmanager
    def comparisons(self) -> Iterator[None]:
        """All comparisons with a tolerance tell this watch."""
        import pytest

        scalar = type(pytest.approx(1.0))
        with ExitStack() as stack:
            stack.enter_context(patch.object(scalar, "__eq__", self.of_approx(scalar.__eq__)))
            for (module, name), defaults in COMPARISONS.items():
                function = self.of_close(getattr(module, name), defaults)
                stack.enter_context(patch.object(module, name, function))
            yield

    def of_approx(self, plain: Callable[..., bool]) -> Callable[..., bool]:
        """`pytest.approx` of one number; lists and dicts come down to it."""

        def equal(approx: Any, actual: Any) -> bool:
            if isinstance(actual, (int, float)) and isinstance(approx.expected, (int, float)) and approx.tolerance:
                self.add(float(abs(approx.expected - actual) / approx.tolerance))
            return plain(approx, actual)

        return equal

    def of_close(self, plain: Callable[..., Any], defaults: tuple[float, float] | None) -> Callable[..., Any]:
        """A function that compares arrays, tensors or lists of them."""

        def close(actual: Any, expected: Any, *args: Any, **options: Any) -> Any:
            for have, want in pairs(actual, expected):
                named = dict(zip(("rtol", "atol"), args)) | options
                self.add(part_of_arrays(have, want, tolerances(have, named, defaults)))
            return plain(actual, expected, *args, **options)

        return close


def tolerances(
    values: torch.Tensor, named: dict[str, Any], defaults: tuple[float, float] | None
) -> tuple[float, float]:
    """Relative and absolute tolerance of a call. values: what is compared. named: what the call says."""
    relative, absolute = defaults or torch.testing._comparison.default_tolerances(values)
    return named.get("rtol", relative), named.get("atol", absolute)


def pairs(actual: Any, expected: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """All tensors of two equal structures; what has none has no tolerance either."""
    if isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)):
        for have, want in zip(actual, expected):
            yield from pairs(have, want)
    elif isinstance(actual, dict) and isinstance(expected, dict):
        yield from pairs(
            [actual[key] for key in actual if key in expected], [expected[k] for k in actual if k in expected]
        )
    elif all(isinstance(value, (torch.Tensor, np.ndarray, float)) for value in (actual, expected)):
        yield torch.as_tensor(actual), torch.as_tensor(expected)


def part_of_arrays(actual: torch.Tensor, expected: torch.Tensor, allowed: tuple[float, float]) -> float:
    """The largest part of rtol and atol that an element takes; 0 where shapes differ or nothing is allowed."""
    if actual.numel() == 0 or expected.numel() == 0 or actual.is_meta or actual.dtype == torch.bool:
        return 0.0
    actual, expected = actual.detach().cpu().double(), expected.detach().cpu().double()
    limit = allowed[1] + allowed[0] * expected.abs()
    part = ((actual - expected).abs() / limit).nan_to_num(0.0)
    return float(part.max())
