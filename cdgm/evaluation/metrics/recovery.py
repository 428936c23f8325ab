"""How well a block explains its own truth, up to the maps that theory leaves free.

Everything here is fitted on one half of the points and scored on the other, so that a block without
information scores about 0 and not the positive number that in-sample correlations give to noise.

All linear scores follow from the second moments of the two halves. Where a truth is (..., n, q), leading axes
stack truths of the same rows: the shuffled ones of a null are scored together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from cdgm.evaluation.metrics.split_half import as_matrix, halves, paired

# Axes whose sd is below these (absolute, for latents with a N(0, 1) prior; relative to the largest axis)
# hold float32 rounding and nothing else: whitening would blow it up to unit size.
_SMALLEST_SD = 1e-6
_SMALLEST_RATIO = 1e-6
#: Variance of a column below which it counts as constant.
SMALLEST_VARIANCE = 1e-12

#: Variance of a posterior mean above which a dimension counts as active (Burda et al. 2016 use .01).
ACTIVE_VARIANCE = 0.05


class Moments(NamedTuple):
    """Means and centred second moments (divided by n) of x (n, p) and y (..., n, q)."""

    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Moments:
        """Of samples. Means are taken off the products, which float64 bears unless they are 1e6 sds."""
        n = len(x)
        mx, my = x.mean(axis=0), np.full(n, 1 / n) @ y
        xy = x.T @ y / n - mx[:, None] * my[..., None, :]
        yy = y.swapaxes(-1, -2) @ y / n - my[..., :, None] * my[..., None, :]
        return cls(mx, my, x.T @ x / n - mx[:, None] * mx, xy, yy)

    def directions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Canonical correlations (..., r) and directions (..., p, r), (..., q, r); r is the smaller of p, q.

        Beyond the smaller of the two ranks they are 0.
        """
        wx, x_rank = _whitening(self.xx)
        wy, y_rank = _whitening(self.yy)
        u, s, vt = np.linalg.svd(wx.T @ self.xy @ wy, full_matrices=False)
        within = np.arange(s.shape[-1]) < np.minimum(x_rank, y_rank)
        keep = within[..., None, :]
        return np.clip(s, 0.0, 1.0) * within, wx @ u * keep, wy @ vt.swapaxes(-1, -2) * keep

    def correlations(self) -> np.ndarray:
        """Of each column of x with each of y, (..., p, q), 0 where one is constant."""
        sds = [np.sqrt(np.diagonal(m, axis1=-2, axis2=-1).clip(min=0)) for m in (self.xx, self.yy)]
        of_x, of_y = (np.where(sd > _SMALLEST_SD, 1.0 / np.maximum(sd, _SMALLEST_SD), 0.0) for sd in sds)
        return of_x[:, None] * self.xy * of_y[..., None, :]


