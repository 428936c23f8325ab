"""What penalties, MGDA and the ELBO do at the truth, in linear models whose posteriors have closed forms."""

import numpy as np
import pytest
import torch
import yaml
from scipy import optimize

from cdgm.config.design import Design
from cdgm.config.simulation import Simulation
from cdgm.evaluation.metrics.independence import hsic_test
from cdgm.evaluation.metrics.regression import linear_r2, nonlinear_r2
from cdgm.models.comparative_vae import Pass, Posterior
from cdgm.models.elbo_gradient import ElboGradient
from cdgm.models.source_data import SourceData, assemble
from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.combiners import COMBINERS
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.penalties import PENALTIES
from cdgm.simulation.simulate import simulate, simulate_one, true_decoder
from cdgm.simulation.true_posterior import true_posterior_means
from cdgm.training.loop import train
from cdgm.utils.random_streams import stream
from tests.guide import ROOT
from tests.unit.builders import CONTRASTIVE, fit_spec

DESIGN = Design.model_validate(CONTRASTIVE)
SHARED, SALIENT, FEATURES = 2, 2, 6
MMD = {"estimator": "unbiased", "kernel": "expected_distance"}
HSIC = {"kind": "hsic", "estimator": "unbiased"}
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def stated_simulation(sizes):
    """The simulation of the protocol `simulation`, with other numbers of rows."""
    stated = CONFIG["protocols"]["simulation"]["simulation"]
    return Simulation.model_validate(stated | sizes | {"design": CONFIG["designs"]["contrastive"]})


# ---------------------------------------------------------------- penalties at the right dimensions

#: Loadings of oblique blocks (means depend on each other), and of blocks at right angles.
OBLIQUE = np.linalg.qr(np.random.default_rng(5).standard_normal((FEATURES, 4)))[0] @ np.array(
    [[1.0, 0, 0.8, 0], [0, 1, 0, 0.8], [0, 0, 0.6, 0], [0, 0, 0, 0.6]]
)
RIGHT_ANGLES = np.eye(FEATURES)[:, :4]


def posteriors_at_truth(loadings, sd, rng, rows, joint=True, members=1):
    """True posteriors given the source; the salient one of background rows is what its encoder says there.

    Samples come from the ``joint`` posterior of a row, or from each block's own (what a mean-field one
    with the right marginals has).
    """
    found = {}
    for source, n_active in (("background", SHARED), ("target", SHARED + SALIENT)):
        own = loadings[:, :n_active]
        latents = rng.standard_normal((members, rows, n_active))
        x = latents @ own.T + sd * rng.standard_normal((members, rows, FEATURES))
        for used, blocks in (
            (own, DESIGN.active(source)),
            (loadings, ("salient",) if source == "background" else ()),
        ):
            covariance = np.linalg.inv(np.eye(used.shape[1]) + used.T @ used / sd**2)
            mean = x @ used @ covariance / sd**2
            noise = rng.standard_normal(mean.shape) @ np.linalg.cholesky(covariance).T
            if not joint:
                other = rng.standard_normal(mean.shape) @ np.linalg.cholesky(covariance).T
                noise = np.concatenate([noise[..., :SHARED], other[..., SHARED:]], axis=-1)
            variance = np.broadcast_to(np.diag(covariance), mean.shape)
            for block in blocks:
                part = slice(0, SHARED) if block == "background" else slice(SHARED, None)
                pieces = (mean[..., part], np.log(variance)[..., part], (mean + noise)[..., part])
                found[source, block] = Posterior(*(torch.from_numpy(p.copy()) for p in pieces))
    return found


def mean_in_errors(options, **truth):
    """Mean of a penalty over 24 data sets, and its distance from 0 in standard errors."""
    posteriors = posteriors_at_truth(rng=np.random.default_rng(6), rows=400, members=24, **truth)
    values = PENALTIES.parse(options).measure(posteriors, DESIGN)
    return float(values.mean()), float(values.mean() / (values.std() / len(values) ** 0.5))


