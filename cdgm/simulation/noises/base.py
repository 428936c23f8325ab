"""What an observation noise is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from cdgm.config.support import Support
from cdgm.utils.registry import Plugin


class Noise(Plugin):
    """Law of simulated observations given the mixing's output."""

    support: ClassVar[Support]
    """Which values the observations take; a likelihood of a narrower support is refused."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        """Draw observations.

        Parameters
        ----------
        rng
            Source of the random numbers.
        signal
            Output f of the mixing (n, features), scaled to unit sd over all points and features.

        Returns
        -------
        ndarray (n, features)
            Given the signal, its entries are independent.
        """

    @abstractmethod
    def log_density(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Log-density of each entry of ``x`` (n, features), up to what depends on ``x`` alone."""

    @abstractmethod
    def score(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Derivative of :meth:`log_density` by the signal."""

    @abstractmethod
    def information(self, signal: np.ndarray) -> np.ndarray:
        """Fisher information of each entry on its signal: the variance of :meth:`score`."""


def log_one_plus_exp(values: np.ndarray) -> np.ndarray:
    """``log(1 + exp(values))`` without overflow; several times faster than ``logaddexp``."""
    return np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values)))