def _whitening(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The map (..., d, d) to uncorrelated axes of variance 1, largest first, and their number (..., 1).

    Columns beyond that number, which hold no more than rounding, are 0.
    """
    variance, axes = np.linalg.eigh(covariance)
    sd = np.sqrt(variance[..., ::-1].clip(min=0))
    keep = sd > np.maximum(_SMALLEST_SD, _SMALLEST_RATIO * sd[..., :1])
    return axes[..., ::-1] * (keep / np.where(keep, sd, 1.0))[..., None, :], keep.sum(axis=-1, keepdims=True)


def _variances(covariance: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Along each direction (..., d, r)."""
    return (directions * (covariance @ directions)).sum(axis=-2).clip(min=0)


class Halves(NamedTuple):
    """Moments of an estimate (n, p) and a truth (..., n, q) on the fit half and on the score half."""

    fit: Moments
    score: Moments

    @classmethod
    def of(cls, estimate: np.ndarray, truth: np.ndarray) -> Halves:
        """Of paired rows."""
        estimate, truth = paired(estimate, truth)
        return cls(*(Moments.of(estimate[rows], truth[..., rows, :]) for rows in halves(len(estimate))))

    def canonical_correlations(self) -> np.ndarray:
        """See :func:`held_out_correlations`."""
        _, a, b = self.fit.directions()
        norms = np.sqrt(_variances(self.score.xx, a) * _variances(self.score.yy, b))
        shared = (a * (self.score.xy @ b)).sum(axis=-2)
        values = np.zeros(self.fit.y.shape)
        values[..., : a.shape[-1]] = np.where(norms > 0, shared / np.where(norms > 0, norms, 1.0), 0.0)
        return values

    def r2(self) -> np.ndarray:
        """Share (...) of the truth's variance that least squares with intercept explains."""
        fit, score = self
        weights = np.linalg.pinv(fit.xx, rcond=_SMALLEST_RATIO**2, hermitian=True) @ fit.xy
        bias = score.y - fit.y - ((score.x - fit.x) @ weights)
        missed = score.yy.trace(axis1=-2, axis2=-1) + np.square(bias).sum(axis=-1)
        missed += np.einsum("...ij,...ij->...", weights, score.xx @ weights - 2 * score.xy)
        total = score.yy.trace(axis1=-2, axis2=-1)
        varies = total > SMALLEST_VARIANCE * score.y.shape[-1]
        return np.where(varies, 1.0 - missed / np.where(varies, total, 1.0), 0.0)[()]

    def mcc(self) -> np.ndarray:
        """See :func:`mcc`."""
        fitted, scored = self.fit.correlations(), self.score.correlations()
        values = np.empty(fitted.shape[:-2])
        for place in np.ndindex(values.shape):
            pairs = linear_sum_assignment(-np.abs(fitted[place]))
            values[place] = (np.sign(fitted[place][pairs]) * scored[place][pairs]).sum()
        return (values / fitted.shape[-1])[()]


def held_out_correlations(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Canonical correlations, directions from the fit half, signed values from the score half.

    Parameters
    ----------
    estimate, truth
        Arrays of shape (n, p) and (..., n, q).

    Returns
    -------
    ndarray (..., q)
        In the order of the fit half; 0 for those that the estimate has no dimension left for.
    """
    return Halves.of(estimate, truth).canonical_correlations()


def recovery_cc(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Mean held-out canonical correlation over the dimensions of the truth, missing ones counted 0.

    This is the mean correlation coefficient after linear alignment: N(0, I) priors leave rotations within
    a block free, so a score of single coordinates would be too strict.
    """
    return float(held_out_correlations(estimate, truth).mean())


def mcc(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Strong mean correlation coefficient (...): one fitted coordinate for each true one.

    Pairs and signs come from the fit half (Hungarian algorithm on absolute correlations, as in Hyvärinen
    & Morioka 2016), values from the score half; a true coordinate without partner counts 0. For reference:
    it is low for a rotated, perfectly recovered block.
    """
    return Halves.of(estimate, truth).mcc()


def alignment(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Smallest and largest singular value of the least-squares map from the truth to the estimate.

    Unwhitened: 1 and 1 for an orthogonal map, which is all that the theory leaves free; less where
    posterior means shrink; 0 where a true direction is lost. The map goes *from* the truth because the
    other one blows up with every collapsed dimension.

    Returns
    -------
    tuple of float
        Over the q singular values of the (q, p) map, those missing for p < q counted 0.
    """
    estimate, truth = paired(estimate, truth)
    x, y = truth - truth.mean(axis=0), estimate - estimate.mean(axis=0)
    values = np.zeros(truth.shape[1])
    found = np.linalg.svd(np.linalg.lstsq(x, y, rcond=None)[0], compute_uv=False)
    values[: len(found)] = found
    return float(values.min()), float(values.max())


def active_dims(means: np.ndarray, threshold: float = ACTIVE_VARIANCE) -> int:
    """Number of dimensions whose posterior means vary by more than ``threshold`` over the points."""
    return int((as_matrix(means).var(axis=0) > threshold).sum())
