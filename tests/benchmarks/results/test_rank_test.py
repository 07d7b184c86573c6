"""The rank test against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from benchmarks.results.rank_test import p_value


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 5), (8, 100), (9, 9), (30, 40), (100, 100)])
@pytest.mark.parametrize("tied", [False, True])
def test_p_values_are_those_of_scipy(m: int, n: int, tied: bool) -> None:
    random = np.random.RandomState(m * 100 + n)
    for shift in (-0.5, 0.0, 0.3, 2.0):
        a, b = random.normal(shift, 1, m), random.normal(0, 1, n)
        if tied:
            a, b = a.round(), b.round()
        expected = mannwhitneyu(a, b, alternative="greater").pvalue
        if np.isfinite(expected):
            assert p_value(list(a), list(b)) == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


def test_equal_values_say_nothing() -> None:
    assert p_value([1.0] * 20, [1.0] * 30) == 1
