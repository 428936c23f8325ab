"""The interface of observation noises."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from cdgm.config.value_support import Support
from cdgm.utils.registry import Plugin


class Noise(Plugin):
    """Distribution of simulated observations given the mixing's output: an exponential family.

    The log-density of an entry is ``x natural(f) - partition(f)``, up to a term that depends on x alone.
    """

    support: ClassVar[Support]
    """Values that the observations take; a likelihood of a narrower support is refused."""

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
    def natural(self, signal: np.ndarray) -> np.ndarray:
        """Natural parameter of each entry: the factor of ``x`` in its log-density."""

    @abstractmethod
    def partition(self, signal: np.ndarray) -> np.ndarray:
        """Log-partition of each entry: the part of its log-density without ``x``, negated."""

    def log_likelihood(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Log-densities (n, draws) of points (n, features) under signals (n, draws, features)."""
        # Matrix products: NumPy's own sums over a short axis are several times slower.
        ones = np.ones(x.shape[-1], dtype=signal.dtype)
        return (self.natural(signal) @ x[..., None])[..., 0] - self.partition(signal) @ ones

    @abstractmethod
    def score(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Derivative of the log-density of each entry by the signal."""

    @abstractmethod
    def information(self, signal: np.ndarray) -> np.ndarray:
        """Fisher information of each entry on its signal: the variance of :meth:`score`."""


# Its exponential is a number in single precision too.
_EXPONENT = 80.0


def log_one_plus_exp(values: np.ndarray) -> np.ndarray:
    """``log(1 + exp(values))`` without overflow; several times faster than ``logaddexp``."""
    if values.size and values.max() < _EXPONENT:
        excess = np.exp(values)
        return np.log1p(excess, out=excess)
    return np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values)))
