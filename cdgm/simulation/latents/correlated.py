"""Shared and private blocks that depend on each other within a source."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.config.design import Design
from cdgm.simulation.latents.base import Dims, LatentDistribution, shared_columns, width
from cdgm.simulation.latents.standard_normal import StandardNormal


class Correlated(LatentDistribution):
    """Normal, each block N(0, I) by itself, but shared and private blocks correlated.

    The first private dimension of a source is correlated with its first shared one, the second with the
    second, and so on while both last: the canonical correlations of the two are ``correlation``, as many
    as the smaller of them has dimensions.

    Attributes
    ----------
    correlation
        Correlation of a pair.
    """

    kind: Literal["correlated"] = "correlated"
    correlation: float = Field(gt=-1, lt=1)

    def check(self, design: Design) -> None:
        """A source is needed that has shared and private blocks."""
        if not any(
            len({len(design.blocks[block]) > 1 for block in design.active(source)}) == 2
            for source in design.sources
        ):
            raise ValueError(f"{self.kind} latents need a source that has a shared and a private block")

    def draw(self, design: Design, dims: Dims, source: str, n: int, rng: np.random.Generator) -> np.ndarray:
        """See :meth:`LatentDistribution.draw`."""
        latents = StandardNormal().draw(design, dims, source, n, rng)
        shared, private = self._pairs(design, dims, source)
        rest = np.sqrt(1 - self.correlation**2)
        latents[:, private] = self.correlation * latents[:, shared] + rest * latents[:, private]
        return latents

    def moments(self, design: Design, dims: Dims, source: str) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`LatentDistribution.moments`."""
        covariance = np.eye(width(design, dims, source))
        shared, private = self._pairs(design, dims, source)
        covariance[shared, private] = covariance[private, shared] = self.correlation
        return np.zeros(len(covariance)), covariance

    @staticmethod
    def _pairs(design: Design, dims: Dims, source: str) -> tuple[np.ndarray, np.ndarray]:
        is_shared = shared_columns(design, dims, source)
        shared, private = np.flatnonzero(is_shared), np.flatnonzero(~is_shared)
        n = min(len(shared), len(private))
        return shared[:n], private[:n]