#: Penalty, and whether it vanishes at the truth: blocks oblique; at right angles.
AT_TRUTH = [
    (HSIC | {"of": "samples"}, True, True),
    (HSIC | {"of": "means"}, False, True),
    (HSIC | {"of": "standardised_means"}, False, True),
    ({"kind": "hsic_normalised", "of": "samples"}, True, True),
    ({"kind": "hsic_normalised", "of": "means"}, False, True),
    ({"kind": "mmd_shared", "of": "samples"} | MMD, True, True),
    ({"kind": "mmd_shared", "of": "means"} | MMD, False, True),
    ({"kind": "mmd_inactive", "of": "samples"} | MMD, False, False),
    ({"kind": "mmd_inactive", "of": "means"} | MMD, False, False),
    ({"kind": "wasserstein_inactive"}, False, False),
]


@pytest.mark.parametrize(
    ("options", "oblique", "at_right_angles"),
    AT_TRUTH,
    ids=lambda o: "-".join(map(str, o.values())) if isinstance(o, dict) else "",
)
def test_which_penalties_vanish_at_the_truth(options, oblique, at_right_angles):
    for loadings, vanishes in ((OBLIQUE, oblique), (RIGHT_ANGLES, at_right_angles)):
        value, errors = mean_in_errors(options, loadings=loadings, sd=0.8)
        assert abs(errors) < 3 if vanishes else errors > 5, (options, value, errors)


def test_every_penalty_that_does_not_vanish_goes_to_0_with_the_noise():
    for options, vanishes, _ in AT_TRUTH:
        if not vanishes:
            loud, quiet = (mean_in_errors(options, loadings=OBLIQUE, sd=sd)[0] for sd in (0.8, 0.02))
            assert quiet < 0.02 * loud, options


def test_the_total_correlation_vanishes_for_joint_samples_alone():
    """Its discriminator learns that samples of the joint posterior are independent, and others are not."""
    penalty = PENALTIES.parse({"kind": "tc", "hidden": 16, "learning_rate": 1e-2})
    dims = {"background": SHARED, "salient": SALIENT}
    values = []
    for joint in (True, False):
        rng = np.random.default_rng(7)
        sizes = dict.fromkeys(DESIGN.sources, 200)
        state = penalty.start(
            ObjectiveContext([penalty], DESIGN, dims, sizes, 200, torch.float64, [stream("tc", root=1)])
        )
        found = []
        for _ in range(300):
            posteriors = posteriors_at_truth(OBLIQUE, 1.0, rng, 200, joint)
            found.append(penalty.value(Pass(torch.zeros(0), {}, posteriors, {}), DESIGN, state).item())
        values.append(np.mean(found[150:]))
    joint, apart = values
    assert abs(joint) < 0.01
    assert apart > 0.03


def test_hsic_of_samples_that_forget_the_joint_posterior_does_not_vanish():
    options = HSIC | {"of": "samples"}
    assert mean_in_errors(options, loadings=OBLIQUE, sd=0.8, joint=False)[1] > 6


def test_every_registered_penalty_is_judged():
    judged = {options["kind"] for options, *_ in AT_TRUTH} | {"tc"}
    assert judged == set(PENALTIES)


# ---------------------------------------------------------------- MGDA under noise


def mgda(gradients):
    """Weights (draws, K), of sum 1, for gradients (draws, K, parameters)."""
    gram = gradients @ gradients.swapaxes(1, 2)
    solver = COMBINERS.parse({"kind": "mgda", "normalise": "none"})
    return solver.solve(gram, np.ones(gram.shape[:2]), None) / gram.shape[1]


def determination(weights, prediction):
    return np.corrcoef(weights.ravel(), prediction.ravel())[0, 1] ** 2


@pytest.mark.parametrize("sources", [2, 3, 5])
def test_weights_of_mgda_follow_the_noise_where_noise_rules(sources):
    """The noise, and not the direction or the size of the true gradient, sets the weight."""
    rng = np.random.default_rng(8)
    draws, parameters = 200, 1500
    true = rng.standard_normal((draws, sources, parameters)) * rng.uniform(0.5, 1, (draws, sources, 1))
    noise = parameters * np.exp(rng.uniform(0, 2, (draws, sources)))
    errors = rng.standard_normal(true.shape) * np.sqrt(noise / parameters)[..., None]
    inverse = (1 / noise) / (1 / noise).sum(axis=1, keepdims=True)
    weights = mgda(0.05 * true + errors)
    assert determination(weights, inverse) > 0.98
    np.testing.assert_allclose(weights, inverse, atol=0.05)
    # With exact gradients the same weights know nothing of it.
    assert determination(mgda(true), inverse) < 0.05


