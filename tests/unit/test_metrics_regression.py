"""Linear and nonlinear R2 agree with scikit-learn and with the closed forms of the twist."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from cdgm.evaluation.metrics import twist_bounds
from cdgm.evaluation.metrics.recovery import recovery_cc
from cdgm.evaluation.metrics.regression import KernelRegression, entanglement_r2, linear_r2, nonlinear_r2


def twist(z, t, c):
    """Turn pairs of columns of z by c |t| (written here anew: the simulator has its own)."""
    angle = c * np.linalg.norm(t, axis=1)
    turned = z.copy()
    for i in range(0, z.shape[1] - 1, 2):
        pair = (z[:, i] + 1j * z[:, i + 1]) * np.exp(1j * angle)
        turned[:, i], turned[:, i + 1] = pair.real, pair.imag
    return turned


@pytest.fixture(scope="module")
def latents():
    rng = np.random.default_rng(3)
    return rng.normal(size=(4000, 5)), rng.normal(size=(4000, 3))


def test_linear_r2_agrees_with_sklearn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = x @ rng.normal(size=(4, 3)) * [1.0, 5.0, 0.1] + rng.normal(size=(300, 3))
    model = LinearRegression().fit(x[::2], y[::2])
    expected = r2_score(y[1::2], model.predict(x[1::2]), multioutput="variance_weighted")
    assert linear_r2(x, y) == pytest.approx(expected, abs=1e-10)


def test_a_fold_leaks_without_a_linear_trace(latents):
    z, t = latents
    folded = np.sign(z[:, :3]) * np.abs(t)
    assert linear_r2(folded, np.abs(t)) < 0.01
    assert nonlinear_r2([folded], np.abs(t)) > 0.95


def test_the_kernel_keeps_up_with_least_squares_on_linear_data(latents):
    z, _ = latents
    noisy = z + 0.5 * np.random.default_rng(1).normal(size=z.shape)
    assert nonlinear_r2([noisy], z) == pytest.approx(linear_r2(noisy, z), abs=0.01)
    assert nonlinear_r2([noisy], z) == pytest.approx(0.8, abs=0.02)


def test_independent_and_collapsed_inputs_explain_nothing(latents):
    z, t = latents
    assert abs(nonlinear_r2([t], z)) < 0.015
    assert abs(nonlinear_r2([np.zeros_like(t)], z)) < 0.005
    assert abs(nonlinear_r2([z, np.zeros_like(t)], z) - nonlinear_r2([z], z)) < 0.005
    assert nonlinear_r2([z], np.ones_like(z)) == 0.0


@pytest.mark.parametrize(("angle", "least"), [(0.5, 0.97), (1.0, 0.95), (2.0, 0.8)])
def test_the_twist_shows_only_when_both_blocks_are_known(latents, angle, least):
    z, t = latents
    target = twist(z, t, angle)
    alone = twist_bounds.twisted_r2(angle)
    assert linear_r2(z, target) == pytest.approx(alone, abs=0.03)
    assert nonlinear_r2([z], target) == pytest.approx(alone, abs=0.03)
    assert nonlinear_r2([z, t], target) > least
    assert abs(nonlinear_r2([t], target)) < 0.015
    assert abs(nonlinear_r2([target], t)) < 0.015
    assert entanglement_r2(z, [t], target) > least - alone - 0.03
    assert recovery_cc(z, target) == pytest.approx(twist_bounds.twisted_recovery(angle), abs=0.03)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
@pytest.mark.parametrize("angle", [0.7, 2.0])
def test_twist_correlation_against_monte_carlo(angle, dim):
    norms = np.linalg.norm(np.random.default_rng(dim).normal(size=(200_000, dim)), axis=1)
    assert twist_bounds.twist_correlation(angle, dim) == pytest.approx(
        abs(np.exp(1j * angle * norms).mean()), abs=0.006
    )


def test_an_odd_coordinate_keeps_one():
    assert twist_bounds.twisted_recovery(4.0, 5) == pytest.approx(
        (4 * twist_bounds.twist_correlation(4.0) + 1) / 5
    )
    assert twist_bounds.twisted_recovery(4.0, 4) == pytest.approx(twist_bounds.twist_correlation(4.0))
    assert twist_bounds.twisted_recovery(0.0, 5) == twist_bounds.twisted_r2(0.0, 5) == 1.0


@pytest.mark.parametrize("blocks", [1, 2])
def test_scores_agree_with_kernel_ridge_of_sklearn(blocks):
    rng = np.random.default_rng(8)
    inputs = [rng.normal(size=(400, d)) for d in (3, 2)[:blocks]]
    target = np.hstack(inputs)[:, :2] ** 2 + 0.3 * rng.normal(size=(400, 2))
    width, ridge = 0.8, 1.0
    kernel = np.ones((400, 400))
    for block in inputs:
        u = (block - block[::2].mean(axis=0)) / np.sqrt(block[::2].var(axis=0).sum())
        squares = np.square(u[:, None] - u).sum(axis=-1)
        kernel *= 1 + u @ u.T + np.exp(-squares / (2 * width**2))
    centre = target[::2].mean(axis=0)
    oracle = KernelRidge(alpha=ridge, kernel="precomputed").fit(kernel[::2, ::2], target[::2] - centre)
    fit, score = np.arange(0, 400, 2), np.arange(1, 400, 2)
    # Each ridge has columns of its own: the second one has the first column of the target only.
    columns = {10.0: np.array([0, 1]), ridge: np.array([0])}
    found = KernelRegression(inputs)._errors(fit, score, target, width, columns)
    predicted = oracle.predict(kernel[1::2, ::2]) + centre
    assert [len(errors) for errors in found] == [2, 1]
    assert found[1][0] == pytest.approx(np.square(target[1::2, 0] - predicted[:, 0]).sum(), rel=1e-4)


def test_targets_scored_together_have_the_scores_that_they_have_alone(latents):
    z, t = latents
    targets = [z[:, :2], np.sin(3 * z), t, np.abs(z[:, 2:3]), np.ones_like(z)]
    regression = KernelRegression([z + 0.3 * t[:, :1]])
    together = regression.r2(targets)
    assert together == pytest.approx([regression.r2([target])[0] for target in targets], abs=1e-5)
    assert together[-1] == 0.0
    assert together[0] > 0.8 > together[1] > 0.0
    assert together[2] < 0.2
