"""The counterexamples of docs/theory.md: equal laws from other blocks, and what each assumption excludes."""

import importlib

import numpy as np
import pytest
from scipy import integrate, stats

from cdgm.evaluation.metrics.independence import hsic_test
from cdgm.evaluation.metrics.regression import entanglement_r2, linear_r2, nonlinear_r2
from docs.figures import witnesses
from tests.guide import DOCS
from tests.unit.theory_helpers import mixing, p_equal_laws

ROWS = 300


def normal(rng, n, *dims):
    return [rng.standard_normal((n, d)) for d in dims]


# ---------------------------------------------------------------- continuity


def test_the_quantised_twist_keeps_both_laws_and_mixes_blocks():
    rng = np.random.default_rng(0)
    f = mixing(4 + 3)
    z, t = normal(rng, ROWS, 4, 3)
    other_z, other_t = normal(rng, ROWS, 4, 3)
    twisted = witnesses.quantised_twist(other_z, other_t)
    assert p_equal_laws(np.hstack([z, t]), np.hstack([twisted, other_t]), rng) > 0.05
    assert p_equal_laws(f(np.hstack([z, t])), f(np.hstack([twisted, other_t])), rng) > 0.05
    # The same test sees a map that turns z by its own size, and so doesn't keep the law.
    turned = np.where(other_z[:, :1] > 0, witnesses.turned(other_z), other_z)
    assert p_equal_laws(f(np.hstack([z, t])), f(np.hstack([turned, other_t])), rng) < 0.01
    # The background source is as it was.
    np.testing.assert_array_equal(witnesses.quantised_twist(z, 0 * t), z)
    # One to one: what is turned follows from t, which is kept.
    back = np.where(
        np.abs(t).max(1, keepdims=True) > 1, -witnesses.turned(witnesses.quantised_twist(z, t)), z
    )
    np.testing.assert_array_equal(back, z)


def test_the_quantised_twist_is_seen_by_both_blocks_together_alone():
    rng = np.random.default_rng(1)
    z, t = normal(rng, 2000, 2, 1)
    twisted = witnesses.quantised_twist(z, t)
    share = 2 * stats.norm.sf(1)
    # E[z' | z] = ((1 - share) I + share R) z.
    expected = (1 - share) ** 2 + share**2
    assert linear_r2(z, twisted) == pytest.approx(expected, abs=0.05)
    assert abs(nonlinear_r2([twisted], t)) < 0.02
    assert hsic_test(twisted, t, rng, draws=99)[1] > 0.05
    assert entanglement_r2(z, [t], twisted) > 0.3


def test_the_quantised_twist_jumps():
    f = mixing(4 + 3)
    z = np.full((2, 4), 0.7)
    t = np.array([[1 - 1e-9, 0, 0], [1 + 1e-9, 0, 0]])
    plain = f(np.hstack([z, t]))
    # T^-1 is T with three quarter turns in the place of one.
    inverse = np.stack([z[0], -witnesses.turned(z)[1]])
    jumped = f(np.hstack([inverse, t]))
    assert np.abs(plain[1] - plain[0]).max() < 1e-8
    assert np.abs(jumped[1] - jumped[0]).max() > 0.1


def test_without_continuity_the_target_says_nothing_of_the_null_set():
    """The swap of coordinates is linear on each piece, keeps both laws, and confuses the blocks."""
    rng = np.random.default_rng(2)
    z, t = normal(rng, 1000, 3, 2)
    swapped_z, swapped_t = witnesses.swap(z, t)
    again = witnesses.swap(swapped_z, swapped_t)
    np.testing.assert_array_equal(again[0], z)
    np.testing.assert_array_equal(again[1], t)
    np.testing.assert_array_equal(witnesses.swap(z, 0 * t)[0], z)
    np.testing.assert_array_equal(witnesses.swap(z, 0 * t)[1], 0 * t)
    assert linear_r2(swapped_z, t[:, :1]) > 0.999
    assert linear_r2(swapped_z, z[:, :1]) < 0.02


# ---------------------------------------------------------------- superfluous dimensions


