"""What scores of a fit cost against plain ways to the same: ratios in one run, by processor time.

The kernel regression of one block on 2,000 points against scikit-learn's ``KernelRidge`` over the same grid
of widths and ridges, and the permutation test of HSIC against one that shuffles a kernel for each draw.

Run with ``make bench``.
"""

from __future__ import annotations

import os

# Before the libraries are loaded, which look at these once.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import time
from collections.abc import Callable

import numpy as np
from sklearn.kernel_ridge import KernelRidge

from cdgm.evaluation.metrics.independence import TEST_POINTS, hsic_test, rbf_kernel, spread_rows
from cdgm.evaluation.metrics.regression import CHOICE_POINTS, RIDGES, WIDTHS, KernelRegression
from cdgm.evaluation.metrics.split_half import halves

POINTS, DIMS, TARGETS, REPEATS = 2_000, 5, 4, 5


def kernel(x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray:
    """The kernel of one block."""
    squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T
    return 1 + x @ y.T + np.exp(-squares / (2 * width**2))


def by_sklearn(x: np.ndarray, targets: list[np.ndarray]) -> None:
    """Choose width and ridge of each target and predict with them, as the metric does."""
    x = x / np.sqrt(x.var(axis=0).sum())
    fit, score = halves(len(x))
    some = fit[:CHOICE_POINTS]
    for target in targets:
        best = (-np.inf, WIDTHS[0], RIDGES[0])
        for width in WIDTHS:
            for ridge in RIDGES:
                model = KernelRidge(alpha=ridge, kernel="precomputed")
                model.fit(kernel(x[some[::2]], x[some[::2]], width), target[some[::2]])
                found = model.predict(kernel(x[some[1::2]], x[some[::2]], width))
                best = max(best, (-float(np.square(found - target[some[1::2]]).sum()), width, ridge))
        _, width, ridge = best
        model = KernelRidge(alpha=ridge, kernel="precomputed").fit(kernel(x[fit], x[fit], width), target[fit])
        model.predict(kernel(x[score], x[fit], width))


def by_shuffling(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, draws: int) -> None:
    """HSIC's permutation test, a copy of a kernel for each draw."""
    rows = spread_rows(len(x), TEST_POINTS)
    k, m = rbf_kernel(x[rows]), rbf_kernel(y[rows])
    for _ in range(draws):
        order = rng.permutation(len(rows))
        np.vdot(k, m[np.ix_(order, order)])


def seconds(work: Callable[[], object]) -> float:
    """Least processor time of some runs."""
    found = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(POINTS, DIMS))
    targets = [np.sin(x + i) + 0.5 * rng.normal(size=x.shape) for i in range(TARGETS)]
    other = rng.normal(size=x.shape)
    pairs = {
        f"kernel regression, {TARGETS} truths": (
            lambda: KernelRegression([x]).r2(targets),
            lambda: by_sklearn(x, targets),
            "scikit-learn's KernelRidge",
        ),
        "HSIC, 199 permutations or more": (
            lambda: hsic_test(x, other, rng),
            lambda: by_shuffling(x, other, rng, 199),
            "a shuffled kernel a draw",
        ),
    }
    for name, (ours, theirs, peer) in pairs.items():
        mine, its = seconds(ours), seconds(theirs)
        print(f"{name}: {1000 * mine:.1f} ms, {its / mine:.1f} times as fast as {peer} ({1000 * its:.1f} ms)")


if __name__ == "__main__":
    main()
