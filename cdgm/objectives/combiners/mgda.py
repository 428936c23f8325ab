"""Multiple gradient descent: the weights that make the combined gradient shortest."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from cdgm.designs import Design
from cdgm.objectives.combiners._base import GradientCombiner
from cdgm.objectives.simplex import MAX_DIMENSION, minimise_on_simplex


class MGDA(GradientCombiner):
    """Min-norm point of the convex hull of the sources' gradients (Désidéri 2012; Sener & Koltun 2018).

    If it is not zero, a small step against it improves every source.
    """

    kind: Literal["mgda"] = "mgda"

    def check(self, design: Design) -> None:
        """See :meth:`Combiner.check`."""
        if len(design.sources) > MAX_DIMENSION:
            raise ValueError(f"mgda weighs up to {MAX_DIMENSION} sources, got {len(design.sources)}")

    def solve(self, gram: np.ndarray, state: Any) -> np.ndarray:
        """See :meth:`GradientCombiner.solve`."""
        return minimise_on_simplex(gram)
