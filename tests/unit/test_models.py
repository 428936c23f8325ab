"""The model's ELBO agrees with torch.distributions, with probabilistic PCA and with finite differences."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from cdgm.models.checkpoint import load_stack, save_stack
from cdgm.models.comparative_vae import Batch, rows_of
from cdgm.models.elbo_gradient import ElboGradient
from cdgm.models.inference import held_out_bounds, posterior_means
from cdgm.models.stacks import flatten_parameters
from cdgm.training.loop import build_model, train
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations

SINGLE = {"sources": ["only"], "blocks": {"all": ["only"]}}


def batch_and_noise(spec, rows=7, n_features=6):
    design = spec.model.design
    generator = torch.Generator().manual_seed(1)
    members, total = len(spec.seeds), rows * len(design.sources)
    x = torch.randn(members, total, n_features, generator=generator, dtype=torch.float64)
    batch = Batch(
        x,
        torch.ones(members, total, 1),
        torch.zeros(members, total),
        rows_of(dict.fromkeys(design.sources, rows)),
    )
    noise = {
        block: torch.randn(
            members, rows * len(sources), spec.model.dims[block], generator=generator, dtype=torch.float64
        )
        for block, sources in design.blocks.items()
    }
    return batch, noise


@pytest.mark.slow
def test_linear_gaussian_fit_reaches_the_optimum_of_probabilistic_pca():
    """Tipping & Bishop 1999: the maximum likelihood has a closed form, and a linear VAE attains it."""
    rng = np.random.default_rng(0)
    n, d, q = 2_000, 6, 2
    x = (
        rng.standard_normal((n, q)) * [2.0, 1.0] @ rng.standard_normal((q, d))
        + 0.5 * rng.standard_normal((n, d))
        + 1.0
    )
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(x.T, bias=True)))[::-1]
    noise = eigenvalues[q:].mean()
    best = -0.5 * (d * math.log(2 * math.pi) + np.log(eigenvalues[:q]).sum() + (d - q) * math.log(noise) + d)
    # A large step: the basis of the latents turns slowly, and the bound is flat along the way.
    spec = fit_spec(
        (0, 1),
        SINGLE,
        {"all": q},
        model={"encoder_hidden": [], "decoder_hidden": []},
        training={"steps": 3_000, "batch_size": 256, "learning_rate": 5e-2, "precision": "float64"},
    )
    trained = train(spec, {"only": x[None]}, [0, 0])
    elbo, _ = held_out_bounds(
        trained.model, {"only": x[None]}, [0, 0], [np.random.default_rng(i) for i in range(2)], draws=50
    )
    sd = torch.exp(trained.model.likelihood_parameters["log_sd"]).flatten().detach().numpy()
    assert (elbo["only"] < best + 0.01).all()
    np.testing.assert_allclose(elbo["only"], best, atol=0.02)
    np.testing.assert_allclose(sd, math.sqrt(noise), rtol=0.02)


@pytest.mark.parametrize(
    "design", [CONTRASTIVE, THREE_SOURCES, SINGLE], ids=["contrastive", "three", "single"]
)
def test_elbo_and_kl_agree_with_torch_distributions(design):
    """Rebuild each source's ELBO by hand, member by member, from ordinary matrix products."""
    spec = fit_spec(
        design=design,
        dims=dict(zip(design["blocks"], (3, 2, 1), strict=False)),
        training={"precision": "float64"},
    )
    model = build_model(spec, 6)
    batch, noise = batch_and_noise(spec)
    result = model(batch, noise)
    for e in range(3):
        used = dict.fromkeys(design["blocks"], 0)
        for k, source in enumerate(design["sources"]):
            rows = batch.rows[source]
            x = batch.x[e, rows]
            latents, kls = [], {}
            for block, sources in design["blocks"].items():
                d = spec.model.dims[block]
                if source not in sources:
                    latents.append(torch.zeros(len(x), d, dtype=torch.float64))
                    continue
                mean, log_variance = member_mlp(model.encoders[block], e, x).chunk(2, dim=-1)
                posterior = Normal(mean, (0.5 * log_variance).exp())
                kls[block] = kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1).mean()
                start = used[block]
                latents.append(mean + posterior.scale * noise[block][e, start : start + len(x)])
            for block, sources in design["blocks"].items():
                used[block] += len(x) if source in sources else 0
            f = member_mlp(model.decoder, e, torch.cat(latents, -1))
            log_prob = Normal(f, 1.0).log_prob(x).sum(-1).mean() + 3 * math.log(
                2 * math.pi
            )  # constant is added by data
            torch.testing.assert_close(result.elbo[k, e], log_prob - sum(kls.values()))
            for block, value in kls.items():
                torch.testing.assert_close(result.kl[source, block][e], value)
    assert set(result.kl) == {(s, b) for b, sources in design["blocks"].items() for s in sources}


