"""Gaussian observation noise."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cdgm.config.value_support import Support
from cdgm.simulation.noises.base import Noise


class Gaussian(Noise):
    """``x = f + sd e`` with standard normal ``e``.

    Attributes
    ----------
    sd
        Standard deviation of the noise, in units of the signal's.
    """

    kind: Literal["gaussian"] = "gaussian"
    support: ClassVar[Support] = "real"
    sd: float = Field(gt=0, le=1e5)

    def draw(self, rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.draw`."""
        return signal + self.sd * rng.standard_normal(signal.shape)

    def natural(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.natural`."""
        return signal / self.sd**2

    def partition(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.partition`."""
        return 0.5 * np.square(signal / self.sd)

    def score(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.score`."""
        return (x - signal) / self.sd**2

    def information(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.information`."""
        return np.full_like(signal, self.sd**-2)
