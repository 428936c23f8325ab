"""How much a block holds of *another* block's truth, by canonical correlations.

The regression counterparts are :func:`cdgm.evaluation.metrics.regression.linear_r2` and
the nonlinear ones there: a fold such as ``sign(w) |t|`` leaks without any linear trace.
"""

from __future__ import annotations

import numpy as np

from cdgm.evaluation.metrics.recovery import held_out_correlations


def leakage_cc(estimate: np.ndarray, other: np.ndarray) -> float:
    """Mean held-out canonical correlation with another block's truth (cross-MCC; 0 is best)."""
    return float(held_out_correlations(estimate, other).mean())


def leakage_cc_max(estimate: np.ndarray, other: np.ndarray) -> float:
    """Largest held-out canonical correlation with another block's truth.

    One leaked direction of ten hardly moves the mean. Picking the largest lifts the score of an innocent
    block above 0: read it beside its permutation null.
    """
    return float(held_out_correlations(estimate, other).max())


def leakage_cc_excess(value: float, null_mean: float) -> float:
    """Leakage above what shuffled rows give, so that blocks of different sizes can be compared."""
    return value - null_mean
