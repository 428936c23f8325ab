r"""Held-out share of variance that one or several blocks explain of a truth, linearly and nonlinearly.

The nonlinear score is exact kernel ridge regression with a kernel that multiplies over blocks,

.. math:: K(u, v) = \prod_b \bigl(1 + \langle u_b, v_b\rangle / s_b + e^{-\|u_b - v_b\|^2/(2 w^2 s_b)}\bigr),

where :math:`s_b` is the total variance of block b. Multiplied out it holds each block alone and every
interaction ("linear in one block with coefficients that vary smoothly with another" among them), the ANOVA
construction of Wahba (1990, ch. 10). An RBF on the joined blocks must fill all 8 dimensions with points;
this one needs only to fill the block that does the turning: on 4,000 exact latents (5 + 3) twisted by
c = 2 it explains .87, a joint RBF .7, a net of 2 x 64 .76 at ten times the cost, the single block .33.

Scaling by the total variance keeps the score invariant under rotations within a block and deaf to collapsed
dimensions. Width w and ridge come from a fixed grid by validation inside the fit half, per target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from cdgm.evaluation.metrics.recovery import SMALLEST_VARIANCE, Halves
from cdgm.evaluation.metrics.split_half import as_matrix, halves, paired

WIDTHS = (0.4, 0.8)
RIDGES = (0.1, 1.0, 10.0, 100.0)
#: Points used for the fit with one block, and with several, whose interactions need more.
POINTS_ALONE = 1000
POINTS_TOGETHER = 1600
#: Of these, points for choosing width and ridge: half to fit, half to validate.
CHOICE_POINTS = 1000
#: Rows of a kernel that are formed at once.
CACHED_ROWS = 128


def linear_r2(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Held-out R2 (...) of least squares with intercept.

    Parameters
    ----------
    estimate, truth
        Arrays of shape (n, p) and (..., n, q); collapsed columns of ``estimate`` do no harm.
    """
    return Halves.of(estimate, truth).r2()


