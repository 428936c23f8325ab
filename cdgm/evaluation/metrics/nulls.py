"""Permutation nulls: the distribution of a score when the rows of estimate and truth are shuffled.

A null is drawn once for a study and shape and reused for its other members: it depends on sizes and
dimensions, hardly on the member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

#: (mean, 95 % quantile) of a null distribution.
Null = tuple[float, float]
NO_NULL: Null = (float("nan"), float("nan"))


def summary(draws: Iterable[float]) -> Null:
    """Mean and 95 % quantile of drawn scores."""
    values = np.fromiter(draws, dtype=np.float64)
    return float(values.mean()), float(np.quantile(values, 0.95))


def permutation(n: int, rng: np.random.Generator, within: np.ndarray | None = None) -> np.ndarray:
    """A permutation of n rows; rows stay within their stratum where strata (n,) are given.

    What strata explain (batches, say) then is in the null too.
    """
    if within is None:
        return rng.permutation(n)
    order = np.arange(n)
    for stratum in np.unique(within):
        rows = np.flatnonzero(within == stratum)
        order[rows] = rng.permutation(rows)
    return order


def permutation_null(
    score: Callable[[np.ndarray, np.ndarray], float],
    estimate: np.ndarray,
    truth: np.ndarray,
    rng: np.random.Generator,
    draws: int = 100,
) -> Null:
    """Null of any score of an estimate against a truth (or labels) by shuffling the estimate's rows.

    Parameters
    ----------
    score
        ``score(estimate, truth)``.
    estimate, truth
        Arrays with equally many rows.
    rng
        Source of the permutations.
    draws
        Number of permutations.
    """
    return summary(score(estimate[rng.permutation(len(estimate))], truth) for _ in range(draws))


def row(
    source: str,
    block: str,
    truth: str,
    metric: str,
    value: float,
    null: Null = NO_NULL,
    twist: float = 0.0,
) -> dict[str, object]:
    """One tidy row; the caller adds study, fit, seed and the like."""
    return {
        "source": str(source),
        "block": str(block),
        "truth": str(truth),
        "twist": float(twist),
        "metric": metric,
        "value": float(value),
        "null_mean": null[0],
        "null_high": null[1],
    }
