"""Intervals over seeds cover as often as stated, by exact sums, by simulation, and as SciPy's do."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from cdgm.evaluation.intervals import (
    ALPHA,
    FEWEST_VALUES,
    median_coverage,
    median_interval,
    median_rank,
    share_interval,
)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3, 0.1])
def test_the_interval_of_a_median_is_the_narrowest_symmetric_one_that_covers(alpha):
    for n in range(FEWEST_VALUES, 60):
        rank = median_rank(n, alpha)
        # The median lies outside if fewer than `rank` values, or more than n - rank, lie below it.
        coverage = binom.pmf(np.arange(rank, n - rank + 1), n, 0.5).sum()
        assert coverage == pytest.approx(median_coverage(n, rank))
        assert coverage >= 1 - alpha or rank == 1
        if n - rank > rank + 1:
            assert binom.pmf(np.arange(rank + 1, n - rank), n, 0.5).sum() < 1 - alpha


def test_ten_seeds_give_the_second_smallest_and_largest():
    values = np.random.default_rng(0).permutation(np.arange(10.0))
    assert median_interval(values) == pytest.approx((4.5, 1, 8, 0.978515625))
    # One of three alternatives: 98.3 % need the whole range.
    assert median_interval(values, ALPHA / 3) == pytest.approx((4.5, 0, 9, 0.998046875))


def test_few_values_give_the_widest_interval_or_none():
    assert median_interval(range(5)) == (2, 0, 4, 0.9375)
    estimate, *ends = median_interval([3.0, 1.0, math.nan, math.inf, 2.0, 4.0])
    assert estimate == 2.5
    assert np.isnan(ends).all()
    assert np.isnan(median_interval([])).all()


@pytest.mark.parametrize("n", [5, 10, 17])
def test_intervals_cover_the_median_of_skewed_values_as_often_as_they_say(n):
    draws = 4_000
    found = [median_interval(values) for values in np.random.default_rng(n).exponential(size=(draws, n))]
    hits = np.mean([i.low <= math.log(2) <= i.high for i in found])
    stated = found[0].coverage
    assert hits == pytest.approx(stated, abs=4 * math.sqrt(stated * (1 - stated) / draws))


@pytest.mark.parametrize(("k", "n"), [(8, 10), (0, 10), (10, 10), (1, 5)])
def test_the_interval_of_a_share_is_clopper_and_pearson_s(k, n):
    exact = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert share_interval(k, n) == pytest.approx((k / n, exact.low, exact.high, 0.95))
    assert np.isnan(share_interval(0, 0)).all()
