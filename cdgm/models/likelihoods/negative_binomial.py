"""Negative binomial likelihood for counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cdgm.models.likelihoods._counts import CountLikelihood

if TYPE_CHECKING:
    from torch import Tensor


# From here on the series of Stirling with three terms is exact to float64.
STIRLING_FROM = 50.0


class NegativeBinomial(CountLikelihood):
    """``x ~ NB(mean = rate, dispersion)``, variance ``rate + rate^2 / dispersion``.

    Attributes
    ----------
    link
        See :class:`CountLikelihood`.
    dispersion
        ``learned``, one a feature, or a known value. Identifiability under negative binomial noise
        assumes that it is known.
    """

    kind: Literal["negative_binomial"] = "negative_binomial"
    dispersion: Literal["learned"] | Annotated[float, Field(gt=0)]

    def initial_parameters(self, n_members: int, n_features: int) -> dict[str, Tensor]:
        """``log_dispersion`` (E, 1, D), starting at dispersion 1; empty when it is known."""
        import torch

        return (
            {"log_dispersion": torch.zeros(n_members, 1, n_features)} if self.dispersion == "learned" else {}
        )

    def log_prob(self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """See :meth:`Likelihood.log_prob`."""
        from torch.nn.functional import softplus

        if self.dispersion == "learned":
            log_dispersion = parameters["log_dispersion"]
        else:
            log_dispersion = f.new_tensor(self.dispersion).log().expand(f.shape[0], 1, f.shape[-1])
        dispersion = log_dispersion.exp()
        log_rate = self.log_rate(f, library)
        # log(1 + rate / dispersion), and not the difference of two logarithms: that of a large dispersion,
        # which is nearly Poisson, would leave nothing of float32's digits. Past the threshold
        # softplus is the identity; the usual one, 20, would cost float64 half of its digits.
        log_total = softplus(log_rate - log_dispersion, threshold=40)
        rest = (x * log_rate - (x + dispersion) * log_total).sum(-1)
        return rest + _log_gamma_ratios(x, dispersion)

    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """``dispersion_median`` over features, where it is learned."""
        if self.dispersion != "learned":
            return {}
        return {"dispersion_median": parameters["log_dispersion"].exp().flatten(1).median(dim=1).values}


def _log_gamma_ratios(x: Tensor, dispersion: Tensor) -> Tensor:
    """Sum over features of :func:`_log_gamma_ratio`, (E, B).

    It is zero at zero counts, which are most of the counts of cells, and ``lgamma`` with its derivative
    is by far the slowest function here, so only the others are computed.
    """
    members, rows, features = x.shape
    at = x.reshape(-1).nonzero().squeeze(1)
    row = at // features
    theta = dispersion.reshape(-1)[row // rows * features + at % features]
    ratio = _log_gamma_ratio(x.reshape(-1)[at], theta)
    return ratio.new_zeros(members * rows).index_add(0, row, ratio).view(members, rows)


def _log_gamma_ratio(x: Tensor, theta: Tensor) -> Tensor:
    """``lgamma(x + theta) - lgamma(theta) - x log(theta)``, elementwise.

    Its terms grow with ``theta`` while it goes to 0. So for large ``theta`` the series of Stirling is used
    for both, in which they cancel by hand; its error there is below the rounding of float64.
    """
    small = theta.clamp(max=STIRLING_FROM)
    direct = (x + small).lgamma() - small.lgamma() - x * small.log()
    large = theta >= STIRLING_FROM
    if not large.any():
        return direct
    # Clamped in both branches, so that the one not taken gives no NaN to the gradient of the other.
    big = theta.clamp(min=STIRLING_FROM)
    series = (x + big - 0.5) * (x / big).log1p() - x + _stirling_rest(x + big) - _stirling_rest(big)
    return series.where(large, direct)


def _stirling_rest(y: Tensor) -> Tensor:
    """``lgamma(y) - (y - 1/2) log y + y - log(2 pi) / 2`` up to about ``y^-7 / 1680``."""
    inverse = 1 / y
    square = inverse.square()
    return inverse * (1 / 12 - square * (1 / 360 - square / 1260))
