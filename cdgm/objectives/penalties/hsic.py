"""HSIC between the active blocks of each source."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from cdgm.config.design import Design
from cdgm.objectives.penalties._kernel import KernelPenalty, require_unbiased

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Posterior, Posteriors
    from cdgm.objectives.null_quantiles import NullMoments

VARIANCE_FLOOR = 1e-6
"""Added to variances that rows are standardised by: dimensions of sd below 1e-3 fade out."""


class HSIC(KernelPenalty):
    """Sum over sources, and over pairs of a source's active blocks, of HSIC between the two blocks.

    RBF kernels at the prior's bandwidth (Lopez et al. 2018, where the *square root* of the biased
    estimate is used). The biased estimator has a floor of about (1 - mu)(1 - mu) / n under
    independence, which *emptying a block* lowers to 0: at large weights it pays for collapse. Both
    estimators of ``means`` fall when means shrink, whatever their dependence; ``standardised_means``
    close that way out.

    Attributes
    ----------
    estimator
        ``unbiased`` (Song et al. 2012) or ``biased`` (Gretton et al. 2008).
    of
        Posterior ``means``, ``standardised_means`` (to unit variance per dimension, over the rows at
        hand) or ``samples`` (one a row). Noise of the samples hides dependence of the means.
    within_covariates
        Whether to compare, and to shuffle for the null, only rows that agree in all categorical covariates
        (:mod:`cdgm.objectives.within_strata`); needs ``unbiased``.
    """

    kind: Literal["hsic"] = "hsic"
    of: Literal["means", "standardised_means", "samples"]
    within_covariates: bool = Field(False, exclude_if=operator.not_)

    nullable: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check(self) -> HSIC:
        require_unbiased(self)
        return self

    def check(self, design: Design) -> None:
        """See :meth:`Penalty.check`."""
        if not any(block_pairs(design)):
            raise ValueError(
                "penalty 'hsic' compares blocks of a source, but no source has two active blocks"
            )

    def measure(self, posteriors: Posteriors, design: Design) -> Tensor:
        """See :meth:`Penalty.measure`."""
        from cdgm.objectives.kernels import hsic
        from cdgm.objectives.within_strata import hsic_within

        def of_pair(x: Posterior, y: Posterior) -> Tensor:
            if self.within_covariates:
                return hsic_within(self._rows(x), self._rows(y), x.covariates)
            return hsic(self._rows(x), self._rows(y), self.estimator)

        pairs = block_pairs(design)
        return reduce(add, (of_pair(posteriors[s, a], posteriors[s, b]) for s, a, b in pairs))

    def null(self, posteriors: Posteriors, design: Design) -> NullMoments:
        """See :meth:`Penalty.null`: blocks of a source are shuffled against each other.

        Under that the pairs' statistics are uncorrelated, also where they have a block in common, so
        their moments add.
        """
        from cdgm.objectives.null_quantiles import hsic_null
        from cdgm.objectives.within_strata import hsic_within_null

        def of_pair(x: Posterior, y: Posterior) -> NullMoments:
            if self.within_covariates:
                return hsic_within_null(self._rows(x), self._rows(y), x.covariates)
            return hsic_null(self._rows(x), self._rows(y))

        pairs = block_pairs(design)
        return reduce(add, (of_pair(posteriors[s, a], posteriors[s, b]) for s, a, b in pairs))

    def _rows(self, posterior: Posterior) -> Tensor:
        if self.of == "samples":
            return posterior.sample
        if self.of == "means":
            return posterior.mean
        centred = posterior.mean - posterior.mean.mean(dim=1, keepdim=True)
        return centred * (centred.square().mean(dim=1, keepdim=True) + VARIANCE_FLOOR).rsqrt()


def block_pairs(design: Design) -> Iterator[tuple[str, str, str]]:
    """Each source with each pair of its active blocks."""
    for source in design.sources:
        for a, b in itertools.combinations(design.active(source), 2):
            yield source, a, b
