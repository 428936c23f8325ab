"""Negative binomial likelihood for counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cdgm.models.likelihoods._counts import CountLikelihood

if TYPE_CHECKING:
    from torch import Tensor


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
        if self.dispersion == "learned":
            log_dispersion = parameters["log_dispersion"]
        else:
            log_dispersion = f.new_tensor(self.dispersion).log().expand(f.shape[0], 1, f.shape[-1])
        dispersion = log_dispersion.exp()
        log_rate = self.log_rate(f, library)
        log_total = (dispersion + log_rate.exp()).log()
        rest = (dispersion * log_dispersion).sum(-1) + (x * log_rate - (x + dispersion) * log_total).sum(-1)
        return rest + _log_gamma_ratio(x, dispersion)

    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """``dispersion_median`` over features, where it is learned."""
        if self.dispersion != "learned":
            return {}
        return {"dispersion_median": parameters["log_dispersion"].exp().flatten(1).median(dim=1).values}


def _log_gamma_ratio(x: Tensor, dispersion: Tensor) -> Tensor:
    """Sum over features of ``lgamma(x + dispersion) - lgamma(dispersion)``, (E, B).

    It is zero at zero counts, which are most of the counts of cells, and ``lgamma`` with its derivative
    is by far the dearest function here: so only the others are computed.
    """
    members, rows, features = x.shape
    at = x.reshape(-1).nonzero().squeeze(1)
    row = at // features
    counts = x.reshape(-1)[at]
    theta = dispersion.reshape(-1)[row // rows * features + at % features]
    ratio = (counts + theta).lgamma() - theta.lgamma()
    return ratio.new_zeros(members * rows).index_add(0, row, ratio).view(members, rows)
