r"""Kernel statistics of a stack of members: HSIC between two blocks, squared MMD between two samples.

All functions take (E, n, d) tensors and return (E,): one value a member, which no other member's rows
touch. Both statistics exist as V-statistic (``biased``) and U-statistic (``unbiased``). They and their
gradients are in closed form, since at the sizes of a minibatch autograd through (E, n, n) temporaries
would cost more than the model's own step.

The matrices hold :math:`k(x, x') - k(x, x)` and not :math:`k(x, x')`. The constant drops out of every
statistic here (their weights sum to 0 over rows). What is gained: the diagonal is an exact 0, so V and U
share one formula, and values of shrunken blocks, where all kernels are near 1, keep their digits in
float32.

Bandwidth: Lopez et al. (2018), fixed by the prior and so blind to the fit.
"""

# Torch's own types are partial (vecdot, Function.apply).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportIncompatibleMethodOverride=false
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Estimator = Literal["unbiased", "biased"]

#: Kernels of the MM-cVAE (Weinberger et al. 2022, public code): a sum of RBFs with these gammas.
MM_CVAE_GAMMAS: tuple[float, ...] = tuple(10.0**power for power in range(-6, 7))


def expected_distance(dim: int) -> float:
    r"""Mean distance of two independent N(0, I_dim) vectors, :math:`2\,\Gamma((d+1)/2) / \Gamma(d/2)`.

    The bandwidth of Lopez et al. (2018): fixed by the prior, and so blind to the fit.

    Raises
    ------
    ValueError
        If ``dim`` is below 1.
    """
    if dim < 1:
        raise ValueError(f"a block has 1 dimension or more, got {dim}")
    return 2.0 * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))


def prior_gamma(dim: int) -> float:
    r"""RBF gamma :math:`1 / (2 g^2)`, with g the expected distance under the prior."""
    return 0.5 / expected_distance(dim) ** 2


def hsic(x: Tensor, y: Tensor, estimator: Estimator = "unbiased") -> Tensor:
    r"""Hilbert-Schmidt independence criterion of each member, RBF kernels at the prior's bandwidth.

    Parameters
    ----------
    x, y
        Paired rows (E, n, p) and (E, n, q).
    estimator
        ``biased``: :math:`\operatorname{tr}(KHLH) / n^2` (Gretton et al. 2008, eq. 4), never negative.
        Under independence its mean is about :math:`(1 - \mu_x)(1 - \mu_y) / n` with
        :math:`\mu = (1 + 4 \gamma)^{-d/2}` for N(0, I) rows, and an *emptied* block lowers it to 0.
        ``unbiased``: Song et al. (2012), eq. 5, mean 0 under independence.

    Returns
    -------
    Tensor
        (E,), with its graph. The gradient is itself not differentiable.

    Raises
    ------
    ValueError
        If shapes don't fit or there are fewer than 4 rows (unbiased) or 2 (biased).
    """
    if x.ndim != 3 or y.ndim != 3 or x.shape[:2] != y.shape[:2]:
        raise ValueError(f"HSIC pairs (E, n, p) with (E, n, q), got {tuple(x.shape)}, {tuple(y.shape)}")
    return _HSIC.apply(x, y, *hsic_coefficients(x.shape[1], estimator))


def hsic_coefficients(n: int, estimator: Estimator) -> tuple[float, float, float]:
    """Factors a, b, c of HSIC = a sum(K L) + b sum(K) sum(L) + c (row sums of K) . (row sums of L).

    For n rows and kernels with zero diagonal, as this module holds them.
    """
    if estimator == "biased":
        _enough(n, 2, "the biased HSIC")
        return 1.0 / n**2, 1.0 / n**4, -2.0 / n**3
    _enough(n, 4, "the unbiased HSIC")
    a = 1.0 / (n * (n - 3))
    return a, a / ((n - 1) * (n - 2)), -2.0 * a / (n - 2)


def mmd2(
    x: Tensor, y: Tensor, estimator: Estimator = "unbiased", gammas: Sequence[float] | None = None
) -> Tensor:
    r"""Squared maximum mean discrepancy of each member (Gretton et al. 2012, lemma 6).

    Distances come from a matrix product. At gammas as large as the MM-cVAE's that is too coarse in
    float32 for rows that coincide: against a point mass use :func:`mmd2_point`.

    Parameters
    ----------
    x, y
        Samples (E, n, d) and (E, m, d).
    estimator
        ``biased`` (eq. 5; never negative but for rounding) or ``unbiased`` (eq. 3).
    gammas
        The kernel is the sum of ``exp(-gamma |.|^2)``; by default one, at the prior's bandwidth.

    Returns
    -------
    Tensor
        (E,), with its graph. The gradient is itself not differentiable.

    Raises
    ------
    ValueError
        If shapes don't fit, or a sample has fewer than 2 rows (unbiased).
    """
    if x.ndim != 3 or y.ndim != 3 or x.shape[::2] != y.shape[::2]:
        raise ValueError(f"MMD compares (E, n, d) with (E, m, d), got {tuple(x.shape)}, {tuple(y.shape)}")
    n, m = x.shape[1], y.shape[1]
    within = _within(n, estimator), _within(m, estimator)
    gammas = (prior_gamma(x.shape[2]),) if gammas is None else tuple(gammas)
    return _MMD.apply(x, y, (*within, -2.0 / (n * m)), gammas)