def test_two_noisy_gradients_have_the_weight_of_the_closed_form():
    rng = np.random.default_rng(9)
    parameters, noise = 4000, np.array([3.0, 1.0])
    true = rng.standard_normal((2, parameters)) / np.sqrt(parameters)
    inner = true @ true.T
    draws = true + rng.standard_normal((200, 2, parameters)) * np.sqrt(noise / parameters)[:, None]
    a, b, c = inner[0, 0] + noise[0], inner[1, 1] + noise[1], inner[0, 1]
    assert mgda(draws)[:, 0].mean() == pytest.approx((b - c) / (a + b - 2 * c), abs=0.01)


def test_no_loss_rises_along_exact_gradients_alone():
    rng = np.random.default_rng(10)
    true = rng.standard_normal((300, 3, 20))
    exact = np.einsum("nk,nkp->np", mgda(true), true)
    gains = np.einsum("nkp,np->nk", true, exact)
    assert (gains >= np.square(exact).sum(axis=1, keepdims=True) - 1e-9).all()
    noisy = true + 3 * rng.standard_normal(true.shape)
    gains = np.einsum("nkp,np->nk", true, np.einsum("nk,nkp->np", mgda(noisy), noisy))
    assert (gains.min(axis=1) < 0).mean() > 0.3


@pytest.mark.slow
def test_weights_of_mgda_follow_the_noise_late_in_a_fit():
    """Two members of the protocol `simulation`: noise is most of each gradient, and sets the weight."""
    sizes = {"n_train": {"background": 4000, "target": 4000}, "n_test": {"background": 2, "target": 2}}
    spec = stated_simulation(sizes)
    drawn = simulate(spec, [200, 201], CONFIG["root_seed"])
    x = {source: drawn[f"x/train/{source}"] for source in DESIGN.sources}
    fit = fit_spec(
        (0, 1),
        dims=spec.dims,
        model={"encoder_hidden": [64, 64], "decoder_hidden": [64, 64]},
        training={"steps": 1000, "batch_size": 64, "learning_rate": 4e-3},
        variant={"combiner": {"kind": "mgda", "normalise": "none"}},
    )
    model = train(fit, x, [0, 1]).model
    gradient = ElboGradient(model, flatten_parameters(model, 2), apart=True)
    data = {s: SourceData(x[s], [0, 1], fit.model.likelihood, torch.float32) for s in x}
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(100):
        rows = {s: torch.randint(4000, (2, 64), generator=generator) for s in x}
        noise = {
            block: torch.randn(2, 64 * len(of), spec.dims[block], generator=generator)
            for block, of in DESIGN.blocks.items()
        }
        gradient.forward(assemble(data, rows), noise)
        gradient.backward()
        draws.append(gradient.apart.double().clone())
    gradients = torch.stack(draws).numpy()  # (draws, members, sources, parameters)
    noise = gradients.var(axis=0, ddof=1).sum(axis=-1)
    assert (noise / np.square(gradients).sum(axis=-1).mean(axis=0)).min() > 0.7
    weights = np.stack([mgda(draw) for draw in gradients]).mean(axis=0)
    inverse = (1 / noise) / (1 / noise).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights, inverse, atol=0.05)
    # The mean gradients alone would have chosen other weights.
    assert np.abs(mgda(gradients.mean(axis=0)) - inverse).max() > 0.1


# ---------------------------------------------------------------- the true model, and the ELBO


@pytest.mark.slow
def test_posterior_means_of_the_true_model_do_not_leak():
    """On the simulations of the study `identifiability`, where fits leak: as the page reports."""
    spec = stated_simulation(
        {"n_train": {"background": 2, "target": 2}, "n_test": {"background": 2, "target": 2000}}
    )
    root = CONFIG["root_seed"]
    rows, decode = simulate_one(spec, 200, root), true_decoder(spec, 200, root)
    rng = np.random.default_rng(12)
    means = true_posterior_means(spec, decode, "target", rows["x/test/target"], 500, rng).means
    truth = {block: rows[f"truth/test/target/{block}"] for block in means}
    for block, other in (("background", "salient"), ("salient", "background")):
        assert linear_r2(means[block], truth[block]) > 0.98
        assert nonlinear_r2([means[block]], truth[other]) < 0.01
    assert hsic_test(means["background"], means["salient"], rng, points=1500)[1] > 0.05


