"""The interface of distributions of latents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np

from cdgm.config.design import Design
from cdgm.utils.registry import Plugin

Dims = Mapping[str, int]


class LatentDistribution(Plugin):
    """Joint distribution of a source's active blocks. Models assume N(0, I); others are a misspecification.

    Methods see the active blocks of a source side by side, in decoder order: (n, sum of their dims).
    """

    def check(self, design: Design) -> None:
        """Refuse a design in which this distribution has no meaning, with a ValueError."""

    @abstractmethod
    def draw(self, design: Design, dims: Dims, source: str, n: int, rng: np.random.Generator) -> np.ndarray:
        """Latents (n, d) of the active blocks of ``source``."""

    def moments(self, design: Design, dims: Dims, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d) of :meth:`draw`; by default 0 and the identity."""
        d = width(design, dims, source)
        return np.zeros(d), np.eye(d)

    def log_density(self, latents: np.ndarray, design: Design, dims: Dims, source: str) -> np.ndarray:
        """Log-density (...) of latents (..., d) up to a constant of the source; by default a normal one."""
        mean, covariance = self.moments(design, dims, source)
        root = np.linalg.cholesky(np.linalg.inv(covariance))
        return -0.5 * np.square((latents - mean) @ root).sum(axis=-1)


def width(design: Design, dims: Dims, source: str) -> int:
    """Number of active dimensions of a source."""
    return sum(dims[block] for block in design.active(source))


def shared_columns(design: Design, dims: Dims, source: str) -> np.ndarray:
    """Which of a source's active dimensions belong to blocks that other sources have too, (d,) bool."""
    return np.concatenate(
        [np.full(dims[block], len(design.blocks[block]) > 1) for block in design.active(source)]
    )