def test_the_fold_is_normal_and_holds_most_of_the_salient_truth_in_the_background():
    rng = np.random.default_rng(3)
    w, t = normal(rng, 20_000, 1, 1)
    folded = witnesses.folded(w, t)
    assert stats.kstest(folded[:, 0], "norm").pvalue > 0.05
    assert (witnesses.folded(w, 0 * t) == 0).all()
    # E[w t] = 8 / (3 pi), in polar coordinates.
    assert np.corrcoef(w[:, 0], folded[:, 0])[0, 1] ** 2 == pytest.approx((8 / (3 * np.pi)) ** 2, abs=0.01)

    def mean(w):
        return integrate.quad(lambda s: 4 * w * s / np.hypot(w, s) * stats.norm.pdf(s), 0, np.inf)[0]

    best = 2 * integrate.quad(lambda w: mean(w) ** 2 * stats.norm.pdf(w), 0, 8)[0]
    assert best == pytest.approx(0.7814, abs=0.0005)
    assert nonlinear_r2([w[:3000]], folded[:3000]) == pytest.approx(best, abs=0.03)
    # Continuous: |difference| is at most 2 |step| in w, also through 0.
    steps = np.linspace(-1, 1, 2001)[:, None]
    for height in (0.0, 1e-4, 0.3):
        along = witnesses.folded(steps, np.full_like(steps, height))
        assert np.abs(np.diff(along, axis=0)).max() <= 2.0001 * 0.001


def test_the_error_of_the_gate_goes_as_the_width_to_the_number_of_salient_dimensions():
    for d in (0.05, 0.5, 2.0):
        assert witnesses.gate_error(d, 1, 1) == pytest.approx(2 / np.pi * np.arctan(d), rel=1e-6)
    widths = np.array([0.01, 0.02])
    for salient in (1, 2, 3):
        for spare in (1, 3):
            errors = [witnesses.gate_error(d, spare, salient) for d in widths]
            slope = np.diff(np.log(errors))[0] / np.log(2)
            assert slope == pytest.approx(salient, abs=0.01)
            # E max |w_j|^salient, whose distribution function is a power of that of one |w_j|.
            m = np.linspace(0, 10, 10_001)
            above = 1 - (2 * stats.norm.cdf(m) - 1) ** spare
            moment = integrate.trapezoid(salient * m ** (salient - 1) * above, m) + 1e-3
            assert (errors <= (widths * np.sqrt(2 / np.pi)) ** salient * moment).all()
    rng = np.random.default_rng(4)
    w, t = normal(rng, 40_000, 3, 2)
    wrong = (witnesses.gate(w, t, 0.3) != w).any(axis=1)
    expected = witnesses.gate_error(0.3, 3, 2)
    assert wrong.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / len(w)))


def test_the_gate_empties_the_salient_block_at_nearly_equal_laws():
    """Truth 2 + 3; the model has 2 + 3 background dimensions and one salient one."""
    rng = np.random.default_rng(5)
    f = mixing(2 + 3)
    z, t = normal(rng, ROWS, 2, 3)
    other_z, w, other_t = normal(rng, ROWS, 2, 3, 1)
    truth = f(np.hstack([z, t]))

    def target(d):
        return f(np.hstack([other_z, witnesses.gate(w, other_t, d)]))

    assert p_equal_laws(truth, target(0.02), rng) > 0.05
    assert p_equal_laws(truth, target(2.0), rng) < 0.01
    np.testing.assert_array_equal(witnesses.gate(w, 0 * other_t, 0.02), 0 * w)
    w, other_t = normal(rng, 3000, 3, 1)
    salient = witnesses.gate(w, other_t, 0.02)
    assert linear_r2(w, salient) > 0.95
    assert nonlinear_r2([other_t], salient) < 0.02


def test_the_mirrored_gate_moves_the_background_truth_of_the_target_into_the_salient_block():
    rng = np.random.default_rng(6)
    z, v, t = normal(rng, 3000, 2, 2, 1)
    # In the background source it is z, whatever v would be.
    np.testing.assert_array_equal(witnesses.mirrored_gate(z, 0 * v, 0 * t, 0.05), z)
    moved = witnesses.mirrored_gate(z, v, t, 0.05)
    assert linear_r2(v, moved) > 0.99
    assert abs(linear_r2(z, moved)) < 0.02
    assert p_equal_laws(moved[:ROWS], rng.standard_normal((ROWS, 2)), rng) > 0.05
    # Continuous: along a line through the point where the salient block is empty.
    steps = np.linspace(-1, 1, 4001)[:, None]
    ones = np.ones_like(steps)
    along = witnesses.mirrored_gate(0.8 * ones, steps * ones, 0.3 * steps, 0.05)
    assert np.abs(np.diff(along, axis=0)).max() < 0.03


# ---------------------------------------------------------------- figures


@pytest.mark.slow
def test_the_figures_of_the_page_are_drawn(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "figures")
    explained = importlib.import_module("witnesses_explained")
    assert len(explained.quantised_twist().axes) == 6
    assert len(explained.gate().axes) == 4
