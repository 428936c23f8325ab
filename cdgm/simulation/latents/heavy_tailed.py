"""Independent latents with heavy tails."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.config.design import Design
from cdgm.simulation.latents.base import Dims, LatentDistribution


class HeavyTailed(LatentDistribution):
    """All active dimensions independent, each Student's t scaled to unit variance.

    Attributes
    ----------
    df
        Degrees of freedom; above 2, so that there is a variance.
    """

    kind: Literal["heavy_tailed"] = "heavy_tailed"
    df: float = Field(gt=2)

    def draw(self, design: Design, dims: Dims, source: str, n: int, rng: np.random.Generator) -> np.ndarray:
        """See :meth:`LatentDistribution.draw`."""
        blocks = [rng.standard_t(self.df, (n, dims[block])) for block in design.active(source)]
        return np.sqrt((self.df - 2) / self.df) * np.concatenate(blocks, axis=1)

    def log_density(self, latents: np.ndarray, design: Design, dims: Dims, source: str) -> np.ndarray:
        """See :meth:`LatentDistribution.log_density`."""
        return -0.5 * (self.df + 1) * np.log1p(np.square(latents) / (self.df - 2)).sum(axis=-1)
