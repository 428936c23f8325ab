"""Penalties agree with closed forms, move only their own parts, and work for any design and stack."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cdgm.config.design import Design
from cdgm.config.ramp import Ramp
from cdgm.evaluation.metrics import independence
from cdgm.models.comparative_vae import Batch, Pass, Posterior
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.kernels import MM_CVAE_GAMMAS, prior_gamma
from cdgm.objectives.null_quantiles import hsic_null, mmd_null
from cdgm.objectives.penalties import PENALTIES
from cdgm.objectives.penalties.tc import shuffled
from cdgm.training.loop import build_model, train
from cdgm.utils.random_streams import stream
from tests.unit.autograd_pass import autograd_pass
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations

HSIC = {"kind": "hsic", "estimator": "unbiased", "of": "means"}
SHARED = {"kind": "mmd_shared", "estimator": "unbiased", "of": "means", "kernel": "expected_distance"}
INACTIVE = {"kind": "mmd_inactive", "estimator": "unbiased", "of": "means", "kernel": "expected_distance"}
WASSERSTEIN = {"kind": "wasserstein_inactive"}
TC = {"kind": "tc", "hidden": 8, "learning_rate": 1e-2}
NORMALISED = {"kind": "hsic_normalised", "of": "means"}
ALL = [HSIC, NORMALISED, SHARED, INACTIVE, WASSERSTEIN, TC]
DESIGNS = pytest.mark.parametrize("design", [CONTRASTIVE, THREE_SOURCES], ids=["contrastive", "three"])


def kinds(options):
    return options["kind"] if isinstance(options, dict) else ""


def draw_posteriors(design, members=2, n=12, dim=2, seed=0):
    """Random posteriors of all (source, block), active or not."""
    rng = np.random.default_rng(seed)

    def tensor():
        return torch.from_numpy(rng.standard_normal((members, n, dim)))

    return {
        (source, block): Posterior(tensor(), tensor() - 1, tensor())
        for source in design.sources
        for block in design.blocks
    }


def still(value, n=6):
    """Posterior with all means and samples at one point, of unit variance."""
    point = torch.tensor(value, dtype=torch.float64).expand(1, n, len(value))
    return Posterior(point, torch.zeros_like(point), point)


def context_of(penalty, design, members=2, dim=2, batch_size=16):
    return ObjectiveContext(
        members=[penalty] * members,
        design=design,
        dims=dict.fromkeys(design.blocks, dim),
        sizes=dict.fromkeys(design.sources, 100),
        batch_size=batch_size,
        dtype=torch.float64,
        generators=[stream("test", m, root=3) for m in range(members)],
    )


def pass_of(posteriors, design):
    active = {key: p for key, p in posteriors.items() if key[1] in design.active(key[0])}
    inactive = {key: p for key, p in posteriors.items() if key not in active}
    return Pass(elbo=torch.zeros(0), kl={}, posteriors=active, inactive=inactive)


# Closed forms


@pytest.mark.parametrize("of", ["means", "standardised_means", "samples"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_hsic_sums_over_pairs_of_each_source(estimator, of):
    design = Design.model_validate(THREE_SOURCES)
    posteriors = draw_posteriors(design)
    value = PENALTIES.parse({"kind": "hsic", "estimator": estimator, "of": of}).measure(posteriors, design)
    oracle = getattr(independence, f"hsic_{estimator}")

    def rows(source, block, member):
        p = posteriors[source, block]
        found = (p.sample if of == "samples" else p.mean)[member].numpy()
        return found / found.std(axis=0) if of == "standardised_means" else found

    for member in range(2):
        expected = sum(
            oracle(rows(source, a, member), rows(source, b, member))
            for source, a, b in (("a", "shared", "pair"), ("b", "own", "shared"), ("c", "shared", "pair"))
        )
        # The floor under the variance shows here.
        assert value[member].item() == pytest.approx(expected, abs=1e-7)


def test_standardised_means_do_not_feel_scale():
    design = Design.model_validate(CONTRASTIVE)
    posteriors = draw_posteriors(design, n=40)
    key = "target", "salient"
    p = posteriors[key]
    shrunk = posteriors | {key: Posterior(p.mean * torch.tensor([0.1, 0.3]), p.log_variance, p.sample)}
    plain, standardised = (PENALTIES.parse(HSIC | {"of": of}) for of in ("means", "standardised_means"))
    first, second = (standardised.measure(posteriors, design) for posteriors in (posteriors, shrunk))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-7)
    first, second = (plain.measure(posteriors, design) for posteriors in (posteriors, shrunk))
    assert (second.abs() < 0.3 * first.abs()).all()
    emptied = posteriors | {key: Posterior(0 * p.mean, p.log_variance, p.sample)}
    assert standardised.measure(emptied, design).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("of", ["means", "samples"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_mmds_of_points(estimator, of):
    contrastive, three = (Design.model_validate(d) for d in (CONTRASTIVE, THREE_SOURCES))
    gamma, options = prior_gamma(2), {"estimator": estimator, "of": of, "kernel": "expected_distance"}
    # Points at distances 5 and sqrt(2).
    posteriors = {
        ("background", "background"): still([0.0, 0.0]),
        ("target", "background"): still([3.0, 4.0]),
        ("background", "salient"): still([1.0, 1.0]),
        ("target", "salient"): still([9.0, 9.0]),
    }
    shared, inactive = (PENALTIES.parse({"kind": kind} | options) for kind in ("mmd_shared", "mmd_inactive"))
    assert shared.measure(posteriors, contrastive).item() == pytest.approx(2 - 2 * math.exp(-25 * gamma))
    assert inactive.measure(posteriors, contrastive).item() == pytest.approx(2 - 2 * math.exp(-2 * gamma))
    wide = PENALTIES.parse({"kind": "mmd_inactive"} | options | {"kernel": "mm_cvae"})
    expected = sum(2 - 2 * math.exp(-2 * g) for g in MM_CVAE_GAMMAS)
    assert wide.measure(posteriors, contrastive).item() == pytest.approx(expected)
    # Three pairs of sources share a block, one pair another: points on a line at 0, 1, 2.
    posteriors = {(s, b): still([float(i), 0.0]) for b in three.blocks for i, s in enumerate("abc")}
    one, two = (2 - 2 * math.exp(-gamma * d**2) for d in (1, 2))
    assert shared.measure(posteriors, three).item() == pytest.approx(2 * one + 2 * two)
    # Inactive: own in a (at 0) and c (at 2), pair in b (at 1).
    assert inactive.measure(posteriors, three).item() == pytest.approx(one + two)


def test_wasserstein_is_the_second_moment():
    posteriors = {
        ("background", "salient"): Posterior(
            torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 0.0], [math.log(0.5), 1.0]]]), None
        )
    }
    value = PENALTIES.parse(WASSERSTEIN).measure(posteriors, Design.model_validate(CONTRASTIVE))
    assert value.item() == pytest.approx((25 + 2 + 0.5 + math.e) / 2)
    of_means = PENALTIES.parse(WASSERSTEIN | {"of": "means"})
    assert of_means.measure(posteriors, Design.model_validate(CONTRASTIVE)).item() == 25 / 2


def test_a_ramp_raises_the_weight_step_by_step():
    rise = {"from": 0, "to": 1, "steps": 4}
    assert [Ramp.model_validate(rise).at(step) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1, 1]

    def trained(steps: int, **options: object) -> np.ndarray:
        training = {"steps": steps, "precision": "float64", "log_every": 1}
        weighted = {"combiner": {"kind": "sum"}, "penalties": [WASSERSTEIN | options]}
        spec = fit_spec((0,), training=training, variant=weighted)
        model = train(spec, observations(spec), [0]).model
        return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()

    quarter = {"from": 0.25, "to": 0.25, "steps": 1}
    np.testing.assert_array_equal(trained(4, weight=100, ramp=quarter), trained(4, weight=25))
    assert np.abs(trained(4, weight=100, ramp=rise) - trained(4, weight=25)).max() > 1e-6
    np.testing.assert_array_equal(trained(2, weight=100, ramp=rise | {"steps": 1}), trained(2, weight=100))


# Gradients


def tiny(design, members=2):
    """An untrained model in float64, a batch for it and noise."""
    spec = fit_spec(tuple(range(members)), design, training={"precision": "float64"})
    model = build_model(spec, 6)
    rng = np.random.default_rng(11)
    n = 10
    sources = spec.model.design.sources
    x = torch.from_numpy(2 * rng.standard_normal((members, n * len(sources), 6)))
    rows = {source: slice(i * n, (i + 1) * n) for i, source in enumerate(sources)}
    ones = torch.ones(members, x.shape[1], dtype=x.dtype)
    noise = {
        block: torch.from_numpy(rng.standard_normal((members, x.shape[1], 2)))
        for block in model.design.blocks
    }
    batch = Batch(x, ones[..., None], 0 * ones, rows)
    return model, batch, noise


def looking(model, batch, noise):
    """Pass of a batch, or of other observations in its place, that looks at inactive blocks too."""
    return lambda x=batch.x: autograd_pass(model, replace(batch, x=x), noise, True)


@DESIGNS
@pytest.mark.parametrize("options", [*ALL, HSIC | {"of": "standardised_means"}, HSIC | {"of": "samples"},
                                     SHARED | {"of": "samples", "kernel": "mm_cvae"}], ids=kinds)  # fmt: skip
def test_gradients_are_finite_differences(options, design):
    model, batch, noise = tiny(design)
    run = looking(model, batch, noise)
    penalty = PENALTIES.parse(options)
    state = penalty.start(context_of(penalty, model.design))
    if state is None:
        value = lambda: penalty.value(run(), model.design, None)  # noqa: E731
    else:
        penalty.value(run(), model.design, state)  # the discriminators' step; from here on they stay

        def value():
            result = run()
            return sum(
                state.log_ratio(s, [result.posteriors[s, b].sample for b in model.design.active(s)]).mean(1)
                for s in state.networks
            )

    parameters = [p for encoder in model.encoders.values() for p in encoder.parameters()]
    gradients = torch.autograd.grad(value().sum(), parameters, allow_unused=True, materialize_grads=True)
    rng = np.random.default_rng(12)
    directions = [torch.from_numpy(rng.standard_normal(p.shape)) for p in parameters]
    expected = sum(
        (g * d).flatten(1).sum(1) for g, d in zip(gradients, directions, strict=True)
    )  # of each member
    step = 1e-5
    ends = []
    with torch.no_grad():
        for sign in (1, -2):
            for p, d in zip(parameters, directions, strict=True):
                p += sign * step * d
            ends.append(value())
    found = (ends[0] - ends[1]) / (2 * step)
    assert found.abs().min() > 1e-6
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)


def reached(model, value):
    """Parts of the model that a value's gradient reaches, and whether the variances are among it."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(
        value.sum(), parameters, allow_unused=True, materialize_grads=True, retain_graph=True
    )
    parts = set()
    for name, gradient in zip(names, gradients, strict=True):
        if gradient.abs().max() > 0:
            part = ".".join(name.split(".")[:2])
            parts.add(part)
            if name.endswith("layers.1.bias") and gradient[..., 2:].abs().max() > 0:
                parts.add(part + " variances")
    return parts


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (HSIC, {"encoders.background", "encoders.salient"}),
        (HSIC | {"of": "samples"}, {"encoders.background", "encoders.background variances",
                                    "encoders.salient", "encoders.salient variances"}),
        (SHARED, {"encoders.background"}),
        (SHARED | {"of": "samples"}, {"encoders.background", "encoders.background variances"}),
        (INACTIVE, {"encoders.salient"}),
        (INACTIVE | {"of": "samples"}, {"encoders.salient", "encoders.salient variances"}),
        (WASSERSTEIN, {"encoders.salient", "encoders.salient variances"}),
        (TC, {"encoders.background", "encoders.background variances",
              "encoders.salient", "encoders.salient variances"}),
    ],
)  # fmt: skip
def test_what_is_moved(options, parts):
    model, batch, noise = tiny(CONTRASTIVE)
    run = looking(model, batch, noise)
    penalty = PENALTIES.parse(options)
    state = penalty.start(context_of(penalty, model.design))
    x = batch.x.clone().requires_grad_()
    value = penalty.value(run(x), model.design, state)
    assert reached(model, value) == parts
    # Which rows it is about: inactive blocks live in the background's, pairs of blocks in the target's.
    by_row = torch.autograd.grad(value.sum(), x)[0].abs().amax((0, 2)) > 0
    background, target = by_row[:10], by_row[10:]
    assert background.all() == (options["kind"] in {"mmd_shared", "mmd_inactive", "wasserstein_inactive"})
    assert target.all() == (options["kind"] in {"mmd_shared", "hsic", "tc"})
    assert background.any() == background.all()
    assert target.any() == target.all()


