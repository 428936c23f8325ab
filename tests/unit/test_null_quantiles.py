"""Closed-form permutation nulls agree with all permutations of few rows and with shuffles of many."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import gamma as gamma_law

from cdgm.objectives.kernels import (
    MM_CVAE_GAMMAS,
    centred_rows,
    hsic,
    mmd2,
    negative_squared_distances,
    prior_gamma,
)
from cdgm.objectives.null_quantiles import NullMoments, hsic_null, mmd_null, quantile


def normal(seed, *shape, scale=1.0, dtype=torch.float64):
    return torch.from_numpy(scale * np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def test_moments_of_hsic_are_those_of_all_permutations():
    n = 6
    x, y = normal(0, 1, n, 2), normal(1, 1, n, 3)
    y[..., 0] += x[..., 0]  # the null does not care
    orders = torch.tensor(list(itertools.permutations(range(n))))
    rows = x.expand(len(orders), n, 2)
    unbiased, biased = (hsic(rows, y[0][orders], e) for e in ("unbiased", "biased"))
    moments = hsic_null(x, y)
    assert unbiased.mean().item() == pytest.approx(0.0, abs=1e-16)
    assert moments.variance.item() == pytest.approx(unbiased.var(correction=0).item(), rel=1e-10)
    assert moments.mean_biased.item() == pytest.approx(biased.mean().item(), rel=1e-10)


@pytest.mark.parametrize("gammas", [None, MM_CVAE_GAMMAS], ids=["prior", "mm_cvae"])
@pytest.mark.parametrize("sizes", [(3, 4), (2, 2, 3)])
def test_moments_of_mmd_are_those_of_all_permutations(sizes, gammas):
    pooled = normal(2, sum(sizes), 2)
    orders = torch.tensor(list(itertools.permutations(range(len(pooled)))))
    samples = pooled[orders].split(sizes, dim=1)
    unbiased, biased = (
        sum(mmd2(a, b, estimator, gammas) for a, b in itertools.combinations(samples, 2))
        for estimator in ("unbiased", "biased")
    )
    moments = mmd_null(*(s[:1] for s in samples), gammas=gammas)
    assert unbiased.mean().item() == pytest.approx(0.0, abs=1e-14)
    assert moments.variance.item() == pytest.approx(unbiased.var(correction=0).item(), rel=1e-10)
    assert moments.mean_biased.item() == pytest.approx(biased.mean().item(), rel=1e-10)


def test_quantiles_are_a_shifted_gammas():
    mean = torch.tensor([1.0, 2.0, 0.3, 1e-9, 1e-30], dtype=torch.float64)
    shape = torch.tensor([0.5, 3.0, 40.0, 1.0, 2.0], dtype=torch.float64)
    moments = NullMoments(mean, mean**2 / shape)
    for alpha in (0.05, 0.01):
        law = gamma_law(shape.numpy(), scale=(mean / shape).numpy())
        expected = law.ppf(1 - alpha) - mean.numpy()
        np.testing.assert_allclose(quantile(moments, alpha), expected, rtol=0.035)
    two = moments + moments
    expected = gamma_law(2 * shape.numpy(), scale=(mean / shape).numpy()).ppf(0.95) - 2 * mean.numpy()
    np.testing.assert_allclose(quantile(two, 0.05), expected, rtol=0.035)


def shifted_kernel(x, gamma):
    """k(x_i, x_j) - 1 of the RBF kernel (E, n, n)."""
    return negative_squared_distances(centred_rows(x), gamma).expm1_()


def u_centred(kernel):
    """Székely & Rizzo (2014), definition 2."""
    n = len(kernel)
    rows = kernel.sum(1)
    kernel = kernel - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return kernel.fill_diagonal_(0.0)


def shuffled_quantiles(a, b, scale, draws, seed):
    """.95 and .99 quantiles of scale * sum of A_ij B_ij over shuffles of B."""
    rng = np.random.default_rng(seed)
    a, b = a.float(), b.float()
    values = torch.empty(draws)
    for i in range(draws):
        order = torch.from_numpy(rng.permutation(len(b)))
        values[i] = torch.dot(a.flatten(), b[order][:, order].flatten()) * scale
    return torch.quantile(values, torch.tensor([0.95, 0.99])).numpy()


# (rows, dims, scales) of the two blocks, and the relative error that is allowed at alpha .05 and .01. One
# dimension at full scale is the worst: the law is not quite a gamma's. 3,000 shuffles themselves leave the
# quantiles uncertain by about 3 and 5 %.
CASES = [
    (256, (5, 3), (1.0, 1.0), (0.08, 0.12)),
    (256, (5, 3), (0.1, 0.1), (0.08, 0.12)),
    (256, (10, 10), (0.5, 0.1), (0.08, 0.12)),
    (256, (1, 1), (1.0, 1.0), (0.12, 0.17)),
    (256, (1, 2), (0.1, 1.0), (0.12, 0.15)),
    (384, (5, 10), (0.5, 0.5), (0.08, 0.12)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "dims", "scales", "errors"), CASES)
def test_quantiles_of_hsic(n, dims, scales, errors):
    x, y = (normal(3 + i, n, d, scale=s) for i, (d, s) in enumerate(zip(dims, scales, strict=True)))
    y[:, 0] += 0.5 * y[:, 0].std() * x[:, 0] / x[:, 0].std()  # shuffling must undo this
    k, m = (u_centred(shifted_kernel(b[None], prior_gamma(b.shape[1]))[0]) for b in (x, y))
    expected = shuffled_quantiles(k, m, 1 / (n * (n - 3)), 3000, seed=5)
    moments = hsic_null(x[None].float(), y[None].float())
    found = np.array([quantile(moments, alpha).item() for alpha in (0.05, 0.01)])
    assert (abs(found / expected - 1) < errors).all(), found / expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "dim", "scale", "errors"),
    [
        ((128, 128), 5, 1.0, (0.1, 0.12)),
        ((200, 56), 5, 0.1, (0.08, 0.12)),
        ((128, 128), 1, 0.5, (0.12, 0.15)),
        ((100, 100, 56), 3, 0.5, (0.1, 0.12)),
    ],
)
def test_quantiles_of_mmd(sizes, dim, scale, errors):
    samples = [normal(7 + i, n, dim, scale=scale) for i, n in enumerate(sizes)]
    samples[0] += 0.6 * scale  # shuffling must undo this
    # The statistic is linear in the kernel: its weights on the pairs of rows, from the definition.
    n = sum(sizes)
    starts = np.cumsum([0, *sizes])
    weights = torch.zeros(n, n, dtype=torch.float64)
    for i, j in itertools.combinations(range(len(sizes)), 2):
        first, second = slice(*starts[i : i + 2]), slice(*starts[j : j + 2])
        weights[first, first] += 1 / (sizes[i] * (sizes[i] - 1))
        weights[second, second] += 1 / (sizes[j] * (sizes[j] - 1))
        weights[first, second] = weights[second, first] = -1 / (sizes[i] * sizes[j])
    weights.fill_diagonal_(0.0)
    kernel = shifted_kernel(torch.cat(samples)[None], prior_gamma(dim))[0]
    observed = sum(mmd2(a[None], b[None]) for a, b in itertools.combinations(samples, 2)).item()
    assert (weights * kernel).sum().item() == pytest.approx(observed, rel=1e-6)
    expected = shuffled_quantiles(weights, u_centred(kernel), 1.0, 3000, seed=8)
    moments = mmd_null(*(s[None].float() for s in samples))
    found = np.array([quantile(moments, alpha).item() for alpha in (0.05, 0.01)])
    assert (abs(found / expected - 1) < errors).all(), found / expected
    assert observed > expected[1]


@pytest.mark.slow
def test_rejections_come_at_the_rate_alpha():
    members = 2000
    x, y = normal(11, members, 64, 3, scale=0.3), normal(12, members, 64, 2)
    rates = [(hsic(x, y) > quantile(hsic_null(x, y), a)).double().mean().item() for a in (0.05, 0.01)]
    assert rates[0] == pytest.approx(0.05, abs=0.015)
    assert rates[1] == pytest.approx(0.01, abs=0.007)


def test_collapsed_blocks_have_level_zero():
    x = normal(9, 2, 30, 3, dtype=torch.float32)
    x[1] = 3.7
    for moments in (hsic_null(x, normal(10, 2, 30, 2, dtype=torch.float32)), mmd_null(x, x[:, :9])):
        level = quantile(moments, 0.05)
        assert level[0] > 1e-5
        assert abs(level[1]) < 1e-12
    tiny = 1e-12 * normal(9, 2, 30, 3, dtype=torch.float32)
    level = quantile(hsic_null(tiny, tiny), 0.05)
    assert level.isfinite().all()
    assert level.abs().max() < 1e-12
    zeros = torch.zeros(2, 30, 3)
    assert quantile(hsic_null(zeros, x), 0.01).tolist() == [0.0, 0.0]
    assert quantile(mmd_null(zeros, zeros), 0.01).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-2])
def test_float32_is_accurate(scale):
    x, y = normal(13, 2, 200, 5, scale=scale) + 1.0, normal(14, 2, 200, 3, scale=scale) - 2.0
    a, b = x.float(), y.float()
    for null in (hsic_null, lambda p, q: mmd_null(p[..., :3], q)):
        level = quantile(null(a, b), 0.05)
        torch.testing.assert_close(level, quantile(null(a.double(), b.double()), 0.05), rtol=1e-3, atol=0)


def test_a_member_does_not_feel_its_neighbours():
    x, y = normal(15, 3, 20, 3), normal(16, 3, 20, 3)
    broken = x.clone()
    broken[1, 0, 0] = torch.nan
    for null in (hsic_null, mmd_null):
        clean, dirty = (quantile(null(rows, y), 0.05) for rows in (x, broken))
        assert torch.equal(clean[::2], dirty[::2])
        assert dirty[1].isnan()
