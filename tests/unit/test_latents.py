"""Latent distributions have the stated moments and densities; noise of one source leaves the others alone."""

import numpy as np
import pytest
from scipy import stats

from cdgm.config.simulation import Simulation
from cdgm.simulation.latents import LATENTS
from cdgm.simulation.simulate import simulate_one
from cdgm.workflow.plan import dump, identify
from tests.unit.builders import THREE_SOURCES, simulation

LAWS = {
    "standard_normal": {},
    "correlated": {"correlation": 0.6},
    "shifted": {"shift": 0.7},
    "heavy_tailed": {"df": 6},
}
THREE = {
    "design": THREE_SOURCES,
    "dims": {"own": 1, "shared": 2, "pair": 3},
    "n_train": dict.fromkeys("abc", 50),
    "n_test": dict.fromkeys("abc", 20),
}
every_law = pytest.mark.parametrize("kind", LAWS)
every_source = pytest.mark.parametrize(
    ("changes", "source"), [({}, "background"), ({}, "target"), (THREE, "b"), (THREE, "c")]
)


def spec_of(kind: str, changes: dict) -> Simulation:
    return simulation(**changes, latents={"kind": kind} | LAWS[kind])


def test_every_law_is_tested():
    assert set(LAWS) == set(LATENTS)


@every_law
@every_source
def test_moments_are_those_of_draws(kind, changes, source):
    spec, n = spec_of(kind, changes), 100_000
    u = spec.latents.draw(spec.design, spec.dims, source, n, np.random.default_rng(1))
    mean, covariance = spec.latents.moments(spec.design, spec.dims, source)
    np.testing.assert_allclose(u.mean(axis=0), mean, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(u.T), covariance, atol=0.04)


def oracle(kind: str, spec: Simulation, source: str, u: np.ndarray) -> np.ndarray:
    if kind == "heavy_tailed":
        scale = np.sqrt((6 - 2) / 6)
        return stats.t(6, scale=scale).logpdf(u).sum(axis=-1)
    return stats.multivariate_normal(*spec.latents.moments(spec.design, spec.dims, source)).logpdf(u)


@every_law
@every_source
def test_densities_are_those_of_scipy(kind, changes, source):
    spec = spec_of(kind, changes)
    u = np.random.default_rng(2).standard_normal(
        (40, len(spec.latents.moments(spec.design, spec.dims, source)[0]))
    )
    found = spec.latents.log_density(u, spec.design, spec.dims, source)
    expected = oracle(kind, spec, source, u)
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-9)


def test_correlated_blocks_are_normal_by_themselves():
    spec = spec_of("correlated", {})
    _, covariance = spec.latents.moments(spec.design, spec.dims, "target")
    np.testing.assert_array_equal(covariance[:5, :5], np.eye(5))
    np.testing.assert_array_equal(covariance[5:, 5:], np.eye(3))
    np.testing.assert_allclose(np.linalg.svd(covariance[:5, 5:], compute_uv=False), 0.6)
    _, alone = spec.latents.moments(spec.design, spec.dims, "background")
    np.testing.assert_array_equal(alone, np.eye(5))


def test_only_shared_blocks_are_shifted():
    spec = spec_of("shifted", {})
    mean, _ = spec.latents.moments(spec.design, spec.dims, "target")
    np.testing.assert_allclose(mean, [0.7] * 5 + [0.0] * 3)
    assert not spec.latents.moments(spec.design, spec.dims, "background")[0].any()


@pytest.mark.parametrize("kind", ["correlated", "shifted"])
def test_a_design_without_meaning_is_refused(kind):
    apart = {"sources": ["a", "b"], "blocks": {"first": ["a"], "second": ["b"]}}
    sizes = {"a": 10, "b": 10}
    with pytest.raises(ValueError, match=f"{kind} latents need|that several sources have"):
        spec_of(kind, {"design": apart, "dims": {"first": 1, "second": 1}, "n_train": sizes, "n_test": sizes})


def test_ids_stay_and_the_default_written_out_has_the_same():
    known = ["design", "dims", "mixing", "n_features", "n_test", "n_train", "noise"]
    assert sorted(dump(simulation())) == known
    written = simulation(latents={"kind": "standard_normal"}, noise_of={})
    assert identify("x", dump(written)) == identify("x", dump(simulation()))
    assert identify("x", dump(spec_of("shifted", {}))) != identify("x", dump(simulation()))


def test_noise_of_a_source_is_its_own_and_leaves_the_others():
    loud = simulation(noise_of={"background": {"kind": "gaussian", "sd": 0.5}})
    assert Simulation.model_validate(dump(loud)) == loud
    plain, other = simulate_one(simulation(), 3, 1), simulate_one(loud, 3, 1)
    np.testing.assert_array_equal(plain["x/train/target"], other["x/train/target"])
    quiet = simulate_one(simulation(noise={"kind": "gaussian", "sd": 1e-6}), 3, 1)["x/train/background"]
    # The same random numbers, five times as large.
    np.testing.assert_allclose(
        other["x/train/background"] - quiet, 5 * (plain["x/train/background"] - quiet), atol=5e-5
    )
