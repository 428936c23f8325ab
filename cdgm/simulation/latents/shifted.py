"""Shared blocks whose mean differs between sources."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.config.design import Design
from cdgm.simulation.latents.base import Dims, LatentDistribution, shared_columns
from cdgm.simulation.latents.standard_normal import StandardNormal


class Shifted(LatentDistribution):
    """Normal with unit variances, but a shared block is not distributed alike in all sources.

    In the first source of the design all means are 0. From each source to the next the mean of every
    dimension of the shared blocks grows by ``shift``.

    Attributes
    ----------
    shift
        Step of the means between sources, in standard deviations of a dimension.
    """

    kind: Literal["shifted"] = "shifted"
    shift: float = Field(gt=0)

    def check(self, design: Design) -> None:
        """A block is needed that several sources have."""
        if not any(len(sources) > 1 for sources in design.blocks.values()):
            raise ValueError(f"{self.kind} latents need a block that several sources have")

    def draw(self, design: Design, dims: Dims, source: str, n: int, rng: np.random.Generator) -> np.ndarray:
        """See :meth:`LatentDistribution.draw`."""
        mean, _ = self.moments(design, dims, source)
        return StandardNormal().draw(design, dims, source, n, rng) + mean

    def moments(self, design: Design, dims: Dims, source: str) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`LatentDistribution.moments`."""
        shared = shared_columns(design, dims, source)
        return self.shift * design.sources.index(source) * shared, np.eye(len(shared))