def mmd2_point(x: Tensor, estimator: Estimator = "unbiased", gammas: Sequence[float] | None = None) -> Tensor:
    """Squared MMD between each member's sample (E, n, d) and a point mass at 0; see :func:`mmd2`.

    It equals :func:`mmd2` against any number of rows of zeros, without the rounding.
    """
    gammas = (prior_gamma(x.shape[2]),) if gammas is None else tuple(gammas)
    squares = x.square().sum(-1)
    to_point = reduce(torch.add, (torch.expm1(-gamma * squares) for gamma in gammas)).mean(1)
    return _Pairs.apply(centred_rows(x), _within(x.shape[1], estimator), gammas) - 2.0 * to_point


def _within(n: int, estimator: Estimator) -> float:
    """Weight of a pair within a sample."""
    if estimator == "biased":
        return 1.0 / n**2
    _enough(n, 2, "the unbiased MMD")
    return 1.0 / (n * (n - 1))


def _enough(n: int, least: int, what: str) -> None:
    if n < least:
        raise ValueError(f"{what} needs {least} rows or more, got {n}")


def centred_rows(x: Tensor) -> Tensor:
    """Rows minus their mean: distances stay, and large offsets no longer cost digits."""
    return x - x.mean(dim=1, keepdim=True)


def negative_squared_distances(x: Tensor, scale: float = 1.0, y: Tensor | None = None) -> Tensor:
    """``-scale |x_i - y_j|^2`` (E, n, m), at most 0; without ``y`` within x, the diagonal exactly 0."""
    halves = x.square().sum(-1, keepdim=True).mul_(-scale)
    others = halves if y is None else y.square().sum(-1, keepdim=True).mul_(-scale)
    distances = torch.baddbmm(halves, x, (x if y is None else y).mT, alpha=2.0 * scale)
    distances += others.mT
    distances.clamp_(max=0.0)
    if y is None:
        distances.diagonal(dim1=1, dim2=2).zero_()
    return distances


def sum_of_kernels(
    exponent: Tensor, gammas: Sequence[float], slope: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Sum over gammas of exp(gamma exponent) - 1, and its derivative by the exponent if ``slope``."""
    first, *others = gammas
    kernel = torch.mul(exponent, first).expm1_()
    # gamma exp(.) = gamma (term + 1). Summed gamma by gamma: the sum of all gammas first (1e6 of MM-cVAE),
    # and what far pairs take off it, would leave nothing but rounding in float32.
    derivative = torch.add(kernel, 1.0).mul_(first) if slope else None
    for gamma in others:
        term = torch.mul(exponent, gamma).expm1_()
        kernel.add_(term)
        if derivative is not None:
            derivative.add_(term.add_(1.0), alpha=gamma)
    return kernel, derivative


def and_ones(x: Tensor) -> Tensor:
    """Rows x (E, n, d) as columns over a row of ones, (E, d + 1, n)."""
    columns = x.new_ones(x.shape[0], x.shape[2] + 1, x.shape[1])
    columns[:, :-1] = x.mT
    return columns


def pull_rows(weights: Tensor, x: Tensor, y: Tensor, factor: float) -> Tensor:
    """``factor`` times the sum over j of weights_ji (x_i - y_j), (E, d, n).

    Rows x and y come as columns over ones, (E, d + 1, n) and (E, d + 1, m), so that one product gives the
    sums of the weights too. It has few rows: a product of few columns is several times slower.
    """
    sums = torch.bmm(y, weights).mul_(factor)
    return torch.addcmul(-sums[:, :-1], x[:, :-1], sums[:, -1:])


def scaled(ctx: Any, gradient: Tensor) -> list[Tensor | None]:
    """Gradients by rows (E, n, d): those by columns that the forward pass saved, times that of its result."""
    gradient = gradient[:, None, None]
    return [None if saved is None else (gradient * saved).mT for saved in ctx.saved_tensors]


class _HSIC(torch.autograd.Function):
    """HSIC; the gradients are formed in the forward pass, where the kernels are at hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, a: float, b: float, c: float) -> Tensor:
        gamma_x, gamma_y = prior_gamma(x.shape[2]), prior_gamma(y.shape[2])
        x, y = centred_rows(x), centred_rows(y)
        k = negative_squared_distances(x, gamma_x).expm1_()
        m = negative_squared_distances(y, gamma_y).expm1_()
        k_rows, m_rows = k.sum(-1), m.sum(-1)
        # b sum(K) sum(L) + c (row sums of K) . (row sums of L) is twice the product of rows and sides.
        k_sides, m_sides = (
            torch.add(rows.mul(c / 2), rows.sum(-1, keepdim=True), alpha=b / 2) for rows in (k_rows, m_rows)
        )
        space = torch.mul(k, m)  # every matrix after this one goes here: the cache holds three and not five
        value = space.sum((1, 2)).mul_(a).add_((k_rows * m_sides).sum(-1), alpha=2.0)
        needs_x, needs_y = ctx.needs_input_grad[:2]
        ctx.save_for_backward(
            _hsic_gradient(k, m, m_sides, a, x, gamma_x, space) if needs_x else None,
            _hsic_gradient(m, k, k_sides, a, y, gamma_y, space) if needs_y else None,
        )
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(ctx, grad_outputs[0]), None, None, None)


