"""Negative binomial likelihood for counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from cdgm.models.likelihoods._base import Likelihood

if TYPE_CHECKING:
    from torch import Tensor


class NegativeBinomial(Likelihood):
    """``x ~ NB(mean = rate, dispersion)``, variance ``rate + rate^2 / dispersion``.

    Attributes
    ----------
    link
        ``exp``: rate = library x exp(f), for simulations, where log-rates are piecewise affine in the
        latents. ``softmax``: rate = library x softmax(f), for cells, where a cell's total count says
        nothing of its state; log-rates then hold only up to a constant a cell, so the theorem for
        piecewise affine mixing does not apply as it stands.
    dispersion
        ``learned``, one a feature, or a known value. Identifiability under negative binomial noise
        assumes that it is known.
    """

    kind: Literal["negative_binomial"] = "negative_binomial"
    counts: ClassVar[bool] = True
    link: Literal["exp", "softmax"]
    dispersion: Literal["learned"] | Annotated[float, Field(gt=0)]

    def initial_parameters(self, n_members: int, n_features: int) -> dict[str, Tensor]:
        """``log_dispersion`` (E, 1, D), starting at dispersion 1; empty when it is known."""
        import torch

        return (
            {"log_dispersion": torch.zeros(n_members, 1, n_features)} if self.dispersion == "learned" else {}
        )

    def encoder_input(self, x: Tensor) -> Tensor:
        """``log(1 + x)``, as is usual for counts of cells (scVI, contrastiveVI)."""
        return x.log1p()

    def constant(self, x: Tensor) -> Tensor:
        """``-sum log x!`` for each row."""
        return -(x + 1).lgamma().sum(-1)

    def log_prob(self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """See :meth:`Likelihood.log_prob`."""
        import torch

        if self.dispersion == "learned":
            log_dispersion = parameters["log_dispersion"]
        else:
            log_dispersion = f.new_tensor(self.dispersion).log().expand(f.shape[0], 1, f.shape[-1])
        dispersion = log_dispersion.exp()
        log_rate = (f.log_softmax(-1) if self.link == "softmax" else f) + library.log()
        # log(dispersion + rate) from the logs: no overflow, and a clean gradient for small rates.
        log_total = torch.logaddexp(log_dispersion, log_rate)
        counts = (x + dispersion).lgamma().sum(-1) - dispersion.lgamma().sum(-1)
        return counts + (dispersion * (log_dispersion - log_total) + x * (log_rate - log_total)).sum(-1)

    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """``dispersion_median`` over features, where it is learned."""
        if self.dispersion != "learned":
            return {}
        return {"dispersion_median": parameters["log_dispersion"].exp().flatten(1).median(dim=1).values}
