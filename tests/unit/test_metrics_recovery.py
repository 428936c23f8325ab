"""Recovery and leakage agree with scikit-learn, ignore free maps, and survive collapsed dimensions."""

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.cross_decomposition import CCA

from cdgm.evaluation.metrics import nulls
from cdgm.evaluation.metrics.recovery import (
    Moments,
    active_dims,
    alignment,
    held_out_correlations,
    mcc,
    recovery_cc,
)
from cdgm.evaluation.metrics.regression import linear_r2
from cdgm.evaluation.metrics.truth_scores import _linear_nulls


@pytest.fixture
def pair(rng):
    truth = rng.normal(size=(2000, 5))
    return truth, truth @ rng.normal(size=(5, 5)) + 0.5 * rng.normal(size=(2000, 5))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_correlations_agree_with_sklearn(pair):
    truth, estimate = pair
    oracle = CCA(n_components=5, scale=False, max_iter=5000, tol=1e-14).fit(estimate, truth)
    u, v = oracle.transform(estimate, truth)
    expected = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(5)]
    found, _, _ = Moments.of(estimate, truth).directions()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_known_correlation(rng):
    truth = rng.normal(size=(40000, 3))
    estimate = 0.8 * truth + 0.6 * rng.normal(size=truth.shape)
    assert recovery_cc(estimate, truth) == pytest.approx(0.8, abs=0.01)
    assert linear_r2(estimate, truth) == pytest.approx(0.64, abs=0.01)


def test_free_maps_within_a_block_change_nothing(pair, rng):
    truth, estimate = pair
    mixed = estimate @ rng.normal(size=(5, 5)) + 3.0
    turned = truth @ ortho_group.rvs(5, random_state=1)
    for score in (recovery_cc, linear_r2):
        assert score(mixed, turned) == pytest.approx(score(estimate, truth), abs=1e-9)


def test_values_are_signed_and_unbiased_for_noise(rng):
    values = [held_out_correlations(rng.normal(size=(60, 5)), rng.normal(size=(60, 3))) for _ in range(300)]
    assert np.min(values) < -0.2
    assert abs(np.mean(values)) < 0.02  # in-sample, the mean would be about .4
    noise = [mcc(rng.normal(size=(60, 5)), rng.normal(size=(60, 3))) for _ in range(300)]
    assert abs(np.mean(noise)) < 0.02


@pytest.mark.parametrize("fitted", [1, 3, 5, 9])
def test_other_numbers_of_dimensions(fitted, rng):
    truth = rng.normal(size=(4000, 5))
    estimate = np.hstack([truth, rng.normal(size=(4000, 4))])[:, :fitted]
    assert recovery_cc(estimate, truth) == pytest.approx(min(fitted, 5) / 5, abs=0.02)
    assert mcc(estimate, truth) == pytest.approx(min(fitted, 5) / 5, abs=0.02)


@pytest.mark.parametrize("filler", [0.0, 1e-9])
def test_collapsed_dimensions_do_no_harm(filler, rng):
    truth = rng.normal(size=(2000, 3))
    dead = np.full((2000, 4), 0.3) + filler * rng.normal(size=(2000, 4))
    estimate = np.hstack([truth[:, :2], dead])
    assert recovery_cc(estimate, truth) == pytest.approx(2 / 3, abs=0.03)
    assert alignment(estimate, truth) == (pytest.approx(0.0, abs=1e-6), pytest.approx(1.0, abs=0.01))
    assert active_dims(estimate) == 2
    for score in (recovery_cc, mcc, linear_r2):
        assert score(dead, truth) == pytest.approx(0.0, abs=0.06)


def test_alignment_of_an_orthogonal_and_a_stretched_map(rng):
    truth = rng.normal(size=(1000, 4))
    assert alignment(truth @ ortho_group.rvs(4, random_state=0), truth) == pytest.approx((1.0, 1.0))
    assert alignment(truth * [2.0, 1.0, 1.0, 0.25], truth) == pytest.approx((0.25, 2.0))


def test_mcc_asks_for_single_coordinates(rng):
    truth = rng.normal(size=(8000, 2))
    assert mcc(truth[:, ::-1] * [-1.0, 3.0], truth) == pytest.approx(1.0)
    turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2.0)
    assert mcc(truth @ turn, truth) == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert recovery_cc(truth @ turn, truth) == pytest.approx(1.0)


def test_leakage_of_one_direction(rng):
    salient = rng.normal(size=(8000, 3))
    estimate = np.hstack([rng.normal(size=(8000, 4)), salient[:, :1]])
    assert held_out_correlations(estimate, salient).max() == pytest.approx(1.0, abs=1e-6)
    assert recovery_cc(estimate, salient) == pytest.approx(1 / 3, abs=0.03)


def test_null_of_a_perfect_estimate_is_near_zero(rng):
    truth = rng.normal(size=(400, 3))
    mean, high = nulls.permutation_null(recovery_cc, truth, truth, np.random.default_rng(0), draws=200)
    assert abs(mean) < 0.02
    # the mean of three correlations of 200 points each: sd 1 / sqrt(3 * 200)
    assert high == pytest.approx(1.645 / np.sqrt(600), rel=0.35)
    again = nulls.permutation_null(recovery_cc, truth, truth, np.random.default_rng(0), draws=200)
    assert again == (mean, high)


def test_values_that_are_not_finite_or_do_not_pair_are_refused(rng):
    truth = rng.normal(size=(50, 2))
    broken = truth.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        recovery_cc(broken, truth)
    with pytest.raises(ValueError, match="pair up"):
        recovery_cc(truth[:-1], truth)


@pytest.mark.parametrize("filler", [0.0, 0.1])
def test_stacked_truths_score_as_each_by_itself(filler, rng):
    estimate = np.hstack([rng.normal(size=(200, 3)), filler * rng.normal(size=(200, 2))])
    truths = estimate[:, :2] + rng.normal(size=(6, 200, 2))
    for score in (held_out_correlations, linear_r2, mcc):
        np.testing.assert_allclose(score(estimate, truths), [score(estimate, t) for t in truths], atol=1e-12)


def test_stacked_nulls_equal_a_loop_over_shuffled_truths(pair, rng):
    truth, estimate = pair
    orders = [rng.permutation(2000) for _ in range(12)]
    drawn = _linear_nulls(True, estimate, truth, orders)
    assert len(drawn["mcc"]) == 12
    for metric, score in (("recovery_cc", recovery_cc), ("recovery_r2", linear_r2), ("mcc", mcc)):
        np.testing.assert_allclose(drawn[metric], [score(estimate, truth[o]) for o in orders], atol=1e-12)
