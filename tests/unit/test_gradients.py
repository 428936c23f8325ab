"""The gradients by hand are those of autograd, for all that a fit can be made of."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from cdgm.models.block_posterior import LOG_VARIANCE_RANGE
from cdgm.models.elbo_gradient import ElboGradient
from cdgm.models.hidden_layers import ACTIVATIONS
from cdgm.models.likelihoods.base import Likelihood
from cdgm.models.source_data import SourceData, assemble
from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.lagrangian import Lagrangian
from cdgm.training.loop import _contexts, build_model
from tests.unit.autograd_pass import autograd_pass, flat_gradient
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations
from tests.unit.test_variants import VARIANTS

DOUBLE = {"precision": "float64"}
DESIGNS = {
    "contrastive": CONTRASTIVE,
    "three": THREE_SOURCES,
    "two private": {
        "sources": ["s1", "s2"],
        "blocks": {"shared": ["s1", "s2"], "own1": ["s1"], "own2": ["s2"]},
    },
    "unordered": {"sources": ["a", "b", "c"], "blocks": {"pair": ["c", "a"], "all": ["b", "c", "a"]}},
    "single": {"sources": ["only"], "blocks": {"all": ["only"]}},
}
LIKELIHOODS = [
    {"kind": "gaussian"},
    {"kind": "bernoulli"},
    *({"kind": "poisson", "link": link} for link in ("exp", "softmax")),
    *(
        {"kind": "negative_binomial", "link": link, "dispersion": dispersion}
        for link in ("exp", "softmax")
        for dispersion in ("learned", 2.5)
    ),
]
TWIST = {"angle": 1.5, "block": "background", "by": "salient"}
ELSEWHERE = {"atol": 1e-11, "rtol": 1e-9}


def case(spec, rows=5, inactive=False, unequal=False):
    """An untrained stack with parameters that are not special, a batch for it and noise."""
    columns = 3 if spec.model.covariates else 0
    model = build_model(spec, 6, columns)
    rng = np.random.default_rng(3)
    for parameter in model.parameters():
        parameter.data += torch.from_numpy(0.3 * rng.standard_normal(parameter.shape))
    flat = flatten_parameters(model, model.n_members)
    kind = model.likelihood.support
    x = observations(spec, counts=kind != "real")
    if kind == "binary":
        x = {source: (values > 2).astype(np.float32) for source, values in x.items()}
    covariates = {s: rng.standard_normal((*x[s].shape[:2], columns)) if columns else None for s in x}
    data = {
        s: SourceData(x[s], [0, 1, 2], model.likelihood, torch.float64, covariates=covariates[s])
        for s in model.design.sources
    }
    index = {s: torch.arange(rows + unequal * 2 * k).expand(3, -1) for k, s in enumerate(data)}
    batch = assemble(data, index)
    seen = {b: sum(index[s].shape[1] for s in model.encoded(b, inactive)) for b in spec.model.dims}
    noise = {
        block: torch.from_numpy(rng.standard_normal((3, seen[block], d)))
        for block, d in spec.model.dims.items()
    }
    if spec.model.dropout:
        rows = {f"encoders.{b}": (n, spec.model.encoder_hidden) for b, n in seen.items()}
        rows["decoder"] = batch.x.shape[1], spec.model.decoder_hidden
        masks = {
            network: [torch.from_numpy(2.0 * (rng.random((3, n, width)) < 0.5)) for width in widths]
            for network, (n, widths) in rows.items()
        }
        batch = replace(batch, masks=masks)
    return model, flat, batch, noise


def check_pass(ours, oracle):
    torch.testing.assert_close(ours.elbo, oracle.elbo, **ELSEWHERE)
    assert list(ours.kl) == list(oracle.kl)
    for key, value in oracle.kl.items():
        torch.testing.assert_close(ours.kl[key], value, **ELSEWHERE)
    for name in ("posteriors", "inactive"):
        assert set(getattr(ours, name)) == set(getattr(oracle, name))
        for key, posterior in getattr(oracle, name).items():
            for part in ("mean", "log_variance", "sample"):
                found = getattr(getattr(ours, name)[key], part)
                torch.testing.assert_close(found, getattr(posterior, part), **ELSEWHERE)


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("inactive", [False, True])
@pytest.mark.parametrize("unequal", [False, True], ids=["equal", "unequal"])
def test_every_design(design, inactive, unequal):
    """The sum's gradient and the sources' own, also where sources have rows of unequal number."""
    model, flat, batch, noise = case(fit_spec(design=design, training=DOUBLE), 4, inactive, unequal)
    oracle = autograd_pass(model, batch, noise, inactive)
    sums, apart = ElboGradient(model, flat), ElboGradient(model, flat, apart=True)
    for gradient in (sums, apart):
        check_pass(gradient.forward(batch, noise, inactive), oracle)
        gradient.backward()
    expected = torch.stack([flat_gradient(-elbo, model) for elbo in oracle.elbo], dim=1)
    torch.testing.assert_close(sums.together, expected.sum(1), **ELSEWHERE)
    # Of parameters that one source uses alone nothing is kept apart.
    alone = [block for block, sources in design["blocks"].items() if len(sources) == 1]
    several = torch.cat(
        [
            torch.full(
                (p[0].numel(),),
                len(design["sources"]) > 1
                and not any(name.startswith(f"encoders.{block}.") for block in alone),
            )
            for name, p in model.named_parameters()
        ]
    )
    torch.testing.assert_close(apart.apart, expected * several, **ELSEWHERE)
    torch.testing.assert_close(apart.together, (expected * ~several).sum(1), **ELSEWHERE)


@pytest.mark.parametrize(
    ("likelihood", "activation"),
    list(itertools.product(LIKELIHOODS, ACTIVATIONS)),
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else v,
)
@pytest.mark.parametrize("apart", [False, True], ids=["sum", "apart"])
def test_every_likelihood_and_activation(likelihood, activation, apart):
    changes = {"likelihood": likelihood, "encoder_activation": activation, "decoder_activation": activation}
    spec = fit_spec(model=changes | {"encoder_hidden": [7, 5], "decoder_hidden": [4, 9]}, training=DOUBLE)
    model, flat, batch, noise = case(spec)
    oracle = autograd_pass(model, batch, noise)
    gradient = ElboGradient(model, flat, apart)
    check_pass(gradient.forward(batch, noise), oracle)
    gradient.backward()
    total = gradient.together + (gradient.apart.sum(1) if apart else 0.0)
    torch.testing.assert_close(total, flat_gradient(-oracle.elbo, model), **ELSEWHERE)


FULL = {"posterior": "full_covariance"}


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("inactive", [False, True])
def test_full_covariance_of_every_design(design, inactive):
    dims = dict(zip(design["blocks"], (3, 2, 1), strict=False))
    model, flat, batch, noise = case(
        fit_spec(design=design, dims=dims, model=FULL, training=DOUBLE), 4, inactive
    )
    oracle = autograd_pass(model, batch, noise, inactive)
    gradient = ElboGradient(model, flat)
    check_pass(gradient.forward(batch, noise, inactive), oracle)
    gradient.backward()
    torch.testing.assert_close(gradient.together, flat_gradient(-oracle.elbo, model), **ELSEWHERE)


@pytest.mark.parametrize("design", [CONTRASTIVE, THREE_SOURCES], ids=["contrastive", "three"])
@pytest.mark.parametrize("variant", ["hsic-samples", "wasserstein-cvae", "mo-cvae", "mo-co-cvae"])
def test_full_covariance_of_variants(variant, design):
    """By means, samples, marginal variances and divergences; other variants need no more of a posterior."""
    check_step(fit_spec(design=design, model=FULL, variant=VARIANTS[variant], training=DOUBLE))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda v: "-".join(map(str, v.values())))
@pytest.mark.parametrize("encode", [False, True], ids=["decoder", "both"])
@pytest.mark.parametrize("decoder", [[], [4]], ids=["linear", "deep"])
def test_covariates(likelihood, encode, decoder):
    """Covariates of the decoder, and of the encoders, for every likelihood; sources together and apart."""
    changes = {"covariates": ["batch"], "encode_covariates": encode, "decoder_hidden": decoder}
    spec = fit_spec(model=changes | {"likelihood": likelihood}, training=DOUBLE)
    model, flat, batch, noise = case(spec, unequal=True)
    oracle = autograd_pass(model, batch, noise)
    expected = flat_gradient(-oracle.elbo, model)
    for apart in (False, True):
        gradient = ElboGradient(model, flat, apart)
        check_pass(gradient.forward(batch, noise), oracle)
        gradient.backward()
        total = gradient.together + (gradient.apart.sum(1) if apart else 0.0)
        torch.testing.assert_close(total, expected, **ELSEWHERE)


REGULARISERS = {
    "norm": {"hidden_norm": "layer"},
    "dropout": {"dropout": 0.5},
    "both": {"hidden_norm": "layer", "dropout": 0.5},
}


@pytest.mark.parametrize("regulariser", REGULARISERS.values(), ids=REGULARISERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("design", ["contrastive", "unordered"])
def test_layer_norm_and_dropout(design, activation, regulariser):
    """Sources together and apart, inactive blocks, sources of unequal size."""
    changes = {"encoder_hidden": [7, 5], "decoder_hidden": [4, 9], "encoder_activation": activation}
    spec = fit_spec(
        design=DESIGNS[design],
        model=changes | {"decoder_activation": activation} | regulariser,
        training=DOUBLE,
    )
    for inactive in (False, True):
        model, flat, batch, noise = case(spec, inactive=inactive, unequal=True)
        oracle = autograd_pass(model, batch, noise, inactive)
        expected = torch.stack([flat_gradient(-elbo, model) for elbo in oracle.elbo], dim=1)
        for apart in (False, True):
            gradient = ElboGradient(model, flat, apart)
            check_pass(gradient.forward(batch, noise, inactive), oracle)
            gradient.backward()
            total = gradient.together + (gradient.apart.sum(1) if apart else 0.0)
            torch.testing.assert_close(total, expected.sum(1), **ELSEWHERE)


@pytest.mark.parametrize("variant", ["mo-co-cvae", "hsic-mmd-cvae", "wasserstein-cvae"])
def test_a_step_with_layer_norm_and_dropout(variant):
    check_step(fit_spec(model=REGULARISERS["both"], variant=VARIANTS[variant], training=DOUBLE))


PENALTY = {"kind": "hsic", "weight": 3.0, "estimator": "unbiased", "of": "means"}


@pytest.mark.parametrize("combiner", [{"kind": "mgda", "normalise": "loss"}, {"kind": "pcgrad"}])
def test_covariates_of_a_step_and_a_twist(combiner):
    variant = {"combiner": combiner, "penalties": [PENALTY]}
    model = {"twist": TWIST, "posterior": "twisted", "covariates": ["batch"], "encode_covariates": True}
    dims = {"background": 3, "salient": 2}
    check_step(fit_spec(dims=dims, model=model, variant=variant, training=DOUBLE))


@pytest.mark.parametrize("posterior", ["mean_field", "twisted"])
def test_a_twist(posterior):
    spec = fit_spec(
        dims={"background": 3, "salient": 2}, model={"twist": TWIST, "posterior": posterior}, training=DOUBLE
    )
    model, flat, batch, noise = case(spec)
    oracle = autograd_pass(model, batch, noise)
    gradient = ElboGradient(model, flat)
    check_pass(gradient.forward(batch, noise), oracle)
    gradient.backward()
    torch.testing.assert_close(gradient.together, flat_gradient(-oracle.elbo, model), **ELSEWHERE)


def test_clamped_log_variances_get_no_gradient():
    spec = fit_spec(training=DOUBLE)
    model, flat, batch, noise = case(spec)
    low, high = LOG_VARIANCE_RANGE
    bias = model.encoders["background"].layers[-1].bias.data[..., 2:]
    bias[0], bias[1] = low - 9.0, high + 9.0
    oracle = autograd_pass(model, batch, noise)
    gradient = ElboGradient(model, flat)
    gradient.forward(batch, noise)
    gradient.backward()
    expected = flat_gradient(-oracle.elbo, model)
    torch.testing.assert_close(gradient.together, expected, **ELSEWHERE)
    assert (expected == 0.0).any(1).tolist() == [True, True, False]


def test_a_likelihood_without_gradients_of_its_own_has_those_of_autograd(monkeypatch):
    spec = fit_spec(training=DOUBLE)
    model, flat, batch, noise = case(spec)
    by_hand, by_autograd = ElboGradient(model, flat), ElboGradient(model, flat)
    by_hand.forward(batch, noise)
    by_hand.backward()
    monkeypatch.setattr(type(model.likelihood), "log_prob_and_gradients", Likelihood.log_prob_and_gradients)
    by_autograd.forward(batch, noise)
    by_autograd.backward()
    torch.testing.assert_close(by_autograd.together, by_hand.together, **ELSEWHERE)


@pytest.mark.parametrize("design", [CONTRASTIVE, THREE_SOURCES], ids=["contrastive", "three"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant(variant, design):
    """Penalties, constraints, combiners, schedules: a step's gradient from the graph of its loss."""
    check_step(fit_spec(design=design, variant=VARIANTS[variant], training=DOUBLE))


