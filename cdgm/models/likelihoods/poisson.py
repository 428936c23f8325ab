"""Poisson likelihood for counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cdgm.models.likelihoods._counts import CountLikelihood

if TYPE_CHECKING:
    from torch import Tensor


class Poisson(CountLikelihood):
    """``x ~ Poisson(rate)``; see :class:`CountLikelihood` for ``link``. Nothing is learned of the noise."""

    kind: Literal["poisson"] = "poisson"

    def log_prob(self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """See :meth:`Likelihood.log_prob`."""
        log_rate = self.log_rate(f, library)
        return (x * log_rate - log_rate.exp()).sum(-1)

    def log_prob_and_gradients(
        self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor], weight: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :meth:`Likelihood.log_prob_and_gradients`."""
        log_rate, shares = self.rates(f, library)
        rate = log_rate.exp() if shares is None else shares * library
        log_prob = (log_rate.mul_(x).sub_(rate)).sum(-1)
        by_log_rate = rate.neg_().add_(x).mul_(weight[:, None])
        return log_prob, self.pull_rate(by_log_rate, shares), {}
