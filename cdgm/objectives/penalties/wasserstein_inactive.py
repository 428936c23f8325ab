"""Wasserstein distance of blocks to 0 in the sources where they are inactive."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar, Literal

from cdgm.config.design import Design
from cdgm.objectives.penalties._inactive import check_inactive, inactive_blocks
from cdgm.objectives.penalties.base import Penalty

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Posteriors


class InactiveWasserstein(Penalty):
    """Sum over sources and their inactive blocks of the squared 2-Wasserstein distance to a point mass at 0.

    Of a row's posterior N(mu, diag(var)) that is ``|mu|^2 + sum(var)``; the mean over rows is taken. It is
    the penalty of contrastiveVI (Weinberger et al. 2023), off by default in its public code.

    Attributes
    ----------
    of
        ``posterior``, or ``means`` for ``|mu|^2`` alone, which does not ask an unused block to lose its
        variance against the prior.
    """

    kind: Literal["wasserstein_inactive"] = "wasserstein_inactive"
    of: Literal["posterior", "means"] = "posterior"

    needs_inactive: ClassVar[bool] = True

    def check(self, design: Design) -> None:
        """See :meth:`Penalty.check`."""
        check_inactive(self.kind, design)

    def measure(self, posteriors: Posteriors, design: Design) -> Tensor:
        """See :meth:`Penalty.measure`."""
        found = [posteriors[key] for key in inactive_blocks(design)]
        squares = (p.mean.square() for p in found)
        if self.of == "posterior":
            squares = (p.mean.square() + p.log_variance.exp() for p in found)
        return reduce(add, (square.sum(-1).mean(1) for square in squares))
