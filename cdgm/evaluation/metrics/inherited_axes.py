"""Inherited axes: what a private block knows in a source that does not have it.

The counterpart of :mod:`cdgm.evaluation.metrics.asymmetric_axes` for spare private axes.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh

from cdgm.evaluation.metrics.asymmetric_axes import RIDGE
from cdgm.evaluation.metrics.split_half import as_matrix


def inherited_axis(inactive: np.ndarray, active: np.ndarray) -> float:
    r"""Largest share of an axis's variance that a private block keeps in a source without that block.

    A private truth is 0 in the other source, so an encoder that reads it finds nothing there; a shared truth
    that moved or was copied into the private block varies there as it does here:

    .. math:: \max_v \frac{v^\top C_b v}{v^\top (C_a + \rho I) v},

    with C the covariance of the private block's means, and b the source without it. It is 0 if the block
    knows its own truth alone, and near 1 if an axis of another truth is in it; empty axes have 0.

    Parameters
    ----------
    inactive, active
        Posterior means of a block in a source without it, (m, d), and in one with it, (n, d). The model does
        not use the former, but its encoder can be asked.

    Returns
    -------
    float
        NaN where a source has fewer than two rows.
    """
    inactive, active = as_matrix(inactive), as_matrix(active)
    if min(len(inactive), len(active)) < 2:
        return float("nan")
    above, below = (np.cov(rows, rowvar=False).reshape(rows.shape[1], -1) for rows in (inactive, active))
    return float(eigh(above, below + RIDGE * np.eye(len(below)), eigvals_only=True)[-1])