class KernelRegression:
    """Nonlinear R2 of many targets on the same inputs; factorisations are shared.

    Parameters
    ----------
    blocks
        Inputs, one array (n, d_b) a block; the kernel multiplies over them.

    Notes
    -----
    Deterministic. Float32: the ridge is at least .1, so rounding stays far below the scores' third digit.
    """

    def __init__(self, blocks: Sequence[np.ndarray]) -> None:
        inputs = [paired(block, blocks[0])[0] for block in blocks]
        self._rows = len(inputs[0])
        fit, self._score = halves(self._rows)
        self._fit = fit[: POINTS_ALONE if len(inputs) == 1 else POINTS_TOGETHER]
        self._blocks = [self._scaled(block) for block in inputs]

    def _scaled(self, block: np.ndarray) -> np.ndarray:
        """Centre and divide by the root of the total variance, both from the fit half."""
        train = block[self._fit]
        total = float(train.var(axis=0).sum())
        if total <= SMALLEST_VARIANCE:
            return np.zeros(block.shape, dtype=np.float32)
        return ((block - train.mean(axis=0)) / np.sqrt(total)).astype(np.float32)

    def _kernel(
        self, rows: np.ndarray, columns: np.ndarray, width: float, upper: bool = False
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """The kernel (rows, columns), so many rows at a time that they stay in the cache.

        Where the rows are the columns, the part from the rows' own columns on is enough (``upper``).
        """
        factors = []
        for block in self._blocks:
            # A squared distance is a matrix product too: <(u, -u^2/2, 1), (v, 1, -v^2/2)>.
            half = -0.5 * np.square(block).sum(axis=1, keepdims=True)
            one = np.ones_like(half)
            near = np.hstack([block, half, one])[rows] / np.float32(width**2)
            factors.append((near, np.hstack([block, one])[rows], np.hstack([block, one, half])[columns].T))
        for start in range(0, len(rows), CACHED_ROWS):
            some = slice(start, start + CACHED_ROWS)
            first = start if upper else 0
            kernel: np.ndarray | None = None
            for near, linear, right in factors:
                factor = near[some] @ right[:, first:]
                np.exp(factor, out=factor)
                factor += linear[some] @ right[:-1, first:]
                kernel = factor if kernel is None else np.multiply(kernel, factor, out=factor)
            assert kernel is not None  # there is at least one block
            yield some, kernel

    def _errors(
        self,
        fit: np.ndarray,
        score: np.ndarray,
        values: np.ndarray,
        width: float,
        columns: Mapping[float, np.ndarray],
    ) -> list[np.ndarray]:
        """Squared errors for each ridge of its columns of ``values``, fitted and summed on the given rows."""
        means = values[fit].mean(axis=0)
        centred = (values[fit] - means).astype(np.float32)
        gram = np.empty((len(fit), len(fit)), dtype=np.float32)
        for some, kernel in self._kernel(fit, fit, width, upper=True):
            gram[some, some.start :] = kernel
        weights = np.hstack([_solve(gram, ridge, centred[:, own]) for ridge, own in columns.items()])
        predictions = np.concatenate([kernel @ weights for _, kernel in self._kernel(score, fit, width)])
        predicted = np.concatenate(list(columns.values()))
        errors = np.square(values[score][:, predicted] - means[predicted] - predictions).sum(axis=0)
        return np.split(errors, np.cumsum([len(own) for own in columns.values()])[:-1])

    def _choose(self, values: np.ndarray, target: np.ndarray) -> list[tuple[float, float]]:
        """Width and ridge of each target, by validation on part of the fit half."""
        # Fit and validation points alternate, for the reason that halves() gives.
        some = self._fit[:CHOICE_POINTS]
        # From stiff to pliable, so that a tie keeps the stiffer one.
        grid = [(width, ridge) for width in WIDTHS[::-1] for ridge in RIDGES[::-1]]
        columns = dict.fromkeys(RIDGES[::-1], np.arange(len(target)))
        errors = [
            np.bincount(target, of_columns)
            for width in WIDTHS[::-1]
            for of_columns in self._errors(some[::2], some[1::2], values, width, columns)
        ]
        return [grid[best] for best in np.argmin(errors, axis=0)]

    def r2(self, targets: Sequence[np.ndarray]) -> list[float]:
        """Held-out R2 of each target, variance-weighted over its columns; 0 for a constant one.

        A prediction that is worse than the mean of the scored points scores below 0.

        Parameters
        ----------
        targets
            Arrays of shape (n, q_j), each scored by itself with its own width and ridge.
        """
        matrices = [as_matrix(target) for target in targets]
        if any(len(matrix) != self._rows for matrix in matrices):
            raise ValueError(f"targets must have {self._rows} rows, got {[len(m) for m in matrices]}")
        values = np.hstack(matrices)
        # Target of each column.
        target = np.repeat(np.arange(len(matrices)), [matrix.shape[1] for matrix in matrices])
        choices = self._choose(values, target)
        errors = np.zeros(len(target))
        for width in sorted({width for width, _ in choices}):
            ridges = sorted({ridge for of, ridge in choices if of == width})
            chosen = {
                ridge: np.flatnonzero([choices[of] == (width, ridge) for of in target]) for ridge in ridges
            }
            found = self._errors(self._fit, self._score, values, width, chosen)
            for columns, of_columns in zip(chosen.values(), found, strict=True):
                errors[columns] = of_columns
        scored = values[self._score]
        totals = np.bincount(target, np.square(scored - scored.mean(axis=0)).sum(axis=0))
        varies = totals > SMALLEST_VARIANCE * len(scored) * np.bincount(target)
        return np.where(varies, 1 - np.bincount(target, errors) / np.where(varies, totals, 1), 0.0).tolist()


def _solve(gram: np.ndarray, ridge: float, values: np.ndarray) -> np.ndarray:
    """Weights of a ridge regression from the upper half of its kernel."""
    system = gram.copy()
    system[np.diag_indices_from(system)] += np.float32(ridge)
    # The transpose has the order that LAPACK works on in place; it reads the lower half of it alone.
    factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
    return cho_solve(factor, values, check_finite=False)


def nonlinear_r2(blocks: Sequence[np.ndarray], truth: np.ndarray) -> float:
    """Held-out R2 of kernel ridge regression of one truth on one or several blocks."""
    return KernelRegression(blocks).r2([truth])[0]


def entanglement_r2(block: np.ndarray, others: Sequence[np.ndarray], truth: np.ndarray) -> float:
    """R2 that the other blocks add to a block's own: R2(z | z-hat, t-hat) - R2(z | z-hat).

    0 for a fit that keeps the blocks apart, also for one that recovers little. The twist
    ``z' = R(c|t|) z`` is independent of t, so that no score of pairs sees it; this one does.

    Parameters
    ----------
    block
        Posterior means of the truth's own block, (n, p).
    others
        Posterior means of the other active blocks.
    truth
        (n, q).
    """
    return nonlinear_r2([block, *others], truth) - nonlinear_r2([block], truth)
