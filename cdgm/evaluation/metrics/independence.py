r"""Hilbert-Schmidt independence criterion between two blocks, with a permutation test.

RBF kernels :math:`e^{-\gamma\|x - x'\|^2}`, :math:`\gamma = 1 / (2 g^2)`, with g the expected distance of two
standard normal vectors: the bandwidth of Lopez et al. (2018), fixed by the prior and so blind to the fit.
"""

from __future__ import annotations

import numpy as np

from cdgm.evaluation.metrics.nulls import Null, summary
from cdgm.evaluation.metrics.split_half import as_matrix, paired
from cdgm.objectives.kernels import expected_distance

#: Points that a test uses: the permutation test costs points^2 a draw.
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
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator, draws: int = 199, points: int = TEST_POINTS
) -> tuple[float, float, Null]:
    """Unbiased HSIC on evenly spaced points with its permutation test.

    Parameters
    ----------
    x, y
        Arrays (n, p) and (n, q), paired by row.
    rng
        Source of the permutations.
    draws
        Number of permutations.
    points
        Points used, at most.

    Returns
    -------
    value : float
    p : float
        (1 + draws at or above the value) / (1 + draws).
    null : tuple of float
        Mean and 95 % quantile over the permutations.
    """
    x, y = paired(x, y)
    rows = spread_rows(len(x), points)
    k, m = _u_centred(rbf_kernel(x[rows])), _u_centred(rbf_kernel(y[rows]))
    value = _unbiased(k, m)
    shuffled = np.empty(draws)
    for i in range(draws):
        order = rng.permutation(len(rows))
        # U-centring commutes with permuting the points: the matrices needn't be built again.
        shuffled[i] = _unbiased(k, m[np.ix_(order, order)])
    # Two collapsed blocks give exact zeros up to rounding; they count as ties, not as dependence.
    at_least = shuffled >= value - 1e-14
    return value, float((1 + at_least.sum()) / (1 + draws)), summary(shuffled)


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


def _unbiased(k: np.ndarray, m: np.ndarray) -> float:
    n = len(k)
    return float(np.vdot(k, m) / (n * (n - 3)))
