"""Agreement of the latents of several fits: identifiability as far as data without a truth show it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cdgm.evaluation.metrics.nulls import summary
from cdgm.evaluation.metrics.recovery import ACTIVE_VARIANCE, held_out_correlations
from cdgm.evaluation.metrics.regression import linear_r2
from cdgm.evaluation.metrics.split_half import halves

#: Rows used at most, spread evenly.
MOST_ROWS = 5_000


def pair_rows(
    means: np.ndarray, rng: np.random.Generator, draws: int, members: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Agreement of each pair of fits on one block, after the best linear alignment.

    Parameters
    ----------
    means
        Posterior means (E, n, d) of the same rows; more than ``MOST_ROWS`` are thinned evenly.
    rng
        Source of the order of the rows and of the permutations.
    draws
        Permutations of a null. One is drawn for each pair of numbers of axes, on which agreement by
        chance depends; a pair in which one fit has none gets no null.
    members
        Positions of the fits that are compared; by default all.

    Returns
    -------
    list of dict
        ``member_a``, ``member_b``, ``active_a``, ``active_b``, ``agreement``, ``null_high``, ``r2``,
        ``r2_null_high`` and ``rows``, explained in :func:`cdgm.estimator.scores.stability_table`, and
        ``axes``, the correlations whose mean is the agreement.
    """
    members = range(len(means)) if members is None else members
    whole = means[:, np.linspace(0, means.shape[1] - 1, min(MOST_ROWS, means.shape[1])).astype(int)]
    # Rows come source after source, and scores fit on even rows: a shuffle mixes what order there is.
    whole = whole[:, rng.permutation(whole.shape[1])]
    axes = {e: active_axes(whole[e]) for e in members}
    nulls: dict[tuple[int, int], tuple[float, float]] = {}
    rows = []
    for a, b in combinations(members, 2):
        x, y = axes[a], axes[b]
        shared = shared_axes(x, y)
        few, many = sorted((x.shape[1], y.shape[1]))
        if few and (few, many) not in nulls:
            orders = [rng.permutation(len(y)) for _ in range(draws)]
            nulls[few, many] = (
                summary(agreement(x, y[order]) for order in orders)[1],
                summary(explained_both_ways(whole[a], whole[b, order]) for order in orders)[1],
            )
        null, r2_null = nulls.get((few, many), (np.nan, np.nan))
        rows.append(
            {
                "member_a": a, "member_b": b,
                "active_a": x.shape[1], "active_b": y.shape[1],
                "axes": shared,
                "agreement": _mean(shared),
                "null_high": null,
                "r2": explained_both_ways(whole[a], whole[b]) if x.shape[1] or y.shape[1] else np.nan,
                "r2_null_high": r2_null,
                "rows": whole.shape[1],
            }
        )  # fmt: skip
    return rows


def active_axes(means: np.ndarray) -> np.ndarray:
    """Scores (n, k) on the principal axes along which posterior means (n, d) vary by more than .05."""
    centred = means.astype(np.float64) - means.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return centred @ axes[:, variance > ACTIVE_VARIANCE][:, ::-1]


def explained_both_ways(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the variance of latents (n, d) that others explain linearly, in the worse direction."""
    return float(min(linear_r2(a, b), linear_r2(b, a)))


def agreement(x: np.ndarray, y: np.ndarray) -> float:
    """Mean of :func:`shared_axes`; NaN where both have none."""
    return _mean(shared_axes(x, y))


def shared_axes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Held-out canonical correlations of axes (n, k), as many as the larger k; those of missing axes are 0.

    In the order of the half on which directions were fitted, strongest first.
    """
    most = max(x.shape[1], y.shape[1])
    if min(x.shape[1], y.shape[1]) == 0 or len(halves(len(x))[0]) <= x.shape[1] + y.shape[1]:
        return np.zeros(most)
    wide, narrow = (x, y) if x.shape[1] >= y.shape[1] else (y, x)
    return held_out_correlations(narrow, wide)


def _mean(shared: np.ndarray) -> float:
    """NaN where there are no axes."""
    return float(shared.mean()) if len(shared) else float("nan")
