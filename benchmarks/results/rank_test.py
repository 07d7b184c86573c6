"""The Mann-Whitney U test (Mann and Whitney, 1947), one-sided, in plain Python: checks start without scipy.

p values equal those of `scipy.stats.mannwhitneyu(larger, smaller, alternative="greater")`: exact where one sample has
at most EXACT values and no two are equal, else by the normal approximation, corrected for ties and continuity.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

EXACT = 8


def p_value(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """The probability that the first sample is at least this much larger by accident."""
    values = Counter([*larger, *smaller])
    u = statistic(larger, smaller)
    if min(len(larger), len(smaller)) <= EXACT and max(values.values()) == 1:
        return exact(round(u), len(larger), len(smaller))
    return approximate(u, len(larger), len(smaller), values)


def statistic(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """U: the number of pairs in which the first sample has the larger value; equal values count half."""
    ranks, before = dict[float, float](), 0
    for value, count in sorted(Counter([*larger, *smaller]).items()):
        ranks[value] = before + (count + 1) / 2
        before += count
    return sum(ranks[value] for value in larger) - len(larger) * (len(larger) + 1) / 2


def exact(u: int, m: int, n: int) -> float:
    """P(U >= u) for samples of m and n different values."""
    return sum(frequencies(m, n)[u:]) / math.comb(m + n, m)


def frequencies(m: int, n: int) -> list[int]:
    """How many orders of m and n different values have each U: the coefficients of a Gaussian binomial."""
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):  # times 1 - q^(n + i)
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):  # divided by 1 - q^i
            counts[u] += counts[u - i]
    return counts


def approximate(u: float, m: int, n: int, values: Counter[float]) -> float:
    """P(U >= u) by the normal approximation; 1 where all values are equal."""
    total = m + n
    ties = sum(count**3 - count for count in values.values()) / (total * (total - 1))
    deviation = math.sqrt(m * n / 12 * (total + 1 - ties))
    return math.erfc((u - m * n / 2 - 0.5) / deviation / math.sqrt(2)) / 2 if deviation else 1.0
