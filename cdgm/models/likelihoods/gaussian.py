"""Gaussian likelihood with one learned standard deviation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from cdgm.config.value_support import Support
from cdgm.models.likelihoods.base import Likelihood

if TYPE_CHECKING:
    from torch import Tensor


class Gaussian(Likelihood):
    """``x ~ N(f, sd^2 I)``, the same learned ``sd`` for all features and sources."""

    kind: Literal["gaussian"] = "gaussian"
    support: ClassVar[Support] = "real"

    def initial_parameters(self, n_members: int, n_features: int) -> dict[str, Tensor]:
        """``log_sd`` (E, 1, 1), starting at sd 1: the data are scaled to about that."""
        import torch

        return {"log_sd": torch.zeros(n_members, 1, 1)}

    def constant(self, x: Tensor) -> Tensor:
        """``-D/2 log 2 pi`` for each row."""
        return x.new_full(x.shape[:-1], -0.5 * x.shape[-1] * math.log(2 * math.pi))

    def log_prob(self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """See :meth:`Likelihood.log_prob`."""
        log_sd = parameters["log_sd"]
        squares = (x - f).square().sum(-1)
        return -0.5 * squares * (-2 * log_sd[..., 0]).exp() - x.shape[-1] * log_sd[..., 0]

    def log_prob_and_gradients(
        self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor], weight: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """See :meth:`Likelihood.log_prob_and_gradients`."""
        log_sd = parameters["log_sd"]
        precision = (-2 * log_sd).exp()
        residual = f.sub_(x)
        # In units of the variance: log_prob = -D log_sd - deviance / 2.
        deviance = residual.square().sum(-1) * precision[..., 0]
        n_features = x.shape[-1]
        by_log_sd = ((deviance - n_features) * weight).sum(1)[:, None, None]
        residual *= -precision * weight[:, None]
        return deviance * -0.5 - n_features * log_sd[..., 0], residual, {"log_sd": by_log_sd}

    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """``noise_sd``, in units of the data."""
        return {"noise_sd": parameters["log_sd"].flatten().exp()}
