"""Asymmetric axes: their size on Gaussian blocks, what leaves it alone, and that a moved axis is found."""

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.stats import ortho_group

from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE, RIDGE, axis_asymmetry

N = 4000


def gaussian(covariance, n=N, seed=0):
    """Rows whose covariance is exactly the one given."""
    x = np.random.default_rng(seed).standard_normal((n, len(covariance)))
    x = np.linalg.qr(x - x.mean(axis=0))[0] * np.sqrt(n - 1)
    return x @ np.linalg.cholesky(covariance).T


def random_covariance(d, seed):
    x = np.random.default_rng(seed).standard_normal((d + 2, d))
    return x.T @ x / d


@pytest.mark.parametrize(("n", "m"), [(400, 400), (400, 900), (900, 400)])
def test_it_is_the_largest_generalised_eigenvalue(n, m):
    above, below = random_covariance(4, 1), random_covariance(4, 2)
    value, _, _ = axis_asymmetry(gaussian(above, n) + 3.0, gaussian(below, m, 1) - 1.0)
    ridge = RIDGE * np.eye(4)
    assert value == pytest.approx(eigh(above + ridge, below + ridge, eigvals_only=True)[-1])


@pytest.mark.parametrize("precision", [(0.9, 0.9), (0.9, 0.5), (0.5, 0.9), (1.0, 0.0)])
def test_axes_of_unequal_precision_have_the_ratio_of_their_variances(precision):
    """The closed form of the module: means of a standard normal latent vary by 1 - s."""
    above, below = (np.diag([p, 0.95, 0.95]) for p in precision)
    expected = max(1.0, (precision[0] + RIDGE) / (precision[1] + RIDGE))
    assert axis_asymmetry(gaussian(above + 1e-12), gaussian(below + 1e-12 * np.eye(3)))[0] == pytest.approx(
        expected, rel=1e-6
    )


def test_an_orthogonal_map_of_the_block_changes_nothing():
    x, y = gaussian(random_covariance(5, 3)), gaussian(random_covariance(5, 4), seed=1)
    q = ortho_group.rvs(5, random_state=0)
    plain, turned = axis_asymmetry(x, y, 7, 20), axis_asymmetry(x @ q, y @ q + 2.0, 7, 20)
    assert turned[0] == pytest.approx(plain[0])
    assert turned[1] == plain[1]
    assert axis_asymmetry(x @ q, y @ q, 7, 20)[2] == pytest.approx(plain[2])


def test_equal_laws_have_1_and_unrelated_draws_of_one_law_are_within_the_null():
    x = gaussian(random_covariance(4, 5))
    assert axis_asymmetry(x, x[::-1])[0] == pytest.approx(1.0)
    rng = np.random.default_rng(2)
    p = [axis_asymmetry(*rng.standard_normal((2, 200, 4)), rng, 39)[1] for _ in range(200)]
    # Uniform on 1/40, ..., 1: 10 of 200 are expected at or below .05, with a standard deviation of 3.
    assert 2 <= np.sum(np.array(p) <= 0.05) <= 20
    assert abs(np.mean(p) - 0.51) < 0.07


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_moved_axis_is_found_from_the_side_where_it_is_alive(noise):
    rng = np.random.default_rng(3)
    target, background = 0.95 * rng.standard_normal((N, 6)), 0.95 * rng.standard_normal((N, 6))
    before = axis_asymmetry(target, background, rng, 50)
    background[:, 5] *= noise
    turn = ortho_group.rvs(6, random_state=1)
    moved, p, (mean, high) = axis_asymmetry(target @ turn, background @ turn, rng, 50)
    assert before[0] < 1.3
    assert moved > ALIVE_IN_ONE
    assert moved == pytest.approx((0.9 + RIDGE) / (0.9 * noise**2 + RIDGE), rel=0.1)
    assert p == pytest.approx(1 / 51)
    assert 1 < mean < high < 1.5
    # From the other side nothing is alive.
    assert axis_asymmetry(background @ turn, target @ turn)[0] < 1.3


def test_empty_blocks_are_equal_and_too_few_rows_say_nothing():
    nothing = np.zeros((10, 3))
    assert axis_asymmetry(nothing, nothing, 0, 9)[:2] == pytest.approx((1.0, 1.0))
    value, p, null = axis_asymmetry(nothing, nothing[:1], 0, 9)
    assert np.isnan([value, p, *null]).all()


def test_nearly_singular_blocks_have_a_ratio():
    huge = np.outer(np.arange(10.0), [1e9, 1e9, 1.0])
    assert np.isfinite(axis_asymmetry(huge, huge[::-1] * 2, 0, 9)[0])
