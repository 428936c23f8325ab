"""Intervals over seeds: exact, and the same function for tables, verdicts, pages and figures.

The interval of a median consists of order statistics. Seeds are independent draws, so the number of values
below the true median is binomial with probability 1/2, whatever their distribution:
P(x_(l) <= m <= x_(n+1-l)) = 1 - 2 P(B < l), B ~ Binomial(n, 1/2) (David & Nagaraja, *Order Statistics*, 7.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

#: Largest error of an interval by default: coverage is at least 1 - ALPHA.
ALPHA = 0.05
#: Below this many values there is no interval. The widest one, from the smallest value to the largest,
#: covers the median with probability 1 - 2^(1 - n): 93.8 % for five values, 87.5 % for four.
FEWEST_VALUES = 5


class Interval(NamedTuple):
    """An estimate and its interval.

    Attributes
    ----------
    estimate
        NaN without values.
    low, high
        Ends; NaN where there is no interval.
    coverage
        Probability that such an interval covers the true value; NaN where there is no interval. Seldom equal
        to the requested coverage, since ranks are discrete: for 95 %, ten values give 97.9 % and
        five, whose widest interval has no more, give 93.8 %.
    """

    estimate: float
    low: float
    high: float
    coverage: float


def median_interval(values: Iterable[float], alpha: float = ALPHA) -> Interval:
    """Median with its interval, from the l-th smallest value to the l-th largest.

    l is the largest rank with coverage of at least 1 - alpha, so the interval is the narrowest that treats
    both sides alike. Where even the widest interval covers less, that one is returned with its ``coverage``.

    Parameters
    ----------
    values
        One number for each seed; those that are not finite are left out.
    alpha
        Error allowed. An interval that is one of k, of which the best is chosen, needs ``ALPHA / k``
        (Bonferroni).

    Returns
    -------
    Interval
        ``low``, ``high`` and ``coverage`` are NaN below :data:`FEWEST_VALUES` values.
    """
    found = np.sort(np.asarray(list(values), dtype=np.float64))
    found = found[np.isfinite(found)]
    n = len(found)
    if n < FEWEST_VALUES:
        return Interval(float(np.median(found)) if n else math.nan, math.nan, math.nan, math.nan)
    rank = median_rank(n, alpha)
    return Interval(
        float(np.median(found)), float(found[rank - 1]), float(found[n - rank]), median_coverage(n, rank)
    )


@lru_cache
def median_rank(n: int, alpha: float = ALPHA) -> int:
    """Rank l of the interval's ends among n values: the largest with coverage >= 1 - alpha, at least 1."""
    rank = 1
    while rank < n // 2 and median_coverage(n, rank + 1) >= 1 - alpha:
        rank += 1
    return rank


def median_coverage(n: int, rank: int) -> float:
    """Probability that the median lies between the ``rank``-th smallest and largest of n values."""
    return 1 - 2 * sum(math.comb(n, k) for k in range(rank)) / 2**n


def share_interval(k: int, n: int, alpha: float = ALPHA) -> Interval:
    """Share k / n with its exact binomial interval (Clopper & Pearson 1934).

    ``coverage`` is the least over all true shares, 1 - alpha; n = 0 gives NaN throughout.
    """
    from scipy.stats import beta

    if n == 0:
        return Interval(math.nan, math.nan, math.nan, math.nan)
    low = 0.0 if k == 0 else float(beta.ppf(alpha / 2, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - alpha / 2, k + 1, n - k))
    return Interval(k / n, low, high, 1 - alpha)
