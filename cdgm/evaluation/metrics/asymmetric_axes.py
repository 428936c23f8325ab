r"""Asymmetric axes: directions of a shared block that are alive in one source and idle in another.

A shared block has one law in all its sources. What belongs to a private block can move there if the shared
block has spare axes; such an axis varies in the sources of the private block and hardly in others. No truth
is needed to see it:

.. math:: \lambda = \max_v \frac{v^\top (C_a + \rho I) v}{v^\top (C_b + \rho I) v},

with C the covariance of posterior means in either source. It is 1 where both agree, does not depend on the
basis of the block, and is at most :math:`1 + \|C_a\| / \rho`, about 21 where means vary as the prior does.

Means vary less where rows tell less of an axis: by 1 - s where the prior's variance 1 has shrunk to a
posterior variance s. So an axis of equal law but unequal precision has
:math:`(1 - s_a + \rho) / (1 - s_b + \rho)`. A likelihood that fits one source worse than another makes means
vary unequally too: a large ratio then is no moved dimension.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cdgm.config.design import Design
from cdgm.evaluation.metrics.nulls import NO_NULL, Null, permutation, summary
from cdgm.evaluation.metrics.split_half import as_matrix

#: Added to all variances, on the scale of the prior's 1: axes of less than this count as empty
#: (as in :data:`cdgm.evaluation.metrics.recovery.ACTIVE_VARIANCE`).
RIDGE = 0.05
#: Above it an axis counts as alive in one source only. An axis of equal law gets there only if one source
#: tells it in full and the other resolves less than .3 of its variance. Plain fits of simulations with spare
#: background dimensions had 1.3 at most without a moved dimension and 9 at least with one: 3 is in between on
#: a scale of ratios.
ALIVE_IN_ONE = 3.0
#: Rows whose products are formed at once.
SUMMED_ROWS = 1024


def axis_asymmetry(
    alive: np.ndarray,
    idle: np.ndarray,
    rng: np.random.Generator | int = 0,
    draws: int = 0,
    within: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[float, float, Null]:
    """Largest ratio of an axis's variance in one source to that in another, with its permutation test.

    Parameters
    ----------
    alive, idle
        Posterior means of a block in the source above and below the fraction bar, (n, d) and (m, d).
    rng
        Generator or seed of the permutations.
    draws
        Permutations of rows between the sources; without any there is no test.
    within
        Strata of the rows of both, (n,) and (m,), within which rows are permuted; None without.

    Returns
    -------
    value : float
        The ratio, at least 1 up to the noise of the covariances; NaN where a source has fewer than two rows.
    p : float
        (1 + draws at or above the value) / (1 + draws).
    null : tuple of float
        Mean and 95 % quantile over the permutations. Below some ten rows an axis it is far above 1.
    """
    alive, idle = as_matrix(alive), as_matrix(idle)
    n, m = len(alive), len(idle)
    rows = np.concatenate([alive, idle])
    if min(n, m) < 2:
        return float("nan"), float("nan"), NO_NULL
    rows = rows - rows.mean(axis=0)
    rng = np.random.default_rng(rng)
    # The smaller source is drawn, the other has the rest.
    smaller = slice(0, n) if n <= m else slice(n, n + m)
    strata = None if within is None else np.concatenate(within)
    # Which rows are in the smaller source, without a permutation and under each.
    inside = np.zeros((1 + draws, n + m), dtype=bool)
    inside[0, smaller] = True
    for drawn in inside[1:]:
        if strata is None:
            drawn[rng.permutation(n + m)[: min(n, m)]] = True
        else:
            drawn[permutation(n + m, rng, strata)[smaller]] = True
    sums, squares = _sums(inside, rows)
    small = _covariances(sums, squares, min(n, m))
    large = _covariances(rows.sum(axis=0) - sums, rows.T @ rows - squares, max(n, m))
    values = _ratios(small, large)[:, -1] if n <= m else _ratios(large, small)[:, -1]
    value, shuffled = float(values[0]), values[1:]
    if not draws:
        return value, float("nan"), NO_NULL
    return value, float((1 + (shuffled >= value).sum()) / (1 + draws)), summary(shuffled)


def axis_ratios(alive: np.ndarray, idle: np.ndarray) -> np.ndarray:
    """Ratios (d,), largest first, of which :func:`axis_asymmetry` is about the first.

    Each is stationary: no axis that is uncorrelated with those before it has a larger one. Those above
    :data:`ALIVE_IN_ONE` are the axes that are alive in one source only.
    """
    a, b = (np.cov(as_matrix(rows), rowvar=False, ddof=1, dtype=np.float64) for rows in (alive, idle))
    return _ratios(np.atleast_2d(a)[None], np.atleast_2d(b)[None])[0, ::-1]


def moved_axes(design: Design, means: Mapping[tuple[str, str], np.ndarray]) -> dict[str, int]:
    """Number of axes of each shared block that are alive in one source and idle in another.

    Axes of different sources are different ones. One that is idle in several other sources counts once.

    Parameters
    ----------
    design
        Sources and blocks.
    means
        Posterior means (n, d) of each (source, active block).
    """
    found: dict[str, int] = {}
    for block in design.blocks:
        of_source: dict[str, int] = {}
        for alive, idle in design.comparisons(block):
            ratios = axis_ratios(means[alive, block], means[idle, block])
            of_source[alive] = max(of_source.get(alive, 0), int((ratios > ALIVE_IN_ONE).sum()))
        if of_source:
            found[block] = sum(of_source.values())
    return found


def _sums(inside: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (k, d) of k selections (k, n) of rows (n, d), and of the rows' products (k, d, d).

    A product of matrices for all selections, some rows at a time.
    """
    dims = rows.shape[1]
    first, second = np.triu_indices(dims)
    found = np.zeros((len(inside), dims + len(first)))
    for start in range(0, len(rows), SUMMED_ROWS):
        some = rows[start : start + SUMMED_ROWS]
        found += inside[:, start : start + SUMMED_ROWS].astype(np.float64) @ np.hstack(
            [some, some[:, first] * some[:, second]]
        )
    squares = np.empty((len(inside), dims, dims))
    squares[:, first, second] = squares[:, second, first] = found[:, dims:]
    return found[:, :dims], squares


def _covariances(sums: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    """Covariances (k, d, d) of n rows each from sums of rows (k, d) and of their products (k, d, d)."""
    return (squares - sums[:, :, None] * sums[:, None, :] / n) / (n - 1)


def _ratios(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Generalised eigenvalues (k, d), rising, of covariances (k, d, d), each plus the ridge."""
    variances, axes = np.linalg.eigh(below)
    whitening = axes / np.sqrt(np.maximum(variances, 0.0) + RIDGE)[:, None, :]
    ridged = above + RIDGE * np.eye(above.shape[-1])
    return np.linalg.eigvalsh(whitening.mT @ ridged @ whitening)
