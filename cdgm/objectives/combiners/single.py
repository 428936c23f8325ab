"""One source alone: the fit from which the regret of the others is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from cdgm.config.design import Design
from cdgm.objectives.combiners.base import Combiner
from cdgm.objectives.context import ObjectiveContext
from cdgm.utils.registry import PerMember, Sweep

if TYPE_CHECKING:
    from torch import Tensor


class Single(Combiner):
    """The ELBO of one source, in the network of all: same start values, batches and noise, other losses off.

    Its weight is the number of sources K, the others' are 0, the limit of :class:`Fixed`. Encoders that other
    sources use alone still get their own gradients, which reach no score of this source. They enter the norm
    that is clipped, so a reference is a fit to one source alone only without clipping.

    Attributes
    ----------
    place
        Place of the source in the design's list, from 1, per member: a list of all places fits one
        reference for each source, in one stack.
    """

    kind: Literal["single"] = "single"
    place: Annotated[float | Sweep, PerMember(minimum=1)]

    def check(self, design: Design) -> None:
        """See :meth:`Combiner.check`."""
        places = self.place if isinstance(self.place, Sweep) else [self.place]
        n = len(design.sources)
        for place in places:
            if place not in range(1, n + 1):
                raise ValueError(f"place is {place:g}, expected a whole number from 1 to {n}")

    def start(self, context: ObjectiveContext) -> np.ndarray:
        """The weights, which never change (E, K)."""
        k = len(context.design.sources)
        return k * np.eye(k)[[int(member.place) - 1 for member in context.members]]

    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """See :meth:`Combiner.weights`."""
        return state
