"""Base of the likelihoods of counts: rates from decoder outputs, and the encoders' input."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from cdgm.config.value_support import Support
from cdgm.models.likelihoods.base import Likelihood

if TYPE_CHECKING:
    from torch import Tensor


class CountLikelihood(Likelihood):
    """A distribution of counts given a rate for each feature.

    Attributes
    ----------
    link
        ``exp``: rate = library x exp(f) with the library known and 1, for simulations, where log-rates are
        piecewise affine in the latents. ``softmax``: rate = library x softmax(f) with the total count of
        the row as its library, for cells, where that total is no property of the state. Given totals, counts
        reveal finitely many moments of the rates, so the theorem for piecewise affine mixing does not apply.
    """

    support: ClassVar[Support] = "counts"
    link: Literal["exp", "softmax"]

    def library_size(self, x: Tensor) -> Tensor:
        """Total count of each row (...), at least 1, under ``softmax``; ones under ``exp``."""
        if self.link == "exp":
            return super().library_size(x)
        # A row without a single count has no rate to scale; 1 keeps the logarithm finite.
        return x.sum(-1).clamp(min=1)

    def encoder_input(self, x: Tensor) -> Tensor:
        """``log(1 + x)``, as is usual for counts of cells (scVI, contrastiveVI)."""
        return x.log1p()

    def constant(self, x: Tensor) -> Tensor:
        """``-sum log x!`` for each row."""
        return -(x + 1).lgamma().sum(-1)

    def log_rate(self, f: Tensor, library: Tensor) -> Tensor:
        """Logarithm of the rates, in the shape of the decoder's outputs ``f`` (E, B, D)."""
        return (f.log_softmax(-1) if self.link == "softmax" else f) + library.log()

    def rates(self, f: Tensor, library: Tensor) -> tuple[Tensor, Tensor | None]:
        """:meth:`log_rate`, written over ``f``, and what :meth:`pull_rate` needs.

        Returns
        -------
        log_rate
            (E, B, D).
        shares
            Each feature's share of the rates of its row (E, B, D) under ``softmax``; None under ``exp``.
        """
        if self.link == "exp":
            return f.add_(library.log()), None
        shares = f.softmax(-1)
        # The logarithm of the row's sum, from the largest share: one exponential a value gives both.
        log_sum = f.amax(-1, keepdim=True) - shares.amax(-1, keepdim=True).log()
        return f.sub_(log_sum - library.log()), shares

    def pull_rate(self, by_log_rate: Tensor, shares: Tensor | None) -> Tensor:
        """Gradient by decoder outputs (E, B, D), from that by log-rates; both are overwritten."""
        if shares is not None:
            by_log_rate -= shares.mul_(by_log_rate.sum(-1, keepdim=True))
        return by_log_rate
