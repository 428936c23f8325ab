"""Weights chosen by hand, or a grid of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from cdgm.config.design import Design
from cdgm.objectives.combiners.base import Combiner
from cdgm.objectives.context import ObjectiveContext
from cdgm.utils.registry import PerMember, Sweep

if TYPE_CHECKING:
    from torch import Tensor


class Fixed(Combiner):
    """The same weights in every step; they sum to the number of sources, as equal weights of 1 do.

    Attributes
    ----------
    ratio
        Strength of each source relative to the others, per member; scaled so that they sum to the
        number of sources.
    """

    kind: Literal["fixed"] = "fixed"
    ratio: dict[str, Annotated[float | Sweep, PerMember(above=0)]]

    def check(self, design: Design) -> None:
        """See :meth:`Combiner.check`."""
        if set(self.ratio) != set(design.sources):
            raise ValueError(f"ratio names {sorted(self.ratio)}, the sources are {list(design.sources)}")

    def start(self, context: ObjectiveContext) -> np.ndarray:
        """The weights (E, K)."""
        ratio = np.array([[m.ratio[source] for source in context.design.sources] for m in context.members])
        return ratio * ratio.shape[1] / ratio.sum(axis=1, keepdims=True)

    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """See :meth:`Combiner.weights`."""
        return state
