"""The pooled objective: every training point counts the same, so the largest source dominates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cdgm.objectives.combiners.base import Combiner
from cdgm.objectives.context import ObjectiveContext

if TYPE_CHECKING:
    from torch import Tensor


class SizeWeighted(Combiner):
    """Weights in proportion to the sources' numbers of training points: the ELBO of the pooled data."""

    kind: Literal["size_weighted"] = "size_weighted"

    def start(self, context: ObjectiveContext) -> np.ndarray:
        """The weights, which never change (1, K)."""
        sizes = np.array([context.sizes[source] for source in context.design.sources], dtype=float)
        return (sizes * len(sizes) / sizes.sum())[None]

    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """See :meth:`Combiner.weights`."""
        return np.broadcast_to(state, losses.shape[::-1])
