"""Summaries of posterior draws of effects, feature by feature, and the test of group labels beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

#: Ends of the interval of an effect.
INTERVAL = (0.025, 0.975)
#: Fewest features whose sizes show what unaffected ones get.
BULK = 50
#: Variance, as a share of the squared mean, up to which values count as equal: errors of rounding.
EQUAL = 1e-12


def effect_table(effects: np.ndarray, sizes: np.ndarray, delta: float | np.ndarray) -> pd.DataFrame:
    """Summarise draws of an effect.

    Parameters
    ----------
    effects
        Signed effect, one row a draw (S, D).
    sizes
        Its size, at least 0 (S, D).
    delta
        Size up to which an effect counts as none; one value, or one a feature (D,).

    Returns
    -------
    DataFrame
        One row a feature: ``mean``, ``median``, ``std``, ``low`` and ``high`` (:data:`INTERVAL`) of the
        effect; ``size``, the mean size; ``proba_de``, the share of draws with a size above ``delta``; and
        ``fdr``, see :func:`expected_fdr`.
    """
    low, median, high = np.quantile(effects, [INTERVAL[0], 0.5, INTERVAL[1]], axis=0)
    probability = (sizes > delta).mean(axis=0)
    return pd.DataFrame(
        {
            "mean": effects.mean(axis=0),
            "median": median,
            "std": effects.std(axis=0, ddof=1) if len(effects) > 1 else np.nan,
            "low": low,
            "high": high,
            "size": sizes.mean(axis=0),
            "proba_de": probability,
            "fdr": expected_fdr(probability),
        }
    )


def expected_fdr(probability: np.ndarray) -> np.ndarray:
    """Expected false discovery rate of each list that ends with a feature (D,).

    The list of a feature holds all features whose probability of an effect is at least as high; its expected
    share of false discoveries is the mean of one minus these probabilities (Newton et al. 2004,
    *Biostatistics* 5, section 4). It is right as far as the probabilities are.
    """
    order = np.argsort(-probability, kind="stable")
    ordered = probability[order]
    running = np.cumsum(1 - ordered) / np.arange(1, len(ordered) + 1)
    # Features of equal probability enter a list together.
    last = np.searchsorted(-ordered, -ordered, side="right") - 1
    found = np.empty(len(probability))
    found[order] = running[last]
    return found


def bulk_p_values(sizes: np.ndarray) -> np.ndarray:
    """P values of sizes of effects, by the bulk of the features as the empirical null (D,).

    Most features are taken to be unaffected. The logarithms of their sizes are taken to be normal, with the
    median of all features and the spread of the lower half, which affected features do not reach (central
    matching, Efron 2004, *Journal of the American Statistical Association* 99). So the null holds everything
    that gives unaffected features a size: errors of the decoder, and variation that the model puts into the
    wrong block. It is conservative where many features are affected, as these raise the median.

    Parameters
    ----------
    sizes
        Mean size of the effect on each feature (D,), at least 0.

    Returns
    -------
    ndarray
        NaN for fewer than :data:`BULK` features, which show no null.
    """
    if len(sizes) < BULK:
        return np.full(len(sizes), np.nan)
    logs = np.log(np.maximum(sizes, np.finfo(float).tiny))
    low, median = np.quantile(logs, [float(norm.cdf(-1)), 0.5])
    if median == low:
        return np.ones(len(sizes))
    return norm.sf((logs - median) / (median - low))


def label_p_values(count: np.ndarray, total: np.ndarray, square: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Two-sided p values of a sum over one group, when labels are permuted within strata (D,).

    The sum of the first group has a known mean and variance over all permutations of the labels within each
    stratum, and is close to normal for tens of rows. So nothing has to be drawn, and small values are not
    bounded by a number of draws.

    Parameters
    ----------
    count
        Number of rows of each stratum and group (K, G).
    total, square
        Sum of values and of their squares (K, G, D).
    first
        Which groups are the first of the two that are compared (G,); the others are the second.

    Returns
    -------
    ndarray
        NaN where no stratum has rows of both, 1 where all values are equal.
    """
    n = count.sum(axis=1)
    n_first = count[:, first].sum(axis=1)
    usable = (n_first > 0) & (n_first < n)
    if not usable.any():
        return np.full(total.shape[-1], np.nan)
    n, n_first, total, square = n[usable], n_first[usable], total[usable], square[usable]
    mean = total.sum(axis=1) / n[:, None]
    variance = square.sum(axis=1) / n[:, None] - mean**2
    variance = np.where(variance > EQUAL * mean**2, variance, 0.0) * (n / (n - 1))[:, None]
    excess = (total[:, first].sum(axis=1) - n_first[:, None] * mean).sum(axis=0)
    spread = np.sqrt(((n_first * (n - n_first) / n)[:, None] * variance).sum(axis=0))
    z = np.divide(excess, spread, out=np.zeros_like(excess), where=spread > 0)
    return 2 * norm.sf(np.abs(z))
