"""Bernoulli likelihood for binary data."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from cdgm.config.value_support import Support
from cdgm.models.likelihoods.base import Likelihood

if TYPE_CHECKING:
    from torch import Tensor


class Bernoulli(Likelihood):
    """``x`` is 1 with probability ``1 / (1 + exp(-f))``, else 0. Nothing is learned of the noise."""

    kind: Literal["bernoulli"] = "bernoulli"
    support: ClassVar[Support] = "binary"

    def log_prob(self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """See :meth:`Likelihood.log_prob`."""
        from torch.nn.functional import logsigmoid

        # Both outcomes in one function: x f - log(1 + exp(f)) would cancel where f is large and x is 1.
        return logsigmoid((2 * x - 1) * f).sum(-1)

    def log_prob_and_gradients(
        self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor], weight: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :meth:`Likelihood.log_prob_and_gradients`."""
        from torch.nn.functional import logsigmoid

        sign = 2 * x - 1
        f *= sign
        log_prob = logsigmoid(f).sum(-1)
        by_output = f.neg_().sigmoid_().mul_(sign).mul_(weight[:, None])
        return log_prob, by_output, {}
