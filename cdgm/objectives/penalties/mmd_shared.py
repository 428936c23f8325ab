"""MMD of shared blocks between the sources that share them."""

from __future__ import annotations

import itertools
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar, Literal

from cdgm.config.design import Design
from cdgm.objectives.penalties._kernel import MMDPenalty

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
    """

    kind: Literal["mmd_shared"] = "mmd_shared"

    nullable: ClassVar[bool] = True

    def check(self, design: Design) -> None:
        """See :meth:`Penalty.check`."""
        if not _shared(design):
            raise ValueError("penalty 'mmd_shared' compares sources, but no block is active in two of them")

    def measure(self, posteriors: Posteriors, design: Design) -> Tensor:
        """See :meth:`Penalty.measure`."""
        from cdgm.objectives.kernels import mmd2

        terms: list[Tensor] = []
        for block, sources in _shared(design).items():
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

        return reduce(
            add,
            (
                mmd_null(*(self.rows(posteriors[s, block]) for s in sources), gammas=self.gammas)
                for block, sources in _shared(design).items()
            ),
        )


def _shared(design: Design) -> dict[str, tuple[str, ...]]:
    """Blocks that several sources have, with these sources."""
    return {block: sources for block, sources in design.blocks.items() if len(sources) > 1}