def _hsic_gradient(
    own: Tensor, other: Tensor, sides: Tensor, a: float, x: Tensor, gamma: float, space: Tensor
) -> Tensor:
    """Gradient of HSIC by the rows x whose shifted kernel is ``own``, (E, d, n); overwrites ``space``.

    d HSIC / dK_ij = a L_ij + b sum(L) + c / 2 (row sum i + row sum j of L) = a L_ij + side i + side j, and
    dK_ij / dx_i = -2 gamma K_ij (x_i - x_j); each pair counts twice.
    """
    weights = torch.add(sides[:, :, None], other, alpha=a, out=space)
    weights += sides[:, None, :]
    weights.addcmul_(weights, own)  # K is the shifted kernel plus 1
    columns = and_ones(x)
    return pull_rows(weights, columns, columns, -4.0 * gamma)


def _pairs(
    x: Tensor, y: Tensor | None, weight: float, gammas: Sequence[float], needs_x: bool, needs_y: bool = False
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Weighted sum of the shifted kernels of all pairs of a row of x and a row of y, or of x and itself.

    Returns
    -------
    value
        (E,).
    by_x, by_y
        Its gradients (E, d, n) and (E, d, m), where they are needed.
    """
    if len(gammas) == 1:
        kernel = negative_squared_distances(x, gammas[0], y).expm1_()
        value = kernel.sum((1, 2)).mul_(weight)
        slope, factor = kernel.add_(1.0), -2.0 * weight * gammas[0]
    else:
        kernel, slope = sum_of_kernels(negative_squared_distances(x, y=y), gammas, slope=needs_x or needs_y)
        value, factor = kernel.sum((1, 2)).mul_(weight), -2.0 * weight
    if slope is None or not (needs_x or needs_y):
        return value, None, None
    columns = and_ones(x)
    if y is None:  # a pair within x stands twice in the sum
        # A row pulls itself by nothing times the steepest slope: rounding, 1e6 times the other slopes.
        slope.diagonal(dim1=1, dim2=2).zero_()
        return value, pull_rows(slope, columns, columns, 2.0 * factor), None
    others = and_ones(y)
    by_x = pull_rows(slope.mT, columns, others, factor) if needs_x else None
    by_y = pull_rows(slope, others, columns, factor) if needs_y else None
    return value, by_x, by_y


class _Pairs(torch.autograd.Function):
    """:func:`_pairs` of x and itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float, gammas: tuple[float, ...]) -> Tensor:
        value, by_x, _ = _pairs(x, None, weight, gammas, ctx.needs_input_grad[0])
        ctx.save_for_backward(by_x)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(ctx, grad_outputs[0]), None, None)


class _MMD(torch.autograd.Function):
    """Squared MMD of x and y, from the weights of a pair within x, within y and between."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, weights: tuple[float, float, float], gammas: tuple[float, ...]
    ) -> Tensor:
        needs_x, needs_y = ctx.needs_input_grad[:2]
        # Moving both leaves distances as they are, so no gradient goes through the centre.
        centre = 0.5 * (x.mean(dim=1, keepdim=True) + y.mean(dim=1, keepdim=True))
        x, y = x - centre, y - centre
        within_x, by_x, _ = _pairs(x, None, weights[0], gammas, needs_x)
        within_y, by_y, _ = _pairs(y, None, weights[1], gammas, needs_y)
        between, more_x, more_y = _pairs(x, y, weights[2], gammas, needs_x, needs_y)
        ctx.save_for_backward(
            None if by_x is None or more_x is None else by_x.add_(more_x),
            None if by_y is None or more_y is None else by_y.add_(more_y),
        )
        return within_x + within_y + between

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(ctx, grad_outputs[0]), None, None)
