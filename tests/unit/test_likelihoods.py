"""Likelihoods agree with torch.distributions at any scale, and fits with each recover the latents."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import distributions

from cdgm.evaluation.metrics.nulls import permutation_null
from cdgm.evaluation.metrics.recovery import recovery_cc
from cdgm.models.inference import posterior_means
from cdgm.models.likelihoods import LIKELIHOODS
from cdgm.models.likelihoods.base import Likelihood
from cdgm.models.source_data import SourceData
from cdgm.simulation.simulate import simulate
from cdgm.training.loop import train
from tests.unit.builders import fit_spec, simulation

DOUBLE = torch.float64
MEMBERS, ROWS, FEATURES = 2, 7, 5


@dataclass(frozen=True)
class Case:
    """A likelihood, the same law in torch, and start values unlike its own."""

    likelihood: Likelihood
    law: object
    learned: tuple[str, tuple[int, ...]] | None = None

    def parameters(self, dtype: torch.dtype = DOUBLE) -> dict[str, torch.Tensor]:
        if self.learned is None:
            return {}
        name, shape = self.learned
        return {name: torch.linspace(-1.0, 1.5, int(np.prod(shape)), dtype=dtype).view(shape)}


def parse(kind: str, **options) -> Likelihood:
    return LIKELIHOODS.parse({"kind": kind} | options)


def rate(link: str, f, library):
    return library * (f.softmax(-1) if link == "softmax" else f.exp())


def negative_binomial(mean, dispersion):
    return distributions.NegativeBinomial(dispersion.expand_as(mean), logits=mean.log() - dispersion.log())


KNOWN = torch.tensor(2.5, dtype=DOUBLE)
DISPERSION = ("log_dispersion", (MEMBERS, 1, FEATURES))
CASES = {
    "gaussian": Case(
        parse("gaussian"),
        lambda f, library, p: distributions.Normal(f, p["log_sd"].exp()),
        ("log_sd", (MEMBERS, 1, 1)),
    ),
    "bernoulli": Case(parse("bernoulli"), lambda f, library, p: distributions.Bernoulli(logits=f)),
}
for _link in ("exp", "softmax"):
    CASES |= {
        f"poisson-{_link}": Case(
            parse("poisson", link=_link),
            lambda f, library, p, link=_link: distributions.Poisson(rate(link, f, library)),
        ),
        f"negative_binomial-{_link}-learned": Case(
            parse("negative_binomial", link=_link, dispersion="learned"),
            lambda f, library, p, link=_link: negative_binomial(
                rate(link, f, library), p["log_dispersion"].exp()
            ),
            DISPERSION,
        ),
        f"negative_binomial-{_link}-known": Case(
            parse("negative_binomial", link=_link, dispersion=KNOWN.item()),
            lambda f, library, p, link=_link: negative_binomial(rate(link, f, library), KNOWN),
        ),
    }
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def observed(case: Case, dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    """Values that the likelihood is a law of (E, B, D); the first row of each member is all zeros."""
    generator = torch.Generator().manual_seed(0)
    shape = (MEMBERS, ROWS, FEATURES)
    match case.likelihood.support:
        case "real":
            x = torch.randn(shape, generator=generator, dtype=DOUBLE)
        case "counts":
            x = torch.poisson(torch.full(shape, 3.0, dtype=DOUBLE), generator=generator)
        case "binary":
            x = torch.randint(2, shape, generator=generator).to(DOUBLE)
    x[:, 0] = 0.0
    return x.to(dtype)


def outputs(scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return scale * torch.randn(MEMBERS, ROWS, FEATURES, generator=generator, dtype=DOUBLE)


def test_every_likelihood_is_tested():
    assert {case.likelihood.kind for case in CASES.values()} == set(LIKELIHOODS)


@every_case
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_agrees_with_torch(case, scale):
    x, f, parameters = observed(case), outputs(scale), case.parameters()
    assert case.likelihood.initial_parameters(MEMBERS, FEATURES).keys() == parameters.keys()
    library = case.likelihood.library_size(x).unsqueeze(-1)
    ours = case.likelihood.log_prob(x, f, library, parameters) + case.likelihood.constant(x)
    oracle = case.law(f, library, parameters).log_prob(x).sum(-1)
    torch.testing.assert_close(ours, oracle, rtol=1e-12, atol=1e-12)


@every_case
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_gradients(case, shift):
    """With the shift, learned dispersions lie on both sides of where the series of Stirling sets in."""
    x, f = observed(case), outputs().requires_grad_()
    parameters = {name: p + shift for name, p in case.parameters().items()}
    library = case.likelihood.library_size(x).unsqueeze(-1)

    def log_prob(f, *values):
        return case.likelihood.log_prob(x, f, library, dict(zip(parameters, values, strict=True)))

    assert torch.autograd.gradcheck(log_prob, (f, *(v.requires_grad_() for v in parameters.values())))


@every_case
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_gradients_by_hand_are_those_of_autograd(case, shift, monkeypatch):
    """Of a weighted sum over rows, whether members and rows are computed at once or one after the other."""
    x, f = observed(case), outputs()
    parameters = {name: p + shift for name, p in case.parameters().items()}
    weight = torch.linspace(0.1, 2.0, ROWS, dtype=DOUBLE)
    given = case.likelihood.library_size(x).unsqueeze(-1), parameters, weight
    oracle = Likelihood.log_prob_and_gradients(case.likelihood, x, f.clone(), *given)
    for size in (1, 2 * FEATURES, 1_000_000):
        monkeypatch.setattr("cdgm.models.likelihoods.negative_binomial.IN_CACHE", size)
        found = case.likelihood.log_prob_and_gradients(x, f.clone(), *given)
        torch.testing.assert_close(found, oracle, rtol=1e-10, atol=1e-12)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=["float32", "float64"])
def test_extreme_inputs_are_finite_and_close_to_torch(case, dtype):
    """Outputs of +-30 and counts of 1e4, alone and together, also for rows without a count."""
    x, f = observed(case), outputs()
    f[:, :3], f[:, 3:6] = 30.0, -30.0
    f[:, 1, 0], f[:, 4, 0] = -30.0, 30.0
    if case.likelihood.support == "counts":
        x[:, [2, 5, 6], 1] = 1e4
    parameters = {name: p.to(dtype).requires_grad_() for name, p in case.parameters().items()}
    library = case.likelihood.library_size(x).unsqueeze(-1)
    output = f.to(dtype).requires_grad_()
    ours = case.likelihood.log_prob(x.to(dtype), output, library.to(dtype), parameters)
    total = ours + case.likelihood.constant(x.to(dtype))
    assert total.isfinite().all()
    gradients = torch.autograd.grad(total.sum(), [output, *parameters.values()])
    assert all(gradient.isfinite().all() for gradient in gradients)
    learned = {name: p.detach() for name, p in parameters.items()}
    by_hand, by_output, by_parameters = case.likelihood.log_prob_and_gradients(
        x.to(dtype), output.detach().clone(), library.to(dtype), learned, torch.ones(ROWS, dtype=dtype)
    )
    # Float32 rounds what counts of 1e4 are compared with by about 1e-3.
    exact = 1e-9 if dtype == DOUBLE else 2e-3
    torch.testing.assert_close(by_hand, ours, rtol=exact, atol=exact)
    torch.testing.assert_close((by_output, *by_parameters.values()), gradients, rtol=exact, atol=exact)
    oracle = case.law(f, library, case.parameters()).log_prob(x).sum(-1)
    # log 10,000! is 8e4, and cancels against a term of its size: float32 is left with two decimals there.
    tolerance = {"rtol": 1e-10, "atol": 1e-9} if dtype == DOUBLE else {"rtol": 1e-5, "atol": 0.05}
    torch.testing.assert_close(total.double(), oracle, **tolerance)


@every_case
def test_what_encoders_see(case):
    x = observed(case)
    expected = np.log1p(x.numpy()) if case.likelihood.support == "counts" else x.numpy()
    np.testing.assert_allclose(case.likelihood.encoder_input(x), expected, rtol=1e-12)


@every_case
def test_library_sizes(case):
    """Row sums, at least 1, where rates are shares of a total; known and 1 everywhere else."""
    x = observed(case)
    data = SourceData(x.numpy(), range(MEMBERS), case.likelihood, DOUBLE)
    _, facts = data.take(torch.arange(ROWS).expand(MEMBERS, -1))
    library, constant = facts.unbind(-1)
    shares = getattr(case.likelihood, "link", None) == "softmax"
    expected = np.maximum(x.numpy().sum(-1), 1.0) if shares else np.ones((MEMBERS, ROWS))
    np.testing.assert_array_equal(library, expected)
    torch.testing.assert_close(constant, case.likelihood.constant(x))


@pytest.mark.parametrize("log_dispersion", [-12.0, -3.0, 3.0, 3.92, 6.0, 12.0, 20.0])
def test_negative_binomial_keeps_its_digits_at_any_dispersion(log_dispersion):
    """Learned dispersions go far up where data are nearly Poisson. float64 against torch below, where torch
    can still be trusted, and against the Poisson limit above; float32 against float64, gradients too."""
    likelihood = CASES["negative_binomial-exp-learned"].likelihood
    x = torch.tensor([0.0, 1.0, 2.0, 7.0, 40.0, 1e3], dtype=DOUBLE).expand(1, 3, 6)
    f = torch.tensor([-2.0, 0.5, 4.0], dtype=DOUBLE).view(1, 3, 1).expand(1, 3, 6)

    def value_and_gradients(dtype):
        given = torch.full((1, 1, 6), log_dispersion, dtype=dtype, requires_grad=True)
        output = f.to(dtype).requires_grad_()
        values = likelihood.log_prob(
            x.to(dtype), output, torch.ones(1, 3, 1, dtype=dtype), {"log_dispersion": given}
        )
        return values.detach().double(), *(
            g.double() for g in torch.autograd.grad(values.sum(), [output, given])
        )

    double, single = value_and_gradients(DOUBLE), value_and_gradients(torch.float32)
    for a, b in zip(double, single, strict=True):
        torch.testing.assert_close(b, a, rtol=2e-5, atol=2e-3)
    total = double[0] + likelihood.constant(x)
    theta = torch.tensor(log_dispersion, dtype=DOUBLE).exp()
    if log_dispersion < 10:
        oracle = negative_binomial(f.exp(), theta).log_prob(x).sum(-1)
        torch.testing.assert_close(total, oracle, rtol=1e-11, atol=1e-10)
    else:
        # NB = Poisson (1 + ((x - rate)^2 - x) / (2 theta) + ...), from the first terms of the series.
        oracle = distributions.Poisson(f.exp()).log_prob(x) + ((x - f.exp()).square() - x) / (2 * theta)
        torch.testing.assert_close(total, oracle.sum(-1), rtol=1e-10, atol=2e9 / theta.square().item() + 1e-9)


SIMULATED = {
    "gaussian": ({"kind": "gaussian", "sd": 0.3}, {"kind": "gaussian"}),
    "negative_binomial-learned": (
        {"kind": "negative_binomial", "rate": 5.0, "dispersion": 2.0},
        {"kind": "negative_binomial", "link": "exp", "dispersion": "learned"},
    ),
    "bernoulli": ({"kind": "bernoulli", "scale": 3.0}, {"kind": "bernoulli"}),
    "counts as a softmax": (
        {"kind": "poisson", "rate": 5.0},
        {"kind": "poisson", "link": "softmax"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "likelihood"), SIMULATED.values(), ids=SIMULATED)
def test_simulated_data_are_fitted_and_latents_found(noise, likelihood):
    """From noise to posterior means: the ELBO rises, and each block knows of its own truth."""
    sizes = {"n_train": {"background": 400, "target": 400}, "n_test": {"background": 50, "target": 400}}
    dims = {"background": 3, "salient": 2}
    arrays = simulate(simulation(noise=noise, dims=dims, n_features=30, **sizes), [0, 1], root=1)
    spec = fit_spec(
        (0, 1),
        dims=dims,
        model={"likelihood": likelihood, "encoder_hidden": [32], "decoder_hidden": [32]},
        training={"steps": 200, "batch_size": 64},
    )
    x = {source: arrays[f"x/train/{source}"] for source in spec.model.design.sources}
    trained = train(spec, x, [0, 1])
    assert trained.finite.all()
    assert all(p.isfinite().all() for p in trained.model.parameters())
    for source in x:
        elbo = trained.history[f"elbo/{source}"]
        assert (elbo[-1] > elbo[0]).all()
    means = posterior_means(trained.model, arrays["x/test/target"], [0, 1], "target")
    rng = np.random.default_rng(0)
    for block in dims:
        for member in range(2):
            estimate, truth = means[block][member], arrays[f"truth/test/target/{block}"][member]
            _, high = permutation_null(recovery_cc, estimate, truth, rng)
            assert recovery_cc(estimate, truth) > high + 0.1, (block, member)
