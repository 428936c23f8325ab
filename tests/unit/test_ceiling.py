"""Posterior means under the true model agree with closed forms and with draws from the prior."""

import numpy as np
import pytest
from scipy import stats

from cdgm.config.evaluation import CeilingSpec
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.data.bundle import Bundle
from cdgm.evaluation.true_model import score_true_model
from cdgm.simulation.noises import NOISES
from cdgm.simulation.simulate import draw_latents, simulate, simulate_one, true_decoder
from cdgm.simulation.true_posterior import true_posterior_means
from cdgm.workflow.plan import expand
from tests.unit.builders import simulation
from tests.unit.data_helpers import refused

OPTIONS = {
    "gaussian": {"sd": 0.7},
    "poisson": {"rate": 2.0},
    "negative_binomial": {"rate": 2.0, "dispersion": 1.5},
    "bernoulli": {"scale": 2.0},
}
DRAWS = 4_000


def log_density(noise, x, signal):
    return x * noise.natural(signal) - noise.partition(signal)


@pytest.mark.parametrize("kind", sorted(NOISES))
def test_densities_scores_and_information_of_noises(kind):
    noise = NOISES.parse({"kind": kind} | OPTIONS[kind])
    f = np.linspace(-1.5, 1.5, 7)
    x = noise.draw(np.random.default_rng(0), f).astype(float)
    mean = 2 * np.exp(f)
    expected = {
        "gaussian": lambda v: stats.norm(f, 0.7).logpdf(v),
        "poisson": lambda v: stats.poisson(mean).logpmf(v),
        "negative_binomial": lambda v: stats.nbinom(1.5, 1.5 / (1.5 + mean)).logpmf(v),
        "bernoulli": lambda v: stats.bernoulli(1 / (1 + np.exp(-2 * f))).logpmf(v),
    }[kind]
    # Only what depends on the signal counts: subtract the same at another observation's own constant.
    g = f + 0.3
    shift = log_density(noise, x, g) - log_density(noise, x, f)
    mean, here = 2 * np.exp(g), expected(x)
    f, keep = g, f
    np.testing.assert_allclose(shift, expected(x) - here, atol=1e-9)
    h = 1e-5
    slope = (log_density(noise, x, keep + h) - log_density(noise, x, keep - h)) / (2 * h)
    np.testing.assert_allclose(noise.score(x, keep), slope, atol=1e-6)
    many = np.tile(keep, (60_000, 1))
    scores = noise.score(noise.draw(np.random.default_rng(1), many), many)
    np.testing.assert_allclose(scores.var(axis=0), noise.information(keep), rtol=0.05)
    np.testing.assert_allclose(
        scores.mean(axis=0), 0, atol=5 * np.sqrt(noise.information(keep).max() / 60_000)
    )


@pytest.mark.parametrize(
    "latents",
    [
        {"kind": "standard_normal"},
        {"kind": "correlated", "correlation": 0.6},
        {"kind": "shifted", "shift": 1},
    ],
    ids=lambda law: law["kind"],
)
@pytest.mark.parametrize("source", ["background", "target"])
def test_linear_gaussian_posteriors_are_known(latents, source):
    spec = simulation(mixing={"kind": "linear"}, noise={"kind": "gaussian", "sd": 0.5}, latents=latents)
    decode = true_decoder(spec, 3, 1)
    x = simulate_one(spec, 3, 1)[f"x/test/{source}"]
    found = true_posterior_means(spec, decode, source, x, DRAWS, np.random.default_rng(0))
    # The map, column by column, from the decoder itself.
    width = 5 if source == "background" else 8
    unit = np.eye(8)[:width]
    a = decode({"background": unit[:, :5], "salient": unit[:, 5:]})
    mean, covariance = spec.latents.moments(spec.design, spec.dims, source)
    precision = np.linalg.inv(covariance) + a @ a.T / 0.25
    exact = mean + (x - mean @ a) @ a.T / 0.25 @ np.linalg.inv(precision)
    sd = np.sqrt(np.diagonal(np.linalg.inv(precision)))
    error = (np.concatenate(list(found.means.values()), axis=1) - exact) / sd
    # Errors of importance sampling, in posterior sds, are about 1 / sqrt(effective draws).
    assert np.sqrt((error**2 * found.effective[:, None]).mean()) < 1.3
    assert np.abs(error).max() < 0.15
    assert found.effective.min() > 0.4 * DRAWS
    assert found.effective.max() <= DRAWS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["poisson", "negative_binomial", "bernoulli"])
