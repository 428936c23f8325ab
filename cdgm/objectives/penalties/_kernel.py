"""Bases of the penalties that compare samples by a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from cdgm.objectives.penalties.base import Penalty

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Posterior


class KernelPenalty(Penalty):
    """A penalty that compares samples by a kernel.

    Attributes
    ----------
    estimator
        ``unbiased`` (U-statistic) or ``biased`` (V-statistic).
    """

    nullable: ClassVar[bool] = False
    """Whether the unbiased estimate has a null in closed form."""

    estimator: Literal["unbiased", "biased"]

    @property
    def has_null(self) -> bool:  # type: ignore[override]
        """Nulls are those of unbiased estimators; the biased one lies above them by its floor."""
        return self.nullable and self.estimator == "unbiased"


def require_unbiased(penalty: KernelPenalty) -> None:
    """Refuse statistics within strata of the biased estimator: small strata would pay for collapse."""
    if getattr(penalty, "within_covariates", False) and penalty.estimator != "unbiased":
        raise ValueError(f"penalty {penalty.kind!r}: within_covariates needs the unbiased estimator")


class MMDPenalty(KernelPenalty):
    """A penalty that is a sum of squared MMDs.

    Attributes
    ----------
    of
        What is compared: posterior ``means`` or one posterior sample a row (``samples``).
    kernel
        ``expected_distance``: one RBF whose bandwidth is the expected distance of two draws of the
        prior (Lopez et al. 2018). ``mm_cvae``: the sum of 13 RBFs with gamma 1e-6 to 1e6 of Weinberger
        et al. (2022).
    """

    of: Literal["means", "samples"]
    kernel: Literal["expected_distance", "mm_cvae"]

    @property
    def gammas(self) -> tuple[float, ...] | None:
        """Gammas of the kernel; None for the prior's bandwidth."""
        from cdgm.objectives.kernels import MM_CVAE_GAMMAS

        return MM_CVAE_GAMMAS if self.kernel == "mm_cvae" else None

    def rows(self, posterior: Posterior) -> Tensor:
        """The rows of a posterior that are compared, (E, n, d)."""
        return posterior.mean if self.of == "means" else posterior.sample

    def clamped(self, value: Tensor) -> Tensor:
        """The estimate; the biased one at least 0, under which only rounding takes it."""
        return value.clamp(min=0.0) if self.estimator == "biased" else value