def elbo(parameters, truth, sd, mean_field=True):
    """Sum over both sources of the expected ELBO of a linear model with one latent a block.

    The best factorised posterior of a Gaussian with precision P has the right mean and variances 1 / P_ii;
    it misses (sum log P_ii - log det P) / 2.
    """
    loadings, own_sd = parameters[:-1].reshape(truth.shape), np.exp(parameters[-1])
    total = 0.0
    for n_active in (1, 2):
        own, true = loadings[:, :n_active], truth[:, :n_active]
        covariance = own @ own.T + own_sd**2 * np.eye(len(own))
        data = true @ true.T + sd**2 * np.eye(len(own))
        total -= 0.5 * (np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, data)))
        precision = np.eye(n_active) + own.T @ own / own_sd**2
        gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
        total -= mean_field * gap
    return total


def test_the_mean_field_elbo_is_not_largest_at_the_truth():
    """Linear mixing, right dimensions, unlimited data, best posterior a row: the blocks are still off."""
    truth, sd = np.array([[1.0, 0.7], [0.0, 0.7], [0.0, 0.0], [0.0, 0.0]]), 0.5
    start = np.append(truth.ravel(), np.log(sd))

    def best(mean_field):
        found = optimize.minimize(lambda p: -elbo(p, truth, sd, mean_field), start, method="BFGS")
        loadings = found.x[:-1].reshape(truth.shape)
        cosine = loadings[:, 0] @ loadings[:, 1] / np.prod(np.linalg.norm(loadings, axis=0))
        return -found.fun, found.x, loadings, cosine

    value, _, loadings, cosine = best(mean_field=False)
    np.testing.assert_allclose(loadings, truth, atol=1e-3)
    assert cosine == pytest.approx(np.sqrt(0.5), abs=1e-3)
    value, parameters, loadings, cosine = best(mean_field=True)
    assert value > elbo(start, truth, sd) + 0.01
    assert elbo(parameters, truth, sd, False) < elbo(start, truth, sd, False) - 0.01
    assert abs(cosine) < 0.9 * np.sqrt(0.5)


@pytest.mark.parametrize(("degrees", "expected"), [(75, 0.02), (60, 0.07), (45, 0.18)])
def test_oblique_blocks_leak_under_mean_field_however_small_the_noise(degrees, expected):
    """R2 of t in the posterior mean of z: of the best mean-field fit, the truth, and the closed form."""
    cosine, sd = np.cos(np.deg2rad(degrees)), 0.05
    truth = np.array([[1.0, cosine], [0.0, np.sqrt(1 - cosine**2)], [0.0, 0.0], [0.0, 0.0]])
    data = truth @ truth.T + sd**2 * np.eye(4)

    def leakage(loadings, own_sd):
        means = np.linalg.solve(own_sd**2 * np.eye(2) + loadings.T @ loadings, loadings.T)
        of_z, of_t = np.square(means @ truth) / np.diag(means @ data @ means.T)[:, None]
        return of_z[1], of_t[0]

    def cost(a):
        return np.log1p(a**2 / 2) + 0.5 * np.log(1 - 2 * a * cosine + a**2)

    start = np.append(truth.ravel(), np.log(sd))
    best = optimize.minimize(lambda p: -elbo(p, truth, sd), start, method="BFGS").x
    own_sd = np.exp(best[-1])
    into_shared, into_salient = leakage(best[:-1].reshape(truth.shape), own_sd)
    a = optimize.minimize_scalar(cost, bounds=(0, 1), method="bounded").x
    assert into_shared == pytest.approx(a**2 / (1 + a**2), abs=0.005)
    assert into_shared == pytest.approx(expected, abs=0.006)
    assert max(into_salient, *leakage(truth, sd)) < 0.002