def member_mlp(mlp, e, x):
    *hidden, last = mlp.layers
    for layer in hidden:
        x = torch.nn.functional.leaky_relu(x @ layer.weight[e] + layer.bias[e], 0.2)
    return x @ last.weight[e] + last.bias[e]


def test_gradient_of_the_elbo():
    """The gradient by hand, through stack, reparametrised sample and twist, against finite differences."""
    spec = fit_spec(
        (0,), dims={"background": 2, "salient": 2}, training={"precision": "float64"},
        model={
            "twist": {"angle": 1.5, "block": "background", "by": "salient"},
            "encoder_activation": "tanh", "decoder_activation": "silu",
        },
    )  # fmt: skip
    model = build_model(spec, 4)
    flat = flatten_parameters(model, 1)
    batch, noise = batch_and_noise(spec, rows=3, n_features=4)
    gradient = ElboGradient(model, flat)
    gradient.forward(batch, noise)
    gradient.backward()
    step = 1e-6
    for i in range(flat.shape[1]):
        ends = []
        for sign in (1, -1):
            flat[0, i] += sign * step
            ends.append(-model(batch, noise).elbo.sum())
            flat[0, i] -= sign * step
        expected = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(gradient.together[0, i], expected, rtol=1e-5, atol=1e-7)


def test_an_inactive_block_enters_the_decoder_as_zeros():
    spec = fit_spec(training={"precision": "float64"})
    model = build_model(spec, 6)
    batch, noise = batch_and_noise(spec)
    before = model(batch, noise).elbo.detach().clone()
    with torch.no_grad():
        model.decoder.layers[0].weight[:, 2:] += 1.0  # rows of the salient block
    after = model(batch, noise).elbo
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_twisted_posterior_has_the_elbo_of_the_plain_model():
    """Decoder net o T^-1 with posterior T(q): the same evidence from other latents, exactly."""
    twist = {"angle": 2.0, "block": "background", "by": "salient"}
    plain = fit_spec(dims={"background": 5, "salient": 3}, training={"precision": "float64"})
    twisted = fit_spec(
        dims={"background": 5, "salient": 3}, training={"precision": "float64"},
        model={"twist": twist, "posterior": "twisted"},
    )  # fmt: skip
    a, b = build_model(plain, 6), build_model(twisted, 6)
    b.load_state_dict(a.state_dict())
    batch, noise = batch_and_noise(plain)
    torch.testing.assert_close(a(batch, noise).elbo, b(batch, noise).elbo)
    u, v = a.block_means(batch.x, "target"), b.block_means(batch.x, "target")
    torch.testing.assert_close(v["salient"], u["salient"])
    assert (v["background"] - u["background"])[..., :4].abs().max() > 0.05
    torch.testing.assert_close(v["background"].norm(dim=-1), u["background"].norm(dim=-1))
    # In the background source nothing is twisted.
    torch.testing.assert_close(
        a.block_means(batch.x, "background")["background"],
        b.block_means(batch.x, "background")["background"],
    )


def test_posterior_means_do_not_depend_on_chunks(monkeypatch):
    spec = fit_spec(training={"steps": 3})
    x = observations(spec)
    model = train(spec, x, [0, 1, 2]).model
    whole = posterior_means(model, x["target"], [0, 1, 2], "target")
    monkeypatch.setattr("cdgm.models.inference.CHUNK", 13)
    parts = posterior_means(model, x["target"], [0, 1, 2], "target")
    for block in whole:
        np.testing.assert_allclose(whole[block], parts[block], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_held_out_bounds_are_means_over_rows(monkeypatch):
    """Sources of unequal size, cut into unequal chunks, still give plain means over rows."""
    spec = fit_spec(training={"steps": 3, "precision": "float64"})
    x = {"background": observations(spec, n=5)["background"], "target": observations(spec, n=90)["target"]}
    model = train(spec, x, [0, 1, 2]).model
    generators = lambda: [np.random.default_rng(i) for i in range(3)]  # noqa: E731
    whole, kl = held_out_bounds(model, x, [0, 1, 2], generators(), draws=300)
    monkeypatch.setattr("cdgm.models.inference.CHUNK", 10)
    parts, kl_parts = held_out_bounds(model, x, [0, 1, 2], generators(), draws=300)
    for key in kl:
        np.testing.assert_allclose(kl[key], kl_parts[key], rtol=1e-9)
    for source in whole:
        np.testing.assert_allclose(whole[source], parts[source], rtol=0.02)


def test_a_stack_is_saved_and_loaded(tmp_path):
    spec = fit_spec(training={"steps": 3})
    x = observations(spec)
    trained = train(spec, x, [0, 1, 2])
    save_stack(tmp_path / "model.npz", trained.model, trained.finite)
    loaded, finite = load_stack(tmp_path / "model.npz", spec)
    assert finite.tolist() == [True] * 3
    for a, b in zip(trained.model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a, b)
