"""HSIC and MMD within strata equal the plain ones stratum by stratum; nulls are those of permutations."""

import itertools

import numpy as np
import pytest
import torch

from cdgm.config.validation import validated
from cdgm.objectives.kernels import MM_CVAE_GAMMAS, hsic, mmd2
from cdgm.objectives.null_quantiles import quantile
from cdgm.objectives.penalties import PENALTIES
from cdgm.objectives.within_strata import (
    hsic_within,
    hsic_within_null,
    mmd2_within,
    mmd_within_null,
    same_stratum,
)
from cdgm.utils.errors import UserError

MEMBERS, N = 2, 60


def columns(strata: np.ndarray, *more: np.ndarray) -> torch.Tensor:
    """Covariates (E, n, C) of strata (E, n), with further columns."""
    hot = np.eye(strata.max() + 1)[strata]
    return torch.as_tensor(np.concatenate([hot, *more], axis=2))


def drawn(n: int = N, seed: int = 0, members: int = MEMBERS):
    """Unequal strata (E, n), one of three rows in the first member, and rows (E, n, 3) that know them."""
    rng = np.random.default_rng(seed)
    strata = rng.choice(3, (members, n), p=[0.6, 0.3, 0.1])
    strata[0, strata[0] == 2] = 0
    strata[0, :3] = 2
    rows = rng.standard_normal((members, n, 3)) + 2.0 * strata[..., None]
    return strata, torch.as_tensor(rows)


def test_hsic_within_strata_is_the_mean_over_strata():
    strata, x = drawn()
    y = torch.as_tensor(np.random.default_rng(1).standard_normal((MEMBERS, N, 2))) + x[..., :2]
    x, y = x.requires_grad_(), y.requires_grad_()
    found = hsic_within(x, y, columns(strata))
    expected = []
    for e in range(MEMBERS):
        parts = [torch.as_tensor(np.flatnonzero(strata[e] == b)) for b in range(3)]
        expected.append(sum(len(i) / N * hsic(x[e, i][None], y[e, i][None])[0] for i in parts if len(i) > 3))
    torch.testing.assert_close(found, torch.stack(expected))
    weights = torch.tensor([1.0, -2.0])
    own = torch.autograd.grad((weights * found).sum(), (x, y))
    torch.testing.assert_close(own, torch.autograd.grad((weights * torch.stack(expected)).sum(), (x, y)))


@pytest.mark.parametrize("gammas", [None, MM_CVAE_GAMMAS[5:8]])
def test_mmd_within_strata_is_the_mean_over_strata(gammas):
    rows = [drawn(n, seed) for n, seed in ((40, 0), (50, 1), (30, 2))]
    rows[2][0][1] = 0  # one of three samples is in one stratum only
    samples = [x.requires_grad_() for _, x in rows]
    found = mmd2_within(samples, [columns(strata) for strata, _ in rows], gammas)
    expected = []
    for e, b in itertools.product(range(MEMBERS), range(3)):
        parts = [x[e, torch.as_tensor(np.flatnonzero(s[e] == b))][None] for s, x in rows]
        share = sum(part.shape[1] for part in parts) / 120
        pairs = itertools.combinations([part for part in parts if part.shape[1] > 1], 2)
        expected.append(share * sum(mmd2(p, q, gammas=gammas)[0] for p, q in pairs))
    expected = torch.stack(expected).view(MEMBERS, 3).sum(1)
    torch.testing.assert_close(found, expected)
    own = torch.autograd.grad(found.sum(), samples)
    torch.testing.assert_close(own, torch.autograd.grad(expected.sum(), samples))


def test_what_strata_explain_is_no_dependence():
    strata, x = drawn(300)
    _, y = drawn(300, 5)
    y = y + 3.0 * torch.as_tensor(strata)[..., None]
    known = columns(strata)
    assert (hsic(x, y) > 10 * quantile(hsic_within_null(x, y, known), 0.05)).all()
    assert (hsic_within(x, y, known) < quantile(hsic_within_null(x, y, known), 0.01)).all()


def test_rows_agree_in_all_categories_and_not_in_numbers():
    batch, lane = np.array([[0, 0, 1, 1, 0]]), np.array([[0, 1, 0, 0, 0]])
    numbers = np.random.default_rng(0).standard_normal((1, 5, 1))
    same = same_stratum(columns(batch, np.eye(2)[lane], numbers), torch.float64)[0]
    assert same.tolist() == [
        [1, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1],
    ]  # fmt: skip
    assert same_stratum(torch.as_tensor(numbers), torch.float64).all()
    with pytest.raises(UserError, match="within_covariates: got a model without covariates"):
        same_stratum(None, torch.float64)


def shuffled(strata: np.ndarray, rng) -> torch.Tensor:
    order = np.arange(len(strata))
    for b in np.unique(strata):
        rows = np.flatnonzero(strata == b)
        order[rows] = rng.permutation(rows)
    return torch.as_tensor(order)


def test_nulls_are_those_of_permutations_within_strata():
    rng = np.random.default_rng(0)
    strata, x = drawn(120, members=1)
    _, y = drawn(120, 1, members=1)
    known = columns(strata)
    orders = [shuffled(strata[0], rng) for _ in range(400)]
    values = hsic_within(
        x.expand(400, -1, -1), torch.stack([y[0, o] for o in orders]), known.expand(400, -1, -1)
    )
    moments = hsic_within_null(x, y, known)
    assert abs(values.mean()) < 3 * values.std() / 20
    assert values.var() == pytest.approx(moments.variance.item(), rel=0.25)
    assert values.quantile(0.95) == pytest.approx(quantile(moments, 0.05).item(), rel=0.2)

    # Rows of both samples are shuffled within their stratum.
    mixed = torch.stack([x[0, o] for o in orders])
    parts = [known[:, :70], known[:, 70:]]
    values = mmd2_within([mixed[:, :70], mixed[:, 70:]], [p.expand(400, -1, -1) for p in parts])
    moments = mmd_within_null([x[:, :70], x[:, 70:]], parts)
    assert abs(values.mean()) < 3 * values.std() / 20
    assert values.var() == pytest.approx(moments.variance.item(), rel=0.25)
    assert values.quantile(0.95) == pytest.approx(quantile(moments, 0.05).item(), rel=0.2)


@pytest.mark.parametrize("more", [{"kind": "hsic"}, {"kind": "mmd_shared", "kernel": "expected_distance"}])
def test_biased_estimates_within_strata_are_refused(more):
    options = {"of": "means", "within_covariates": True, **more}
    assert validated(PENALTIES.parse, options | {"estimator": "unbiased"}, "penalty").within_covariates
    with pytest.raises(UserError, match="within_covariates needs the unbiased estimator"):
        validated(PENALTIES.parse, options | {"estimator": "biased"}, "penalty")
