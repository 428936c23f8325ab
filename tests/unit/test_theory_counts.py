"""What counts determine: centred log-rates, moments up to the total, and no more from given totals."""

import itertools

import numpy as np
import pytest
import torch
from scipy import special

from cdgm.models.likelihoods import LIKELIHOODS
from tests.unit.theory_helpers import mixing

POISSON = {"kind": "poisson", "link": "softmax"}
NEGATIVE_BINOMIAL = {"kind": "negative_binomial", "link": "softmax", "dispersion": 3.0}


@pytest.mark.parametrize("options", [POISSON, NEGATIVE_BINOMIAL], ids=lambda o: o["kind"])
def test_a_constant_for_each_row_changes_nothing_and_centred_log_rates_are_linear(options):
    likelihood = LIKELIHOODS.parse(options)
    rng = np.random.default_rng(0)
    f = torch.from_numpy(rng.standard_normal((1, 6, 5)))
    shift = torch.from_numpy(rng.standard_normal((1, 6, 1)))
    exposure = torch.full((1, 6, 1), 9.0, dtype=f.dtype)
    x = torch.from_numpy(rng.poisson(2.0, (1, 6, 5)).astype(float))
    parameters = {"log_dispersion": torch.full((1, 1, 5), np.log(3.0), dtype=f.dtype)}
    torch.testing.assert_close(
        likelihood.log_prob(x, f + shift, exposure, parameters),
        likelihood.log_prob(x, f, exposure, parameters),
    )
    log_rate = likelihood.log_rate(f, exposure)
    assert log_rate.exp().sum(-1).numpy() == pytest.approx(9.0)
    torch.testing.assert_close(log_rate - log_rate.mean(-1, keepdim=True), f - f.mean(-1, keepdim=True))


def test_centred_outputs_stay_piecewise_affine_and_injective():
    """On a segment within a piece second differences are 0; the uncentred log-softmax is curved there."""
    f = mixing(3)
    rng = np.random.default_rng(1)
    start, step = rng.standard_normal((40, 1, 3)), 1e-3 * rng.standard_normal((40, 1, 3))
    segment = f((start + step * np.arange(3)[:, None]).reshape(-1, 3)).reshape(40, 3, -1)
    curved = segment - special.logsumexp(segment, axis=-1, keepdims=True)

    def bend(values):
        return np.abs(np.diff(values, n=2, axis=1)).max(axis=(1, 2))

    within = bend(segment) < 1e-12
    assert within.mean() > 0.9
    assert bend(segment - segment.mean(-1, keepdims=True))[within].max() < 1e-12
    assert np.median(bend(curved)[within]) > 1e-9
    u = rng.standard_normal((30, 3))
    ends = [f(u + sign * 1e-6 * e) for e in np.eye(3) for sign in (1, -1)]
    jacobian = np.stack([(a - b) / 2e-6 for a, b in zip(ends[::2], ends[1::2], strict=True)], axis=-1)
    centred = jacobian - jacobian.mean(axis=1, keepdims=True)
    assert np.linalg.svd(centred, compute_uv=False)[:, -1].min() > 0.05


def mixture(points):
    """States of two features: shares and weights of Gauss' rule for the uniform distribution on [0, 1]."""
    nodes, weights = special.roots_sh_legendre(points)
    return np.stack([nodes, 1 - nodes], axis=1), weights / weights.sum()


def probability(states, weights, x, exposure):
    """P(x), or P(x | total) if the total is the exposure, of a mixture of states by the package's Poisson."""
    likelihood = LIKELIHOODS.parse(POISSON)
    rows = torch.tensor(x, dtype=torch.float64).expand(1, len(states), 2)
    total = float(sum(x))
    library = torch.full((1, len(states), 1), total if exposure is None else exposure, dtype=torch.float64)
    logs = likelihood.log_prob(
        rows, torch.from_numpy(np.log(states))[None], library, {}
    ) + likelihood.constant(rows)
    if exposure is None:
        # The probability of a Poisson total at its own mean is no function of the state.
        logs = logs - (total * np.log(total) - total - special.gammaln(total + 1))
    return float(weights @ logs.exp()[0].numpy())


def test_totals_up_to_n_give_moments_up_to_degree_n_alone():
    """Rules of 2 and 3 points agree in moments up to degree 3, and not in the fourth."""
    two, three = mixture(2), mixture(3)
    for total in range(1, 7):
        first, second = (
            [probability(*m, (k, total - k), None) for k in range(total + 1)] for m in (two, three)
        )
        assert sum(first) == pytest.approx(1)
        difference = np.abs(np.subtract(first, second)).sum()
        assert difference < 1e-12 if total <= 3 else difference > 0.01
        # A known exposure says the same of a row with this total; but no total is then out of reach.
        first, second = (
            [probability(*m, (k, total - k), 5.0) for k in range(total + 1)] for m in (two, three)
        )
        assert (np.abs(np.subtract(first, second)).sum() > 1e-3) == (total > 3)


def test_binary_features_give_finitely_many_moments():
    """Features of one probability, which two distributions share in moments up to degree 3."""
    likelihood = LIKELIHOODS.parse({"kind": "bernoulli"})
    two, three = mixture(2), mixture(3)

    def law(states, weights, features):
        x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=features)), dtype=torch.float64)
        logits = torch.from_numpy(special.logit(states[:, :1])).expand(-1, features)[:, None]
        library = torch.ones(1, 1, 1, dtype=torch.float64)
        rows = x.expand(len(states), *x.shape)
        probabilities = likelihood.log_prob(rows, logits.expand_as(rows), library, {}).exp()
        return weights @ probabilities.numpy()

    for features in range(1, 6):
        first, second = law(*two, features), law(*three, features)
        assert first.sum() == pytest.approx(1)
        difference = np.abs(first - second).sum()
        assert difference < 1e-12 if features <= 3 else difference > 0.005


def test_the_noise_of_negative_binomial_log_rates_divides_out():
    """The characteristic function of a log-gamma variable of mean 1 has no zero, and is the known one."""
    theta, at = 3.0, np.linspace(-8, 8, 33)
    exact = special.gamma(theta + 1j * at) / special.gamma(theta) * theta ** (-1j * at)
    drawn = np.log(np.random.default_rng(2).gamma(theta, 1 / theta, 100_000))
    sampled = np.exp(1j * at[:, None] * drawn).mean(axis=1)
    assert np.abs(sampled - exact).max() < 0.015
    assert np.abs(exact).min() > 1e-5