SCHEDULE = {
    "private": {"from": [0, 0.25, 3], "to": 1, "steps": 4},
    "shared": {"from": 0.5, "to": 2, "steps": 9},
}


@pytest.mark.parametrize("combiner", ["sum", "mgda", "pcgrad"])
@pytest.mark.parametrize("keys", [("private",), ("shared",), ("private", "shared")], ids="-".join)
@pytest.mark.parametrize("design", [d for d in DESIGNS if d != "single"])
def test_kl_weights_of_every_design(design, keys, combiner):
    """Each loss has its own weighted KL terms, whatever combines them."""
    blocks = DESIGNS[design]["blocks"].values()
    keys = [key for key in keys if any((len(b) == 1) == (key == "private") for b in blocks)]
    options = {"normalise": "loss"} if combiner == "mgda" else {}
    variant = {"combiner": {"kind": combiner} | options, "kl_schedule": {key: SCHEDULE[key] for key in keys}}
    seeds = (0,) if "private" in keys else (0, 1, 2)
    check_step(fit_spec(seeds, DESIGNS[design], variant=variant, training=DOUBLE))


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda v: "-".join(map(str, v.values())))
def test_kl_weights_of_every_likelihood(likelihood):
    variant = {"combiner": {"kind": "sum"}, "kl_schedule": SCHEDULE}
    check_step(fit_spec((0,), model={"likelihood": likelihood}, variant=variant, training=DOUBLE))


