"""Small quadratic problems on the simplex, exactly and for all members at once."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

MAX_DIMENSION = 8
"""Most weights that are solved for: the number of faces doubles with each."""


def minimise_on_simplex(quadratic: np.ndarray, linear: np.ndarray | None = None) -> np.ndarray:
    """Minimise ``w' Q w / 2 + c' w`` over weights that are not negative and sum to 1.

    For two weights it has a closed form. For more, the minimum over each face's plane is a small linear
    system; the best of those that lie in the simplex is the solution.

    Parameters
    ----------
    quadratic
        Positive semidefinite Q (E, K, K).
    linear
        c (E, K); absent means 0.

    Returns
    -------
    numpy.ndarray
        w (E, K). Where several are best, one of them.
    """
    members, k, _ = quadratic.shape
    if k == 1:
        return np.ones((members, 1))
    if k == 2:
        return _between_two(quadratic, linear)
    linear = np.zeros((members, k)) if linear is None else linear
    # The scale of the problem is of no matter; taking it out makes tolerances mean the same for all.
    scale = np.maximum(np.abs(quadratic).max(axis=(1, 2)), np.abs(linear).max(axis=1))
    scale = np.where(scale > 0, scale, 1.0)
    return _by_faces(quadratic / scale[:, None, None], linear / scale[:, None])


def _between_two(quadratic: np.ndarray, linear: np.ndarray | None) -> np.ndarray:
    """Minimise over two weights, with few operations: each takes longer than its arithmetic."""
    a, b, c = quadratic[:, 0, 0], quadratic[:, 1, 1], quadratic[:, 0, 1]
    slope, scale = b - c, np.maximum(a, b)
    curvature = slope + (a - c)
    if linear is not None:
        slope = slope + (linear[:, 1] - linear[:, 0])
        scale = np.maximum(scale, np.abs(linear).max(axis=1))
    # Equal gradients: every weight is as good; a linear term alone decides by its sign.
    first = 0.5 + 0.5 * np.sign(slope)
    np.divide(slope, curvature, out=first, where=curvature > 1e-14 * scale)
    weights = np.empty((len(first), 2))
    np.clip(first, 0.0, 1.0, out=weights[:, 0])
    np.subtract(1.0, weights[:, 0], out=weights[:, 1])
    return weights


def _by_faces(quadratic: np.ndarray, linear: np.ndarray) -> np.ndarray:
    members, k, _ = quadratic.shape
    inside = _faces(k)
    n = len(inside)
    # Stationarity and the sum of 1 on each face; weights outside of it are held at 0 by a unit row.
    system = np.zeros((members, n, k + 1, k + 1))
    both = inside[:, :, None] & inside[:, None, :]
    system[:, :, :k, :k] = np.where(both, quadratic[:, None], 0.0)
    ridge = 1e-12
    diagonal = np.where(inside, ridge, 1.0)
    system[:, :, np.arange(k), np.arange(k)] += diagonal
    system[:, :, :k, k] = system[:, :, k, :k] = inside
    right = np.zeros((members, n, k + 1))
    right[:, :, :k] = np.where(inside, -linear[:, None], 0.0)
    right[:, :, k] = 1.0
    w = np.linalg.solve(system, right[..., None])[..., :k, 0]
    feasible = (w >= -1e-9).all(axis=-1)
    w = w.clip(0.0)
    w /= w.sum(axis=-1, keepdims=True)
    value = 0.5 * np.einsum("enk,ekl,enl->en", w, quadratic, w) + np.einsum("enk,ek->en", w, linear)
    best = np.where(feasible, value, np.inf).argmin(axis=1)
    return w[np.arange(members), best]


@cache
def _faces(k: int) -> np.ndarray:
    """All faces of the simplex as masks (2^k - 1, k), corners first."""
    masks = np.array(list(itertools.product([False, True], repeat=k)))[1:]
    return masks[np.argsort(masks.sum(axis=1), kind="stable")]
