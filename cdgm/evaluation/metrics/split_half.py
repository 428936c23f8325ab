"""The split that every held-out score shares: fitted on even rows, scored on odd ones."""

from __future__ import annotations

import numpy as np


def halves(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit on and rows to score on.

    Even and odd rows, not a random split: all members and all truths of a study are then compared on the
    same points, and rows that come sorted (cells by type, say) still land in both halves.

    Parameters
    ----------
    n
        Number of rows, at least 4.

    Returns
    -------
    tuple of ndarray
        Indices of the fit half and of the score half.
    """
    if n < 4:
        raise ValueError(f"a held-out score needs 4 rows or more, got {n}")
    return np.arange(0, n, 2), np.arange(1, n, 2)


def as_matrix(values: np.ndarray, stacked: bool = False) -> np.ndarray:
    """Float64 copy of shape (n, d); a vector becomes one column. If ``stacked``, leading axes may precede.

    Raises
    ------
    ValueError
        If there are more than two axes or a value isn't finite: a score of a diverged member would be
        meaningless, and numpy would pass the NaN on in silence.
    """
    matrix = np.asarray(values, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim < 2 or (matrix.ndim > 2 and not stacked):
        raise ValueError(f"expected an array of shape (n, d), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("scores need finite values: leave members that diverged out")
    return matrix


def paired(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as matrices of equally many rows; ``y`` may be a stack of them, (..., n, d).

    Raises
    ------
    ValueError
        If the numbers of rows differ.
    """
    x, y = as_matrix(x), as_matrix(y, stacked=True)
    if len(x) != y.shape[-2]:
        raise ValueError(f"rows must pair up, got {len(x)} and {y.shape[-2]}")
    return x, y
