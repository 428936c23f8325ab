"""HSIC and MMD of stacks agree with loops and the metrics; gradients, invariances and float32 hold."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from cdgm.evaluation.metrics import independence
from cdgm.objectives.kernels import MM_CVAE_GAMMAS, expected_distance, hsic, mmd2, mmd2_point, prior_gamma

ESTIMATORS = ["unbiased", "biased"]


def normal(seed, *shape, scale=1.0, dtype=torch.float64):
    return torch.from_numpy(scale * np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def rbf(a, b, gammas):
    """Sum of RBF kernels of two points."""
    return sum(math.exp(-gamma * float(((a - b) ** 2).sum())) for gamma in gammas)


@pytest.mark.parametrize("dim", [1, 2, 7, 50, 3000])
def test_expected_distance(dim):
    assert expected_distance(dim) == pytest.approx(independence.expected_distance(dim), rel=1e-9)
    # Two standard normals are sqrt(2 d) apart in the limit.
    assert expected_distance(dim) == pytest.approx(math.sqrt(2 * dim - 1), rel=0.13 / dim)


def test_hsic_is_that_of_the_metrics():
    x, y = normal(2, 3, 40, 5), normal(3, 3, 40, 3)
    y[1] += x[1, :, :3]
    for estimator, oracle in (
        ("biased", independence.hsic_biased),
        ("unbiased", independence.hsic_unbiased),
    ):
        expected = [oracle(a.numpy(), b.numpy()) for a, b in zip(x, y, strict=True)]
        np.testing.assert_allclose(hsic(x, y, estimator), expected, atol=1e-14)


@pytest.mark.parametrize("gammas", [None, (0.1, 2.0), MM_CVAE_GAMMAS])
def test_mmd_is_the_mean_over_pairs(gammas):
    x, y = normal(4, 1, 5, 3), 0.5 + normal(5, 1, 7, 3, scale=2.0)
    a, b = x[0].numpy(), y[0].numpy()
    widths = gammas or [prior_gamma(3)]

    def mean(p, q, distinct):
        pairs = itertools.product(range(len(p)), range(len(q)))
        return np.mean([rbf(p[i], q[j], widths) for i, j in pairs if not distinct or i != j])

    for estimator, distinct in (("unbiased", True), ("biased", False)):
        cross = mean(a, b, False)
        expected = mean(a, a, distinct) + mean(b, b, distinct) - 2 * cross
        assert mmd2(x, y, estimator, gammas).item() == pytest.approx(expected, abs=1e-13)
        zeros = torch.zeros(1, 4, 3, dtype=torch.float64)
        expected = mmd2(x, zeros, estimator, gammas).item()
        assert mmd2_point(x, estimator, gammas).item() == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients(estimator):
    x, y = normal(6, 2, 7, 3).requires_grad_(), normal(7, 2, 7, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: hsic(a, b, estimator), (x, y))
    z = normal(8, 2, 5, 3).requires_grad_()
    for gammas in (None, (0.05, 0.5, 3.0)):
        assert torch.autograd.gradcheck(lambda a, b, g=gammas: mmd2(a, b, estimator, g), (x, z))
        assert torch.autograd.gradcheck(lambda a, g=gammas: mmd2_point(a, estimator, g), (x,))


@pytest.mark.parametrize("statistic", [hsic, mmd2, partial(mmd2, gammas=(0.05, 0.5))])
def test_gradients_by_one_argument_and_in_float32(statistic):
    """One argument's gradient is the same with and without the other's, and float32 keeps six digits."""
    x, y = normal(9, 3, 40, 4), 0.5 + normal(10, 3, 40, 4)
    y = y + 0.5 * x

    def gradients(first, second, dtype=torch.float64):
        rows = x.to(dtype).requires_grad_(first), y.to(dtype).requires_grad_(second)
        weights = torch.tensor([1.0, -2.0, 3.0], dtype=dtype)
        return torch.autograd.grad(
            (weights * statistic(*rows)).sum(), [part for part in rows if part.requires_grad]
        )

    by_x, by_y = gradients(True, True)
    torch.testing.assert_close(gradients(True, False)[0], by_x, rtol=0, atol=0)
    torch.testing.assert_close(gradients(False, True)[0], by_y, rtol=0, atol=0)
    for found, exact in zip(gradients(True, True, torch.float32), (by_x, by_y), strict=True):
        assert (found - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_invariances(estimator):
    x, y = normal(19, 2, 30, 4), normal(20, 2, 30, 3)
    y[..., 0] += x[..., 0]
    rotation = torch.linalg.qr(normal(21, 4, 4))[0]
    order = torch.from_numpy(np.random.default_rng(22).permutation(30))
    value, discrepancy = hsic(x, y, estimator), mmd2(x[..., :3], y, estimator)
    close = dict(rtol=0, atol=1e-14)
    torch.testing.assert_close(hsic(x[:, order], y[:, order], estimator), value, **close)
    torch.testing.assert_close(hsic(x @ rotation + 3.0, y, estimator), value, **close)
    torch.testing.assert_close(hsic(y, x, estimator), value, **close)
    assert (hsic(x, y[:, order], estimator) - value).abs().min() > 1e-4
    turn = torch.linalg.qr(normal(23, 3, 3))[0]
    moved = mmd2(x[:, order, :3] @ turn - 5.0, y @ turn - 5.0, estimator)
    torch.testing.assert_close(moved, discrepancy, rtol=0, atol=1e-13)
    torch.testing.assert_close(mmd2(y, x[..., :3], estimator), discrepancy, **close)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_collapsed_blocks(estimator):
    x, still = normal(24, 2, 20, 3), torch.full((2, 20, 2), 3.7, dtype=torch.float64).requires_grad_()
    value = hsic(x, still, estimator)
    assert value.abs().max() < 1e-15
    assert torch.autograd.grad(value.sum(), still)[0].abs().max() < 1e-15
    zeros = torch.zeros(2, 20, 3, dtype=torch.float64)
    assert mmd2(zeros, zeros[:, :7], estimator).tolist() == [0.0, 0.0]
    assert mmd2_point(zeros, estimator, MM_CVAE_GAMMAS).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01])
def test_float32_is_accurate(estimator, scale):
    """Relative to the statistic's own noise, also where blocks have shrunk and sit off the origin."""
    x, y = normal(25, 8, 64, 5, scale=scale), normal(26, 8, 64, 5, scale=scale)
    y = y + 0.5 * x
    # Rows that both precisions can hold, so that only the arithmetic is compared.
    a, b = (x + 1).float(), (y - 2).float()
    exact = hsic(a.double(), b.double(), estimator)
    exact_mmd = mmd2(a.double(), (b + 3 + scale).double(), estimator)
    torch.testing.assert_close(hsic(a, b, estimator).double(), exact, rtol=2e-4, atol=2e-5 * scale**4)
    torch.testing.assert_close(
        mmd2(a, b + 3 + scale, estimator).double(), exact_mmd, rtol=2e-4, atol=2e-5 * scale**2
    )


