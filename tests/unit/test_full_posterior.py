"""Posteriors with all correlations: their KL terms, and the bias of mean field that they take away."""

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from cdgm.models.comparative_vae import ComparativeVAE, divergence
from cdgm.models.full_posterior import earlier_blocks, full_width
from cdgm.models.source_data import SourceData, assemble
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec

DIMS = {"background": 3, "salient": 2}


def made(posterior, dims, design=CONTRASTIVE, rows=50):
    """An untrained linear stack of one member, one target row many times, and noise."""
    layers = {"encoder_hidden": [], "decoder_hidden": []}
    spec = fit_spec((0,), design, dims, layers | {"posterior": posterior}, {"precision": "float64"})
    model = ComparativeVAE(spec.model, 6, 1).double()
    # The decoder's numbers first, so that posteriors with more or fewer numbers have the same.
    rng = np.random.default_rng(2)
    for parameter in [*model.decoder.parameters(), *model.encoders.parameters()]:
        parameter.data = torch.from_numpy(0.4 * rng.standard_normal(parameter.shape))
    model.likelihood_parameters["log_sd"].data.fill_(-1.5)
    x = np.repeat(np.random.default_rng(3).standard_normal((1, 1, 6)), rows, axis=1)
    data = {s: SourceData(x, [0], model.likelihood, torch.float64) for s in model.design.sources}
    batch = assemble(data, {s: torch.arange(rows).expand(1, -1) for s in data})
    noise = {
        b: torch.from_numpy(rng.standard_normal((1, rows * len(model.encoded(b)), d)))
        for b, d in dims.items()
    }
    return model, batch, noise


def factor_of(output, d, earlier):
    """Diagonal and entries of C, (d, earlier + d) with the unit diagonal, of one row's encoder output."""
    c = np.zeros((d, earlier + d))
    entries = iter(output[2 * d :])
    for i in range(d):
        c[i, : earlier + i] = [next(entries) for _ in range(earlier + i)]
        c[i, earlier + i] = 1.0
    return np.exp(0.5 * output[d : 2 * d])[:, None] * c


def test_kl_terms_add_up_to_that_of_the_joint_gaussian():
    model, batch, noise = made("full_covariance", DIMS)
    result = model(batch, noise)
    x = batch.x[:, batch.rows["target"]][0, 0]
    mean, factor = np.zeros(5), np.zeros((5, 5))
    for block, place in (("background", slice(0, 3)), ("salient", slice(3, 5))):
        output = model.encoders[block](x[None, None])[0, 0].detach().numpy()
        d = DIMS[block]
        mean[place] = output[:d]
        factor[place, : place.stop] = factor_of(output, d, place.start)
    joint = MultivariateNormal(torch.from_numpy(mean), scale_tril=torch.from_numpy(factor))
    prior = MultivariateNormal(torch.zeros(5).double(), torch.eye(5).double())
    total = sum(result.kl["target", block] for block in DIMS)
    torch.testing.assert_close(total[0], kl_divergence(joint, prior))
    for (source, block), posterior in result.posteriors.items():
        torch.testing.assert_close(divergence(posterior).mean(1), result.kl[source, block])
    samples = np.concatenate([result.posteriors["target", b].sample[0].numpy() for b in DIMS], axis=1)
    drawn = np.concatenate([noise["background"][0, 50:], noise["salient"][0]], axis=1)
    np.testing.assert_allclose(samples, mean + drawn @ factor.T)
    variance = np.concatenate([result.posteriors["target", b].log_variance[0, 0].exp() for b in DIMS])
    np.testing.assert_allclose(variance, np.square(factor).sum(1))


def test_the_bound_is_tight_where_mean_field_leaves_a_gap():
    """In a linear Gaussian model a full posterior can be the true one; its bound is log p(x) then.

    The best mean-field posterior has the diagonal of the true precision, and loses a KL divergence.
    """
    model, batch, noise = made("full_covariance", DIMS, rows=4_000)
    weight = model.decoder.layers[0].weight[0].detach().numpy()
    bias = model.decoder.layers[0].bias[0, 0].detach().numpy()
    variance = float(model.likelihood_parameters["log_sd"].detach().exp()) ** 2
    x = batch.x[0, -1].numpy()
    evidence = MultivariateNormal(
        torch.from_numpy(bias), torch.from_numpy(weight.T @ weight + variance * np.eye(6))
    ).log_prob(torch.from_numpy(x))
    precision = weight @ weight.T / variance + np.eye(5)
    covariance = np.linalg.inv(precision)
    mean = covariance @ weight @ (x - bias) / variance
    root = np.linalg.cholesky(covariance)
    bounds = {}
    for posterior in ("full_covariance", "mean_field"):
        model, batch, noise = made(posterior, DIMS, rows=4_000)
        for block, place in (("background", slice(0, 3)), ("salient", slice(3, 5))):
            layer = model.encoders[block].layers[0]
            layer.weight.data.zero_()
            sd = np.diag(root)[place] if posterior == "full_covariance" else np.diag(precision)[place] ** -0.5
            entries = root[place, : place.stop] / sd[:, None]
            c = [v for i, row in enumerate(entries) for v in row[: place.start + i]]
            output = [*mean[place], *np.log(sd**2), *(c if posterior == "full_covariance" else [])]
            layer.bias.data[0, 0] = torch.tensor(output)
        bounds[posterior] = model(batch, noise).elbo[1, 0]
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert gap > 0.3
    assert abs(bounds["full_covariance"] - evidence) < 0.15
    assert abs(bounds["mean_field"] - evidence + gap) < 0.15


@pytest.mark.parametrize(
    ("design", "expected"),
    [
        (CONTRASTIVE, {"background": (), "salient": ("background",)}),
        (THREE_SOURCES, {"own": ("shared",), "shared": (), "pair": ("shared",)}),
    ],
)
def test_blocks_depend_on_those_that_are_active_wherever_they_are(design, expected):
    model, _, _ = made("full_covariance", dict.fromkeys(design["blocks"], 2), design)
    found = {block: earlier_blocks(model.design, block) for block in design["blocks"]}
    assert found == expected
    for block, earlier in expected.items():
        assert full_width(model.design, model.spec.dims, block) == 4 + 1 + 4 * len(earlier)