# Stacks


def variant(*penalties, weight=3.0):
    return {"combiner": {"kind": "sum"}, "penalties": [p | {"weight": weight} for p in penalties]}


@pytest.mark.slow
@DESIGNS
def test_a_stack_with_penalties_equals_separate_fits(design):
    training = {"steps": 15, "precision": "float64"}
    spec = fit_spec((3, 1, 2), design, training=training, variant=variant(*ALL))
    x = observations(spec)
    stack = train(spec, x, [0, 1, 2])
    for member, seed in enumerate(spec.seeds):
        alone = train(fit_spec((seed,), design, training=training, variant=variant(*ALL)), x, [member])
        for name in (f"penalty/{options['kind']}" for options in ALL):
            found, expected = stack.history[name][:, member], alone.history[name][:, 0]
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
        for p, q in zip(stack.model.parameters(), alone.model.parameters(), strict=True):
            torch.testing.assert_close(p[member], q[0], rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("options", ALL, ids=kinds)
def test_a_weight_lowers_what_it_weighs(options):
    """Each member has its own weight; data in which target and background differ, and blocks depend."""
    weights = [0.0, 1000.0 if "mmd" in options["kind"] or options["kind"] == "hsic" else 20.0]
    if options["kind"] == "wasserstein_inactive":
        weights[1] = 3.0
    spec = fit_spec(
        (0,),
        training={"steps": 300, "batch_size": 64, "log_every": 1},
        variant=variant(options, weight=weights),
    )
    rng = np.random.default_rng(13)
    latent = rng.standard_normal((1, 400, 3))
    folded = np.concatenate([latent, latent[..., :1] * latent[..., 1:2], np.abs(latent[..., 2:])], axis=-1)
    mixed = (folded @ rng.standard_normal((5, 6))).astype(np.float32)
    x = {"background": mixed[:, :200] - 1.0, "target": 2.0 * mixed[:, 200:] + 1.0}
    history = train(spec, x, [0, 0]).history[f"penalty/{options['kind']}"][-100:].mean(axis=0)
    # The discriminator's value is an estimate that a strong weight may push under 0.
    assert history[1] < 0.6 * history[0]
    assert history[0] > 0


# Nulls


def test_nulls_are_those_of_what_is_measured():
    three = Design.model_validate(THREE_SOURCES)
    posteriors = draw_posteriors(three)

    def mean(source, block):
        return posteriors[source, block].mean

    found = PENALTIES.parse(HSIC).null(posteriors, three)
    expected = (
        hsic_null(mean("a", "shared"), mean("a", "pair"))
        + hsic_null(mean("b", "own"), mean("b", "shared"))
        + hsic_null(mean("c", "shared"), mean("c", "pair"))
    )
    torch.testing.assert_close(found.variance, expected.variance)
    torch.testing.assert_close(found.mean_biased, expected.mean_biased)
    found = PENALTIES.parse(SHARED | {"kernel": "mm_cvae"}).null(posteriors, three)
    expected = mmd_null(*(mean(s, "shared") for s in "abc"), gammas=MM_CVAE_GAMMAS) + mmd_null(
        mean("a", "pair"), mean("c", "pair"), gammas=MM_CVAE_GAMMAS
    )
    torch.testing.assert_close(found.variance, expected.variance)
    torch.testing.assert_close(found.mean_biased, expected.mean_biased)


# The discriminator


def test_the_product_of_marginals_swaps_halves():
    rows = torch.arange(8.0).reshape(1, 8, 1)
    first, second = shuffled([rows, rows + 100]).unbind(-1)
    assert first[0].tolist() == list(range(8))
    assert second[0].tolist() == [104, 105, 106, 107, 100, 101, 102, 103]
    three = shuffled([rows, rows, rows])[0]
    assert all(len(set(row.tolist())) == 3 for row in three)
    assert (three.sort(0).values == rows[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [32, 0])
def test_the_discriminator_finds_the_density_ratio(hidden):
    """Of correlated Gaussians the log ratio is known; one dense layer can't see it."""
    design = Design.model_validate(CONTRASTIVE)
    penalty = PENALTIES.parse({"kind": "tc", "hidden": hidden, "learning_rate": 1e-2})
    correlations = torch.tensor([0.8, 0.0, -0.6], dtype=torch.float64)[:, None, None]
    state = penalty.start(context_of(penalty, design, members=3, dim=1))
    rng = np.random.default_rng(15)

    def draw(n):
        z, e = torch.from_numpy(rng.standard_normal((2, 3, n, 1)))
        return [z, correlations * z + (1 - correlations.square()).sqrt() * e]

    values = []
    for _ in range(800):
        z, t = draw(128)
        posteriors = {("target", "background"): Posterior(None, None, z),
                      ("target", "salient"): Posterior(None, None, t)}  # fmt: skip
        values.append(penalty.value(pass_of(posteriors, design), design, state).detach())
    z, t = draw(4000)
    squared = correlations.square()
    truth = -0.5 * (1 - squared).log() - (squared * (z**2 + t**2) - 2 * correlations * z * t) / (
        2 * (1 - squared)
    )
    found = state.log_ratio("target", [z, t])
    information = -0.5 * (1 - squared).log().flatten()
    late = torch.stack(values[-200:]).mean(0)
    if hidden == 0:
        assert late.abs().max() < 0.05
        assert found.std(1).max() < 0.2
        return
    assert late[1].abs() < 0.05
    assert found[1].std() < 0.15
    for member in (0, 2):
        assert np.corrcoef(found[member], truth[member].squeeze(-1))[0, 1] > 0.93
        assert late[member].item() == pytest.approx(information[member].item(), rel=0.2)


# Refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (HSIC, "no source has two active blocks"),
        (TC, "no source has two active blocks"),
        (SHARED, "no block is active in two"),
        (INACTIVE, "all are active in every source"),
        (WASSERSTEIN, "all are active in every source"),
    ],
    ids=kinds,
)
def test_designs_without_meaning_are_refused(options, words):
    one = Design(sources=("a",), blocks={"u": ("a",)})
    with pytest.raises(ValueError, match=words):
        PENALTIES.parse(options).check(one)
    with pytest.raises(ValueError, match=words):
        fit_spec(design=one.model_dump(), variant=variant(options))
    PENALTIES.parse(options).check(Design.model_validate(THREE_SOURCES))