def test_a_member_does_not_feel_its_neighbours():
    x, y = normal(27, 3, 12, 3, dtype=torch.float32), normal(28, 3, 12, 3, dtype=torch.float32)
    broken = x.clone()
    broken[1, 4, 0] = math.nan
    broken[1, 5, 0] = math.inf
    for statistic in (hsic, mmd2, lambda a, b: mmd2_point(a) + 0 * b.sum((1, 2))):
        results = []
        for rows in (x, broken):
            leaves = rows.clone().requires_grad_(), y.clone().requires_grad_()
            value = statistic(*leaves)
            gradients = torch.autograd.grad(value.sum(), leaves)
            results.append((value.detach(), *gradients))
        for clean, dirty in zip(*results, strict=True):
            assert torch.equal(clean[::2], dirty[::2])
        assert results[1][0][1].isnan()
        assert results[0][0].isfinite().all()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="pairs"):
        hsic(normal(0, 1, 5, 2), normal(0, 1, 6, 2))
    with pytest.raises(ValueError, match="compares"):
        mmd2(normal(0, 1, 5, 2), normal(0, 1, 5, 3))
    with pytest.raises(ValueError, match="4 rows or more, got 3"):
        hsic(normal(0, 1, 3, 2), normal(0, 1, 3, 2))
    with pytest.raises(ValueError, match="2 rows or more, got 1"):
        mmd2(normal(0, 1, 3, 2), normal(0, 1, 1, 2))


@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("gammas", [None, MM_CVAE_GAMMAS], ids=["prior", "mm_cvae"])
def test_gradients_keep_their_digits_in_float32(gammas, scale):
    """Gammas up to 1e6 leave five digits: neither far pairs nor a row and itself drown the rest."""
    x, y = normal(41, 2, 128, 10, scale=scale), 0.1 + normal(42, 2, 128, 10, scale=scale)
    for statistic in (
        lambda rows: mmd2(rows, y.to(rows.dtype), gammas=gammas),
        lambda rows: mmd2_point(rows, gammas=gammas),
    ):
        exact, single = (
            torch.autograd.grad(statistic(rows).sum(), rows)[0]
            for rows in (x.clone().requires_grad_(), x.float().requires_grad_())
        )
        assert torch.linalg.norm(single - exact) < 1e-5 * torch.linalg.norm(exact)
