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
