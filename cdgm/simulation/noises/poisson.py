"""Poisson observation noise."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cdgm.config.value_support import Support
from cdgm.simulation.noises.base import Noise


class Poisson(Noise):
    """``x ~ Poisson(rate exp(f))``, so log-rates are the mixing's output, shifted.

    Attributes
    ----------
    rate
        Rate where the signal is 0; the median rate where the signal is symmetric about 0, as it is for
        linear mixing. At most 1e5: data files hold 32-bit floats, which round counts above 1.6e7.
    """

    kind: Literal["poisson"] = "poisson"
    support: ClassVar[Support] = "counts"
    rate: float = Field(gt=0, le=1e5)

    def draw(self, rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.draw`."""
        return rng.poisson(self.rate * np.exp(signal))

    def natural(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.natural`."""
        return signal

    def partition(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.partition`."""
        return self.rate * np.exp(signal)

    def score(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.score`."""
        return x - self.rate * np.exp(signal)

    def information(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.information`."""
        return self.rate * np.exp(signal)
