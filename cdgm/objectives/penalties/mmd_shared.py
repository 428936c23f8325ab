"""MMD of shared blocks between the sources that share them."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from cdgm.config.design import Design
from cdgm.objectives.penalties._kernel import MMDPenalty, require_unbiased

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Posteriors
    from cdgm.objectives.null_quantiles import NullMoments


class SharedMMD(MMDPenalty):
    """Sum over blocks that several sources have, and over pairs of these sources, of the block's MMD^2.

    The first term of the MM-cVAE (Weinberger et al. 2022) is this on ``samples``, ``biased``, with the
    kernel ``mm_cvae`` and weight 1e4. An estimate below 0 is set to 0 there; for ``biased`` it is here.

    A caveat: the model wants the *aggregate posterior* of a shared block to be the same in all sources,
    and its variance is that of the means plus the posteriors' own. Where sources differ in how much a row
    tells (noise, counts), a correct model has means of different spread. On ``means`` this penalises it.

    Attributes
    ----------
    estimator, of, kernel
        See the bases.
    within_covariates
        As in :class:`.hsic.HSIC`.
    """

    kind: Literal["mmd_shared"] = "mmd_shared"
    within_covariates: bool = Field(False, exclude_if=operator.not_)

    nullable: ClassVar[bool] = True

    @model_validator(mode="after")
    def _check(self) -> SharedMMD:
        require_unbiased(self)
        return self

    def check(self, design: Design) -> None:
        """See :meth:`Penalty.check`."""
        if not _shared(design):
            raise ValueError("penalty 'mmd_shared' compares sources, but no block is active in two of them")

    def measure(self, posteriors: Posteriors, design: Design) -> Tensor:
        """See :meth:`Penalty.measure`."""
        from cdgm.objectives.kernels import mmd2
        from cdgm.objectives.within_strata import mmd2_within

        terms: list[Tensor] = []
        for block, sources in _shared(design).items():
            if self.within_covariates:
                terms.append(mmd2_within(*self._known(posteriors, block, sources), self.gammas))
                continue
            rows = [self.rows(posteriors[source, block]) for source in sources]
            terms += [
                self.clamped(mmd2(x, y, self.estimator, self.gammas))
                for x, y in itertools.combinations(rows, 2)
            ]
        return reduce(add, terms)

    def null(self, posteriors: Posteriors, design: Design) -> NullMoments:
        """See :meth:`Penalty.null`: rows are shuffled between all sources that share a block.

        Different blocks count as independent.
        """
        from cdgm.objectives.null_quantiles import mmd_null
        from cdgm.objectives.within_strata import mmd_within_null

        def of_block(block: str, sources: Sequence[str]) -> NullMoments:
            samples, covariates = self._known(posteriors, block, sources)
            if self.within_covariates:
                return mmd_within_null(samples, covariates, self.gammas)
            return mmd_null(*samples, gammas=self.gammas)

        return reduce(add, (of_block(block, sources) for block, sources in _shared(design).items()))

    def _known(
        self, posteriors: Posteriors, block: str, sources: Sequence[str]
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Rows of a block in sources, and their covariates."""
        found = [posteriors[source, block] for source in sources]
        return [self.rows(p) for p in found], [p.covariates for p in found]


def _shared(design: Design) -> dict[str, tuple[str, ...]]:
    """Blocks that several sources have, with these sources."""
    return {block: sources for block, sources in design.blocks.items() if len(sources) > 1}
