"""Observation noises have the stated moments and the distribution of the likelihood of their name."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from cdgm.config.value_support import holds, violations
from cdgm.models.likelihoods import LIKELIHOODS
from cdgm.simulation.noises import NOISES
from cdgm.simulation.simulate import simulate_one
from tests.unit.builders import simulation

N = 100_000
SIGNALS = np.array([-1.0, 0.0, 1.5])


def sigmoid(f):
    return 1 / (1 + np.exp(-f))


# Options, then mean and variance at a signal, in closed form.
CASES = {
    "gaussian": ({"sd": 0.5}, lambda f: f, lambda f: 0.25 + 0 * f),
    "poisson": ({"rate": 2.0}, lambda f: 2 * np.exp(f), lambda f: 2 * np.exp(f)),
    "negative_binomial": (
        {"rate": 2.0, "dispersion": 1.5},
        lambda f: 2 * np.exp(f),
        lambda f: 2 * np.exp(f) + (2 * np.exp(f)) ** 2 / 1.5,
    ),
    "bernoulli": (
        {"scale": 2.0},
        lambda f: sigmoid(2 * f),
        lambda f: sigmoid(2 * f) * (1 - sigmoid(2 * f)),
    ),
}
every_kind = pytest.mark.parametrize("kind", CASES)


def noise_of(kind: str, **changes):
    return NOISES.parse({"kind": kind} | CASES[kind][0] | changes)


def drawn(kind: str, seed: int = 0, **changes) -> np.ndarray:
    """Draws (N, 3), a column for each of SIGNALS."""
    return noise_of(kind, **changes).draw(np.random.default_rng(seed), np.tile(SIGNALS, (N, 1)))


def test_every_noise_is_tested():
    assert set(CASES) == set(NOISES)


@every_kind
def test_moments(kind):
    _, mean, variance = CASES[kind]
    x = drawn(kind).astype(float)
    centred = x - x.mean(axis=0)
    spread = centred.var(axis=0)
    error_of_variance = np.sqrt(((centred**4).mean(axis=0) - spread**2) / N)
    assert (np.abs(x.mean(axis=0) - mean(SIGNALS)) < 4 * np.sqrt(variance(SIGNALS) / N)).all()
    # A coin's sample variance is a function of its mean, and at one half even its error vanishes.
    assert (np.abs(spread - variance(SIGNALS)) < 4 * error_of_variance + 1e-4).all()


@every_kind
def test_draws_have_the_support_that_they_say(kind):
    noise, x = noise_of(kind), drawn(kind).astype(np.float32)
    for narrower in ("binary", "counts", "real"):
        broken = any(bad.any() for bad, _ in violations(x, narrower))
        assert broken != holds(narrower, noise.support)


@pytest.mark.parametrize(
    ("noise", "likelihood", "output"),
    [
        (("poisson", {"rate": 2.0}), {"kind": "poisson", "link": "exp"}, np.log(2) + SIGNALS),
        (
            ("negative_binomial", {"rate": 2.0, "dispersion": 1.5}),
            {"kind": "negative_binomial", "link": "exp", "dispersion": 1.5},
            np.log(2) + SIGNALS,
        ),
        (("bernoulli", {"scale": 2.0}), {"kind": "bernoulli"}, 2 * SIGNALS),
    ],
    ids=["poisson", "negative_binomial", "bernoulli"],
)
def test_each_noise_has_the_law_of_the_likelihood_of_its_name(noise, likelihood, output):
    """Chi-square of drawn frequencies: the same options mean the same in both."""
    x = drawn(noise[0], **noise[1])
    likelihood = LIKELIHOODS.parse(likelihood)
    for column, f in zip(x.T, output, strict=True):
        top = 1 if likelihood.support == "binary" else int(np.quantile(column, 0.999))
        values = torch.arange(top + 1, dtype=torch.float64).view(1, -1, 1)
        log_prob = likelihood.log_prob(values, torch.full_like(values, f), torch.ones_like(values), {})
        expected = N * (log_prob + likelihood.constant(values)).exp().flatten().numpy()
        observed = np.bincount(column, minlength=top + 1)
        if likelihood.support == "counts":
            # What lies beyond is one class more.
            expected = np.append(expected, N - expected.sum())
            observed = np.append(observed[: top + 1], observed[top + 1 :].sum())
        assert stats.chisquare(observed, expected * N / expected.sum()).pvalue > 1e-3


def test_settings_that_differ_in_noise_share_signal_and_latents():
    """Log-counts at a high rate are the signal that Gaussian noise is added to."""
    quiet = simulate_one(simulation(noise={"kind": "gaussian", "sd": 1e-6}), 3, 1)
    counts = simulate_one(simulation(noise={"kind": "poisson", "rate": 1e5}), 3, 1)
    np.testing.assert_array_equal(quiet["truth/train/target/salient"], counts["truth/train/target/salient"])
    np.testing.assert_allclose(np.log(counts["x/train/target"] / 1e5), quiet["x/train/target"], atol=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "bernoulli", "scale": 0},
        {"kind": "poisson", "rate": -1},
        {"kind": "poisson", "rate": 1e9},
    ],
    ids=str,
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValidationError):
        NOISES.parse(options)
