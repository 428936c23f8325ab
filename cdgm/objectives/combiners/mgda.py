"""Multiple gradient descent: the weights that make the combined gradient shortest."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from cdgm.objectives.combiners.base import GradientCombiner
from cdgm.objectives.simplex import MAX_DIMENSION, minimise_on_simplex


class MGDA(GradientCombiner):
    """Min-norm point of the convex hull of the sources' gradients (Désidéri 2012; Sener & Koltun 2018).

    Unless it is zero, a small plain step against the min-norm point of *exact* gradients lowers the loss
    of every source. Where gradients are mostly noise, of mean squared norm v_k, weights go as 1 / v_k.
    Its weights sum to 1; they are multiplied by the number of sources K, so that equal weights are the
    plain sum of the losses and penalties keep the strength that they have beside it.

    Attributes
    ----------
    normalise
        What gradients are divided by before their weights are found: nothing, their own norm (``l2``),
        or the absolute value of the loss (``loss``). The weights are applied to the gradients as they
        are, as in the public code of Sener & Koltun (2018); with ``l2`` and ``loss`` the step may
        therefore raise the loss of a source.
    """

    kind: Literal["mgda"] = "mgda"
    normalise: Literal["none", "l2", "loss"]

    most_sources: ClassVar[int | None] = MAX_DIMENSION

    def solve(self, gram: np.ndarray, losses: np.ndarray, state: Any) -> np.ndarray:
        """See :meth:`GradientCombiner.solve`."""
        return gram.shape[1] * minimise_on_simplex(normalised(gram, losses, self.normalise))


def normalised(gram: np.ndarray, losses: np.ndarray, how: str) -> np.ndarray:
    """Inner products (E, K, K) of gradients divided by 1, their norms or their absolute losses (E, K)."""
    if how == "none":
        return gram
    sizes = np.sqrt(np.diagonal(gram, axis1=1, axis2=2)) if how == "l2" else np.abs(losses)
    # A gradient of zero has no direction; it stays zero.
    sizes = np.where(sizes > 0, sizes, 1.0)
    return gram / (sizes[:, :, None] * sizes[:, None, :])
