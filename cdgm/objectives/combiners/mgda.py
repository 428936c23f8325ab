"""Multiple gradient descent: the weights that make the combined gradient shortest."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from cdgm.objectives.combiners.base import GradientCombiner
from cdgm.objectives.simplex import MAX_DIMENSION, minimise_on_simplex


class MGDA(GradientCombiner):
    """Min-norm point of the convex hull of the sources' gradients (Désidéri 2012; Sener & Koltun 2018).

    If it is not zero, a small step against it improves every source.
    """

    kind: Literal["mgda"] = "mgda"

    most_sources: ClassVar[int] = MAX_DIMENSION

    def solve(self, gram: np.ndarray, state: Any) -> np.ndarray:
        """See :meth:`GradientCombiner.solve`."""
        return minimise_on_simplex(gram)