@pytest.mark.parametrize("posterior", ["mean_field", "twisted"])
def test_kl_weights_of_a_twist(posterior):
    variant = {"combiner": {"kind": "sum"}, "kl_schedule": SCHEDULE}
    model = {"twist": TWIST, "posterior": posterior}
    dims = {"background": 3, "salient": 2}
    check_step(fit_spec((0,), dims=dims, model=model, variant=variant, training=DOUBLE))


def check_step(spec):
    """Gradient and loss of a first step against autograd's."""
    design = spec.model.design
    model, flat, batch, noise = case(spec, rows=6, inactive=spec.variant.needs_inactive)
    sizes = dict.fromkeys(design.sources, 6)

    def objective():
        made = Lagrangian(model, flat, spec.variant, _contexts(spec, sizes))
        for _, state in made.constraints:
            state.multiplier += 0.7
        return made

    step = objective().step(batch, noise)
    oracle = autograd_pass(model, batch, noise, spec.variant.needs_inactive)
    losses = {source: -elbo for source, elbo in zip(design.sources, oracle.elbo, strict=True)}
    for (source, block), kl in oracle.kl.items():
        shared = len(design.blocks[block]) > 1
        for key, at in (("private", not shared), ("shared", shared)):
            if at and key in spec.variant.kl_schedule:
                ramps = [m.variant.kl_schedule[key] for m in spec.members]
                weight = [r.at(0) for r in ramps]
                losses[source] = losses[source] + (torch.tensor(weight, dtype=torch.float64) - 1) * kl
    expected = sum(
        weight * flat_gradient(loss, model)
        for loss, weight in zip(losses.values(), shared_weights(step, model), strict=True)
    )
    other = objective()
    added = [
        (p.ramp.at(0) if p.ramp else 1) * weight * p.value(oracle, model.design, state)
        for _, p, weight, state in other.penalties
    ]
    added += [c.term(oracle, model.design, state)[0] for c, state in other.constraints]
    for value in added:
        expected = expected + flat_gradient(value, model)
    # Kernels as narrow as the MM-cVAE's, times its weights, magnify rounding.
    torch.testing.assert_close(step.gradient, expected, atol=1e-10 * expected.abs().max().item(), rtol=1e-9)
    torch.testing.assert_close(step.loss, sum(added, sum(losses.values())), **ELSEWHERE)
    torch.testing.assert_close(step.result.elbo, oracle.elbo, **ELSEWHERE)


def shared_weights(step, model):
    """Weight of each source's loss for each parameter (K, E, P): 1 where one source uses it alone."""
    weights = []
    for name, p in model.named_parameters():
        alone = any(name.startswith(f"encoders.{b}.") and len(s) == 1 for b, s in model.design.blocks.items())
        of_sources = torch.ones_like(step.weights) if alone else step.weights
        weights.append(of_sources[..., None].expand(-1, -1, p[0].numel()))
    return torch.cat(weights, dim=-1)