def test_counts_agree_with_draws_from_the_prior(kind):
    """Weighting many draws of the law of latents needs no proposal at all."""
    spec = simulation(
        noise={"kind": kind} | OPTIONS[kind],
        dims={"background": 2, "salient": 1},
        latents={"kind": "heavy_tailed", "df": 5},
    )
    decode = true_decoder(spec, 3, 1)
    x = simulate_one(spec, 3, 1)["x/test/target"][:12].astype(float)
    found = true_posterior_means(spec, decode, "target", x, DRAWS, np.random.default_rng(0))
    u = draw_latents(spec, "target", 300_000, np.random.default_rng(5))
    signal = decode(u)
    joined = np.concatenate(list(u.values()), axis=1)
    for i, point in enumerate(x):
        log_weight = log_density(spec.noise, point, signal).sum(axis=1)
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        brute = weight @ joined
        sd = np.sqrt(weight @ (joined - brute) ** 2)
        effective = 1 / (1 / found.effective[i] + np.square(weight).sum())
        mine = np.concatenate([m[i] for m in found.means.values()])
        assert (np.abs(mine - brute) < 5 * sd / np.sqrt(effective)).all()


def bundle_of(spec, seeds):
    arrays = simulate(spec, seeds, 1)
    x = {"test": {s: arrays[f"x/test/{s}"] for s in spec.design.sources}}
    truth = {
        "test": {
            s: {b: arrays[f"truth/test/{s}/{b}"] for b in spec.design.active(s)} for s in spec.design.sources
        }
    }
    return Bundle(x, truth, arrays["seeds"])


def test_rows_are_those_of_fits_and_replicates_stand_alone():
    spec = simulation(n_test={"background": 100, "target": 100})
    ceiling = CeilingSpec(draws=100)
    both = list(score_true_model(spec, ceiling, bundle_of(spec, [4, 9]), 10, 1))
    (alone,) = score_true_model(spec, ceiling, bundle_of(spec, [9]), 10, 1)
    keyed = [
        {(r["source"], r["block"], r["truth"], r["metric"]): r["value"] for r in rows}
        for rows in (both[1], alone)
    ]
    assert keyed[0].keys() == keyed[1].keys()
    recovery = ("target", "salient", "salient", "recovery_cc")
    assert keyed[0][recovery] == keyed[1][recovery] > 0.95
    assert 10 < keyed[0]["target", "", "", "effective_draws"] <= 100
    assert {r["seed"] for r in both[0]} == {4}


def plan(**evaluation):
    own = {"studies": {"identifiability": {"settings": {"linear": {"evaluation": evaluation}}}}}
    return expand(parse_config(load_layers(["config.yaml", own])))


def test_a_ceiling_is_a_job_of_its_own_and_moves_no_other():
    without, with_it = plan(), plan(ceiling={"draws": 1000})
    assert without.evaluations == with_it.evaluations
    assert without.simulations == with_it.simulations
    (name,) = set(with_it.ceilings) - set(without.ceilings)
    rows = [row for row in with_it.studies["identifiability"] if row.ceiling == name]
    assert [row.setting for row in rows] == ["linear"]
    assert with_it.ceilings[name].simulation == rows[0].dataset


def test_impossible_ceilings_are_refused():
    values = {
        "studies": {
            "perturbation": {"settings": {"spikein_keep02": {"evaluation": {"ceiling": {"draws": 100}}}}}
        }
    }
    refused(
        lambda: expand(parse_config(load_layers(["config.yaml", values]))),
        "evaluation.ceiling",
        "no known true model",
    )
