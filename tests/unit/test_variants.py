"""Every variant of the config trains on every design; sweeps and lost members leave neighbours alone."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch

from cdgm.config.fit import FitSpec, VariantSpec
from cdgm.config.study import parse_config
from cdgm.config.yaml_file import read_yaml
from cdgm.models.source_data import SourceData, assemble
from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.lagrangian import Lagrangian
from cdgm.training.loop import _contexts, build_model, train
from cdgm.workflow.plan import dump
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations
from tests.unit.test_environment import ROOT

# Those without a sweep: the others are the same plug-ins at several numbers, for designs that they name.
# Schedules end within the few steps of these fits.
VARIANTS = {
    name: dump(variant.over(8))
    for name, variant in parse_config(read_yaml(ROOT / "config.yaml")).variants.items()
    if len(variant.points()) == 1
}
DESIGNS = {"contrastive": CONTRASTIVE, "three": THREE_SOURCES}
LIKELIHOODS = {
    "gaussian": {"kind": "gaussian"},
    "poisson": {"kind": "poisson", "link": "exp"},
    "negative_binomial": {"kind": "negative_binomial", "link": "softmax", "dispersion": "learned"},
    "bernoulli": {"kind": "bernoulli"},
}
# Each variant on both designs; the kinds of data take turns.
CASES = [
    (*case, kind)
    for case, kind in zip(itertools.product(VARIANTS, DESIGNS), itertools.cycle(LIKELIHOODS), strict=False)
]


@cache
def data_of(likelihood: str, design: str, n: int = 64) -> dict[str, np.ndarray]:
    spec = fit_spec(design=DESIGNS[design])
    x = observations(spec, n=n, counts=likelihood not in ("gaussian", "bernoulli"))
    if likelihood == "bernoulli":
        x = {source: (values > 0).astype(np.float32) for source, values in x.items()}
    return x


def spec_of(variant: dict, design: str, likelihood: str = "gaussian", **changes) -> FitSpec:
    training = {"steps": 20, "batch_size": 16} | changes.pop("training", {})
    model = {"likelihood": LIKELIHOODS[likelihood]}
    return fit_spec(design=DESIGNS[design], model=model, variant=variant, training=training, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "design", "likelihood"), CASES)
def test_each_variant_trains_and_moves_all_that_it_should(variant, design, likelihood):
    spec = spec_of(VARIANTS[variant], design, likelihood)
    before = build_model(spec, 6)
    trained = train(spec, data_of(likelihood, design), [0, 1, 2])
    assert trained.finite.all()
    for (name, a), b in zip(before.named_parameters(), trained.model.parameters(), strict=True):
        assert torch.isfinite(b).all()
        moved = (a != b).flatten(1).any(1)
        assert moved.all(), name
    history = trained.history
    for penalty in spec.variant.penalties:
        assert np.isfinite(history[f"penalty/{penalty.kind}"]).all()
    for constraint in spec.variant.constraints:
        assert np.isfinite(history[f"constraint/{constraint.name}"]).all()
    total = sum(history[f"weight/{source}"] for source in spec.model.design.sources)
    if spec.variant.combiner.kind in ("pcgrad", "cagrad"):
        # As published: what they add to the sum of the gradients is a sum with weights that are not negative.
        assert (total >= len(spec.model.design.sources) - 1e-5).all()
    else:
        np.testing.assert_allclose(total, len(spec.model.design.sources), rtol=1e-5)


def first_gradients(spec: FitSpec, x: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Gradient of each parameter in the first step, on the first rows."""
    model = build_model(spec, 6)
    flat = flatten_parameters(model, model.n_members)
    objective = Lagrangian(model, flat, spec.variant, _contexts(spec, {s: v.shape[1] for s, v in x.items()}))
    data = {s: SourceData(x[s], [0, 1, 2], model.likelihood, torch.float32) for s in model.design.sources}
    batch = assemble(data, {s: torch.arange(16).expand(3, -1) for s in data})
    generator = torch.Generator().manual_seed(0)
    noise = {
        b: torch.randn(3, 16 * len(model.encoded(b, objective.inactive)), d, generator=generator)
        for b, d in spec.model.dims.items()
    }
    gradient = objective.step(batch, noise).gradient
    sizes = [p[0].numel() for p in model.parameters()]
    names = [name for name, _ in model.named_parameters()]
    return dict(zip(names, gradient.split(sizes, dim=1), strict=True))


@pytest.mark.parametrize(
    ("variant", "design", "private", "other"),
    [
        (variant, *case)
        for variant in VARIANTS
        for case in (("contrastive", "salient", "background"), ("three", "own", "a"), ("three", "own", "c"))
    ],
)
def test_data_of_other_sources_leave_a_private_encoder_alone(variant, design, private, other):
    spec = spec_of(VARIANTS[variant], design)
    x = data_of("gaussian", design)
    changed = x | {other: x[other][:, ::-1] + 1.0}
    one, two = first_gradients(spec, x), first_gradients(spec, changed)
    same = all(torch.equal(one[n], two[n]) for n in one if n.startswith(f"encoders.{private}."))
    # Only a penalty on inactive blocks shows these rows to the block's encoder.
    # With several private blocks, rows of any source decide which pair of blocks is the most dependent.
    largest = design == "three" and any(p.kind == "hsic_normalised" for p in spec.variant.penalties)
    assert largest or same != spec.variant.needs_inactive
    assert not torch.equal(one["decoder.layers.0.weight"], two["decoder.layers.0.weight"])


# ------------------------------------------------------------------ members that differ


