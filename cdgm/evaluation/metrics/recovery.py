"""How well a block explains its own truth, up to the maps that theory leaves free.

Everything here is fitted on one half of the points and scored on the other, so that a block without
information scores about 0 and not the positive number that in-sample correlations give to noise.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from scipy.linalg import qr, svd
from scipy.optimize import linear_sum_assignment

from cdgm.evaluation.metrics.split_half import as_matrix, column_correlations, halves, paired

# Axes whose sd is below these (absolute, for latents with a N(0, 1) prior; relative to the largest axis)
# hold float32 rounding and nothing else: whitening would blow it up to unit size.
_SMALLEST_SD = 1e-6
_SMALLEST_RATIO = 1e-6

#: Variance of a posterior mean above which a dimension counts as active (Burda et al. 2016 use .01).
ACTIVE_VARIANCE = 0.05


def _whitening(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns spanning centred ``x`` (n, r) and the map (d, r) that makes them from ``x``."""
    q, r = cast("tuple[np.ndarray, np.ndarray]", qr(x, mode="economic", check_finite=False))
    u, s, vt = svd(r, full_matrices=False, check_finite=False)
    floor = max(_SMALLEST_SD * np.sqrt(len(x)), _SMALLEST_RATIO * (s[0] if s.size else 0.0))
    keep = s > floor
    return q @ u[:, keep], vt[keep].T / s[keep]


def canonical_directions(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Canonical correlations and directions in the sample, by QR and SVD.

    With :math:`X = Q_x R_x` and :math:`Y = Q_y R_y` centred, the correlations are the singular values of
    :math:`Q_x^\top Q_y` (Björck & Golub 1973). Constant and linearly dependent columns are left out.

    Parameters
    ----------
    x, y
        Arrays of shape (n, p) and (n, q).

    Returns
    -------
    correlations : ndarray (r,)
        Descending, r = the smaller of the two ranks.
    x_directions : ndarray (p, r)
    y_directions : ndarray (q, r)
    """
    x, y = paired(x, y)
    qx, wx = _whitening(x - x.mean(axis=0))
    qy, wy = _whitening(y - y.mean(axis=0))
    if qx.shape[1] == 0 or qy.shape[1] == 0:
        return np.zeros(0), np.zeros((x.shape[1], 0)), np.zeros((y.shape[1], 0))
    u, s, vt = svd(qx.T @ qy, full_matrices=False, check_finite=False)
    return np.clip(s, 0.0, 1.0), wx @ u, wy @ vt.T


def held_out_correlations(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Canonical correlations, directions from the fit half, signed values from the score half.

    Parameters
    ----------
    estimate, truth
        Arrays of shape (n, p) and (n, q).

    Returns
    -------
    ndarray (q,)
        In the order of the fit half; 0 for those that the estimate has no dimension left for.
    """
    estimate, truth = paired(estimate, truth)
    fit, score = halves(len(truth))
    _, a, b = canonical_directions(estimate[fit], truth[fit])
    values = np.zeros(truth.shape[1])
    values[: a.shape[1]] = column_correlations(estimate[score] @ a, truth[score] @ b)
    return values


def recovery_cc(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Mean held-out canonical correlation over the dimensions of the truth, missing ones counted 0.

    This is the mean correlation coefficient after linear alignment: N(0, I) priors leave rotations within
    a block free, so a score of single coordinates would be too strict.
    """
    return float(held_out_correlations(estimate, truth).mean())


def mcc(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Strong mean correlation coefficient: one fitted coordinate for each true one.

    Pairs and signs come from the fit half (Hungarian algorithm on absolute correlations, as in Hyvärinen
    & Morioka 2016), values from the score half; a true coordinate without partner counts 0. For reference:
    it is low for a rotated, perfectly recovered block.
    """
    estimate, truth = paired(estimate, truth)
    fit, score = halves(len(truth))
    p, q = estimate.shape[1], truth.shape[1]
    columns = [np.repeat(estimate[fit], q, axis=1), np.tile(truth[fit], p)]
    table = column_correlations(*columns).reshape(p, q)
    rows, cols = linear_sum_assignment(-np.abs(table))
    values = column_correlations(estimate[score][:, rows], truth[score][:, cols])
    return float((np.sign(table[rows, cols]) * values).sum() / q)


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
