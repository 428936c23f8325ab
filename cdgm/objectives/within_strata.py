r"""HSIC and MMD within strata: rows that agree in all categorical covariates, such as cells of one batch.

What all cells of a batch have in common makes blocks depend on each other and sources differ, and says
nothing about a fit that was told of the batch. Within strata it drops out. Each statistic is the mean of
its unbiased estimates in the strata, weighted by their numbers of rows,

.. math:: \sum_b \frac{n_b}{n}\,\mathrm{HSIC}(x_b, y_b),

as the U-statistic of a conditional independence given b (Fukumizu et al. 2008 condition by kernels on a
variable of any kind; for a discrete one this is the plain form). Its null permutes rows within strata. These
permutations are independent, so the moments of the strata add.

Members of a stack have strata of different sizes, hence one matrix (E, n, n) that says which rows belong
together, in place of a loop over strata.
"""

# Torch's own types are partial (Function.apply, unique).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cdgm.objectives.kernels import (
    and_ones,
    centred_rows,
    negative_squared_distances,
    prior_gamma,
    pull_rows,
    scaled,
    sum_of_kernels,
)
from cdgm.objectives.null_quantiles import NullMoments, hsic_null, mmd_null
from cdgm.utils.errors import UserError

#: Rows of a stratum below which unbiased HSIC, and of a source in it below which MMD, does not exist.
FEWEST_PAIRS, FEWEST_ROWS = 4, 2