SWEPT = {
    "weights": (
        {"penalties": [{"kind": "hsic", "weight": [0, 100], "of": "means", "estimator": "unbiased"}]},
        ["hsic.weight=0", "hsic.weight=100"],
    ),
    "ratios": (
        {"combiner": {"kind": "fixed", "ratio": {"background": [1, 2], "target": 1}}},
        ["ratio.background=1", "ratio.background=2"],
    ),
    "levels": (
        {
            "constraints": [
                {"kind": "kl_floor", "level": [0.5, 2], "rate": 0.1, "average": 0.5, "warm_up": 2},
            ]
        },
        ["kl_floor.level=0.5", "kl_floor.level=2"],
    ),
    "schedules": (
        {"kl_schedule": {"private": {"from": [0, 2], "to": 0.7, "steps": [3, 25]}}},
        [f"kl.private.from={a},kl.private.steps={n}" for a in (0, 2) for n in (3, 25)],
    ),
    "discriminators": (
        {"penalties": [{"kind": "tc", "weight": [1, 5], "hidden": 8, "learning_rate": 0.01}]},
        ["tc.weight=1", "tc.weight=5"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "points"), SWEPT.values(), ids=SWEPT)
def test_a_sweep_in_one_stack_equals_separate_fits(parts, points):
    variant = {"combiner": {"kind": "sum"}} | parts
    training = {"precision": "float64", "steps": 30}
    spec = spec_of(variant, "contrastive", seeds=(0, 2), training=training)
    assert [(m.point, m.seed) for m in spec.members] == [(p, s) for p in points for s in (0, 2)]
    x = data_of("gaussian", "contrastive")
    stack = train(spec, x, [m.seed for m in spec.members])
    for e, member in enumerate(spec.members):
        alone = spec_of(dump(member.variant), "contrastive", seeds=(member.seed,), training=training)
        single = train(alone, x, [member.seed])
        for a, b in zip(stack.model.parameters(), single.model.parameters(), strict=True):
            torch.testing.assert_close(a[e], b[0], rtol=1e-9, atol=1e-12)
        for name in ("elbo/target", "gradient_norm"):
            np.testing.assert_allclose(stack.history[name][:, e], single.history[name][:, 0], rtol=1e-9)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        *(
            ([], "different"),
            ([1, 1], "different"),
            ([1, -1], "at least 0"),
            ("a", "number"),
            (True, "number"),
        ),
        *(([1.0000001, 1.0000002], "different"), ([[1]], "number"), ([{"a": 1}], "number")),
        *((10**400, "number"), (10**6000, "thousands of digits")),
    ],
    ids=range(10),
)
def test_bad_sweeps_are_refused(weight, message):
    hsic = {"kind": "hsic", "weight": weight, "of": "means", "estimator": "unbiased"}
    with pytest.raises(ValueError, match=message):
        VariantSpec.model_validate({"combiner": {"kind": "sum"}, "penalties": [hsic]})


BIASED = {"kind": "hsic", "of": "means", "estimator": "biased"}
BIASED_BOUND = {
    "kind": "upper_bound",
    "penalty": BIASED,
    "alpha": 0.05,
    "rate": 1,
    "average": 0,
    "warm_up": 0,
}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"penalties": [{"kind": "hsic", "of": "means", "estimator": "unbiased"}]}, "has no weight"),
        (
            {"penalties": 2 * [{"kind": "wasserstein_inactive", "weight": 1}]},
            "holds 'wasserstein_inactive' twice",
        ),
        ({"constraints": [BIASED_BOUND]}, "no null with these options"),
    ],
)
def test_bad_variants_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        VariantSpec.model_validate({"combiner": {"kind": "sum"}} | parts)


# ------------------------------------------------------------------ members that are lost

BAD_DATA = {
    "one huge outlier": lambda x: _with(x, lambda v: v.__setitem__((3, 0), 1e30)),
    "not a number": lambda x: _with(x, lambda v: v.__setitem__((3, 0), np.nan)),
}


def _with(x: dict[str, np.ndarray], change) -> dict[str, np.ndarray]:
    x = {source: values.copy() for source, values in x.items()}
    change(x["target"][1])
    return x


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["mo-co-cvae", "tc-cvae"])
@pytest.mark.parametrize("spoil", BAD_DATA.values(), ids=BAD_DATA)
def test_a_lost_member_leaves_its_neighbours_as_they_are(variant, spoil):
    spec = spec_of(VARIANTS[variant], "contrastive", training={"steps": 60})
    x = data_of("gaussian", "contrastive")
    clean, spoiled = train(spec, x, [0, 1, 2]), train(spec, spoil(x), [0, 1, 2])
    assert clean.finite.all()
    assert spoiled.finite.tolist() == [True, False, True]
    for a, b in zip(clean.model.parameters(), spoiled.model.parameters(), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])
        assert torch.isfinite(b).all()
    for name, values in clean.history.items():
        if values.ndim > 1:
            np.testing.assert_array_equal(values[:, [0, 2]], spoiled.history[name][:, [0, 2]])


@pytest.mark.parametrize("variant", ["cvae", "mo-co-cvae", "hsic-mmd-cvae"])
def test_constant_features_and_absurd_learning_rates_end_in_flags_and_not_in_errors(variant):
    x = data_of("gaussian", "contrastive")
    constant = {source: np.ones_like(values) for source, values in x.items()}
    trained = train(spec_of(VARIANTS[variant], "contrastive", training={"steps": 60}), constant, [0, 1, 2])
    assert trained.finite.all()
    wild = spec_of(VARIANTS[variant], "contrastive", training={"steps": 60, "learning_rate": 1e3})
    trained = train(wild, x, [0, 1, 2])
    assert trained.finite.shape == (3,)
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())
