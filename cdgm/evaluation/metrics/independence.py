r"""Hilbert-Schmidt independence criterion between two blocks, with a permutation test.

The permutations are cyclic shifts of the rows in a random order. They are a group, so the test is exact
(Hemerik & Goeman 2018), and Fourier transforms of the kernels' diagonals score all of them at the cost of
a few single ones.

RBF kernels :math:`e^{-\gamma\|x - x'\|^2}`, :math:`\gamma = 1 / (2 g^2)`, with g the expected distance of two
standard normal vectors: the bandwidth of Lopez et al. (2018), fixed by the prior and so blind to the fit.
"""

from __future__ import annotations

import numpy as np

from cdgm.evaluation.metrics.nulls import Null, permutation, summary
from cdgm.evaluation.metrics.split_half import as_matrix, paired
from cdgm.objectives.kernels import expected_distance

#: Points that a test uses: its cost is quadratic in them.
TEST_POINTS = 500


def rbf_kernel(x: np.ndarray) -> np.ndarray:
    """Gram matrix (n, n) of ``x`` (n, d) at the prior's bandwidth."""
    x = as_matrix(x)
    squares = (x * x).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2.0 * x @ x.T, 0.0)
    return np.exp(-distances / (2.0 * expected_distance(x.shape[1]) ** 2))


def hsic_biased(x: np.ndarray, y: np.ndarray) -> float:
    r"""V-statistic :math:`\operatorname{tr}(KHLH) / n^2` (Gretton et al. 2008, eq. 4).

    Its mean under independence is not 0 but about :math:`(1 - \mu_x)(1 - \mu_y) / n`, with
    :math:`\mu = E\,k(x, x')` (ibid., theorem 4).
    """
    x, y = paired(x, y)
    return float((_centred(rbf_kernel(x)) * rbf_kernel(y)).mean())


def hsic_unbiased(x: np.ndarray, y: np.ndarray) -> float:
    """U-statistic (Song et al. 2012, eq. 5), mean 0 under independence; needs 4 points or more."""
    x, y = paired(x, y)
    return _unbiased(_u_centred(rbf_kernel(x)), _u_centred(rbf_kernel(y)))


def hsic_test(
    x: np.ndarray,
    y: np.ndarray,
    rng: np.random.Generator,
    draws: int = 199,
    points: int = TEST_POINTS,
    within: np.ndarray | None = None,
) -> tuple[float, float, Null]:
    """Unbiased HSIC on evenly spaced points with its permutation test.

    Parameters
    ----------
    x, y
        Arrays (n, p) and (n, q), paired by row.
    rng
        Source of the permutations.
    draws
        Number of permutations, at least: there are as many as points, less one. Where the points are too few,
        further rounds of shifts start from the rows of ``y`` in another random order.
    points
        Points used, at most.
    within
        Strata (n,) within which rows are permuted, by random permutations in place of shifts: a test of
        dependence beyond what the strata explain.

    Returns
    -------
    value : float
    p : float
        (1 + draws at or above the value) / (1 + draws).
    null : tuple of float
        Mean and 95 % quantile over the permutations.
    """
    x, y = paired(x, y)
    rows = rng.permutation(spread_rows(len(x), points))
    k, m = _u_centred(rbf_kernel(x[rows])), _u_centred(rbf_kernel(y[rows]))
    # U-centring commutes with permuting the points: the matrices needn't be built again.
    if within is None:
        rounds = [_shifted(k, m)]
        while len(rounds) * len(rows) <= draws:
            order = rng.permutation(len(rows))
            rounds.append(_shifted(k, m[np.ix_(order, order)]))
        value, shuffled = rounds[0][0], np.concatenate(rounds)[1:]
    else:
        orders = [permutation(len(rows), rng, within[rows]) for _ in range(draws)]
        value = _unbiased(k, m)
        shuffled = np.array([_unbiased(k, m[np.ix_(order, order)]) for order in orders])
    # Two collapsed blocks give exact zeros up to rounding; they count as ties, not as dependence.
    at_least = shuffled >= value - 1e-14
    return float(value), float((1 + at_least.sum()) / (1 + len(shuffled))), summary(shuffled)


def spread_rows(n: int, points: int = TEST_POINTS) -> np.ndarray:
    """Numbers of up to ``points`` rows, spread evenly over n."""
    return np.linspace(0, n - 1, min(points, n)).astype(int)


def _centred(kernel: np.ndarray) -> np.ndarray:
    return kernel - kernel.mean(axis=0) - kernel.mean(axis=1)[:, None] + kernel.mean()


def _u_centred(kernel: np.ndarray) -> np.ndarray:
    """U-centred kernel with zero diagonal (Székely & Rizzo 2014, definition 2)."""
    n = len(kernel)
    if n < 4:
        raise ValueError(f"the unbiased estimator needs 4 points or more, got {n}")
    kernel = kernel.copy()
    np.fill_diagonal(kernel, 0.0)
    sums = kernel.sum(axis=1)
    kernel -= (sums[:, None] + sums[None, :]) / (n - 2)
    kernel += sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(kernel, 0.0)
    return kernel


def _shifted(k: np.ndarray, m: np.ndarray) -> np.ndarray:
    """:func:`_unbiased` (n,) of ``k`` and of ``m`` with its points shifted by 0, ..., n - 1, cyclically.

    A shift of the points is one along each diagonal, so the sums are circular correlations. The diagonals
    d and n - d hold the same numbers; the main one is 0.
    """
    n = len(k)
    offsets = np.arange(1, n // 2 + 1)
    rows = np.arange(n)
    columns = (rows + offsets[:, None]) % n
    weights = np.where(2 * offsets == n, 1.0, 2.0)[:, None]
    products = np.conj(np.fft.rfft(k[rows, columns])) * np.fft.rfft(m[rows, columns])
    return np.fft.irfft((weights * products).sum(axis=0), n) / (n * (n - 3))


def _unbiased(k: np.ndarray, m: np.ndarray) -> float:
    n = len(k)
    return float(np.vdot(k, m) / (n * (n - 3)))