def same_stratum(covariates: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Whether two rows agree in all categorical covariates, as 0 and 1 (E, n, n).

    Parameters
    ----------
    covariates
        Covariates of the rows (E, n, C), categories one-hot. Without a categorical one all rows agree.
    dtype
        Type of the result.

    Raises
    ------
    UserError
        If there are no covariates.
    """
    hot = _one_hot(covariates)
    return ((hot @ hot.mT) == hot.sum(-1, keepdim=True)).to(dtype)


def hsic_within(x: Tensor, y: Tensor, covariates: Tensor | None) -> Tensor:
    """Mean over strata of unbiased HSIC of each member (E,), with its graph.

    Strata of fewer than :data:`FEWEST_PAIRS` rows count as 0.

    Parameters
    ----------
    x, y
        Paired rows (E, n, p) and (E, n, q).
    covariates
        As in :func:`same_stratum`.
    """
    return _HSICWithin.apply(x, y, same_stratum(covariates, x.dtype))


def hsic_within_null(x: Tensor, y: Tensor, covariates: Tensor | None) -> NullMoments:
    """Moments of :func:`hsic_within` when the rows of one block are shuffled within strata."""

    def of_stratum(member: int, rows: Tensor) -> NullMoments | None:
        if len(rows) < FEWEST_PAIRS:
            return None
        return hsic_null(x[member, rows][None], y[member, rows][None])

    return _summed(covariates, of_stratum)


def mmd2_within(
    samples: Sequence[Tensor], covariates: Sequence[Tensor | None], gammas: Sequence[float] | None = None
) -> Tensor:
    """Mean over strata of the sum over pairs of samples of unbiased squared MMD (E,), with its graph.

    A stratum compares the samples that have :data:`FEWEST_ROWS` rows in it.

    Parameters
    ----------
    samples
        Two or more samples (E, n_k, d).
    covariates
        Of the rows of each, as in :func:`same_stratum`.
    gammas
        As in :func:`cdgm.objectives.kernels.mmd2`.
    """
    pooled = torch.cat(list(samples), dim=1)
    same = same_stratum(_pooled(covariates), pooled.dtype)
    origin = torch.cat([torch.full((s.shape[1],), k) for k, s in enumerate(samples)]).to(pooled.device)
    marks = torch.nn.functional.one_hot(origin).to(pooled.dtype)
    counts = same @ marks  # of each sample in the stratum of each row (E, N, K)
    there = (counts >= FEWEST_ROWS).to(pooled.dtype)
    counts = counts.clamp(min=FEWEST_ROWS)
    # Each row's weight within and between samples; those of two rows multiply, or one row's is enough.
    others = there.sum(-1, keepdim=True) - 1.0
    within = ((there * others / (counts * (counts - 1))) * marks).sum(-1)
    between = ((there / counts) * marks).sum(-1)
    share = same.sum(-1) / pooled.shape[1]
    alike = marks @ marks.T
    weights = alike * within.unsqueeze(2) - (1.0 - alike) * between.unsqueeze(2) * between.unsqueeze(1)
    weights = weights * same * share.unsqueeze(2)
    weights.diagonal(dim1=1, dim2=2).zero_()
    return _WeightedPairs.apply(
        pooled, weights, (prior_gamma(pooled.shape[2]),) if gammas is None else gammas
    )


def mmd_within_null(
    samples: Sequence[Tensor], covariates: Sequence[Tensor | None], gammas: Sequence[float] | None = None
) -> NullMoments:
    """Moments of :func:`mmd2_within` when rows are shuffled between samples within strata."""
    pooled = torch.cat(list(samples), dim=1)
    ends = torch.tensor([s.shape[1] for s in samples], device=pooled.device).cumsum(0)

    def of_stratum(member: int, rows: Tensor) -> NullMoments | None:
        origin = torch.bucketize(rows, ends, right=True)
        parts = [pooled[member, rows[origin == k]][None] for k in range(len(samples))]
        parts = [part for part in parts if part.shape[1] >= FEWEST_ROWS]
        return mmd_null(*parts, gammas=gammas) if len(parts) > 1 else None

    return _summed(_pooled(covariates), of_stratum)


def _one_hot(covariates: Tensor | None) -> Tensor:
    """The columns of categories (E, n, C): a number in deviations is not 0 or 1 in all rows."""
    if covariates is None:
        raise UserError("within_covariates: got a model without covariates, expected one with some")
    return covariates[..., ((covariates == 0) | (covariates == 1)).all(0).all(0)]


def _pooled(covariates: Sequence[Tensor | None]) -> Tensor | None:
    known = [c for c in covariates if c is not None]
    return torch.cat(known, dim=1) if known else None


def _summed(
    covariates: Tensor | None, of_stratum: Callable[[int, Tensor], NullMoments | None]
) -> NullMoments:
    """Moments (E,) of a mean over strata, of which ``of_stratum`` gives those of one member's rows."""
    hot = _one_hot(covariates)
    mean, variance = hot.new_zeros(2, len(hot), dtype=torch.float64)
    for member, rows in _strata(hot):
        found, share = of_stratum(member, rows), len(rows) / hot.shape[1]
        if found is not None:
            mean[member] += share * found.mean_biased[0]
            variance[member] += share**2 * found.variance[0]
    return NullMoments(mean, variance)


def _strata(hot: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each member with the rows of each of its strata."""
    for member, columns in enumerate(hot):
        which = torch.unique(columns, dim=0, return_inverse=True)[1]
        for stratum in range(int(which.max()) + 1):
            yield member, torch.nonzero(which == stratum).squeeze(1)


class _HSICWithin(torch.autograd.Function):
    """:func:`hsic_within`; the gradients are formed in the forward pass, where the kernels are at hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, same: Tensor) -> Tensor:
        sizes = same.sum(-1)
        share = torch.where(sizes >= FEWEST_PAIRS, sizes / x.shape[1], 0.0)
        s = sizes.clamp(min=FEWEST_PAIRS)
        # The factors of the unbiased estimate (kernels.hsic_coefficients), of the stratum of each row.
        a = share / (s * (s - 3.0))
        b, c = a / ((s - 1.0) * (s - 2.0)), -2.0 * a / (s - 2.0)
        x, y = centred_rows(x), centred_rows(y)
        gamma_x, gamma_y = prior_gamma(x.shape[2]), prior_gamma(y.shape[2])
        k = negative_squared_distances(x, gamma_x).expm1_().mul_(same)
        m = negative_squared_distances(y, gamma_y).expm1_().mul_(same)
        k_rows, m_rows = k.sum(-1), m.sum(-1)
        k_sum, m_sum = ((same @ rows.unsqueeze(2)).squeeze(2) for rows in (k_rows, m_rows))
        value = (a * (k * m).sum(-1) + b / s * k_sum * m_sum + c * k_rows * m_rows).sum(-1)

        def gradient(
            own: Tensor, other: Tensor, rows: Tensor, total: Tensor, u: Tensor, gamma: float
        ) -> Tensor:
            side = (c * rows + b * total) / 2.0
            weights = (a.unsqueeze(2) * other + side.unsqueeze(2) + side.unsqueeze(1)) * same
            weights.addcmul_(weights, own)  # the kernel is the shifted one plus 1
            columns = and_ones(u)
            return pull_rows(weights, columns, columns, -4.0 * gamma)

        needs_x, needs_y = ctx.needs_input_grad[:2]
        ctx.save_for_backward(
            gradient(k, m, m_rows, m_sum, x, gamma_x) if needs_x else None,
            gradient(m, k, k_rows, k_sum, y, gamma_y) if needs_y else None,
        )
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(ctx, grad_outputs[0]), None)


class _WeightedPairs(torch.autograd.Function):
    """Sum over pairs of rows of a symmetric weight (E, n, n) times the kernel, less its value at 0."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, weights: Tensor, gammas: Sequence[float]) -> Tensor:
        needed = ctx.needs_input_grad[0]
        u = centred_rows(u)
        kernel, slope = sum_of_kernels(negative_squared_distances(u), gammas, slope=needed)
        by_u = None
        if slope is not None:
            columns = and_ones(u)
            by_u = pull_rows(slope.mul_(weights), columns, columns, -4.0)
        ctx.save_for_backward(by_u)
        return (kernel * weights).sum((1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(ctx, grad_outputs[0]), None, None)
