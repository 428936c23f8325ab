"""Negative binomial observation noise."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cdgm.config.value_support import Support
from cdgm.simulation.noises.base import Noise, log_one_plus_exp


class NegativeBinomial(Noise):
    """Counts of mean ``m = rate exp(f)`` and variance ``m + m^2 / dispersion``.

    They are drawn as Poisson counts whose rate is ``m`` times a gamma variable of mean 1 and variance
    1 / dispersion, which is the same distribution.

    Attributes
    ----------
    rate
        Mean where the signal is 0; the median of the means where the signal is symmetric about 0. At most
        1e5: data files hold 32-bit floats, which round counts above 1.6e7.
    dispersion
        Shape of the gamma variable; Poisson noise is the limit of large values.
    """

    kind: Literal["negative_binomial"] = "negative_binomial"
    support: ClassVar[Support] = "counts"
    rate: float = Field(gt=0, le=1e5)
    dispersion: float = Field(gt=0)

    def draw(self, rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.draw`."""
        factor = rng.standard_gamma(self.dispersion, signal.shape) / self.dispersion
        return rng.poisson(self.rate * np.exp(signal) * factor)

    def natural(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.natural`."""
        return signal - self._log_excess(signal)

    def partition(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.partition`."""
        return self.dispersion * self._log_excess(signal)

    def log_likelihood(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.log_likelihood`; forms the logarithm that both parts share once."""
        excess = self._log_excess(signal)
        return (signal @ x[..., None] - excess @ (x + self.dispersion)[..., None])[..., 0]

    def score(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.score`."""
        mean = self.rate * np.exp(signal)
        return (x - mean) / (1 + mean / self.dispersion)

    def information(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.information`."""
        mean = self.rate * np.exp(signal)
        return mean / (1 + mean / self.dispersion)

    def _log_excess(self, signal: np.ndarray) -> np.ndarray:
        """log(1 + mean / dispersion), from the logarithm of the ratio, which cannot overflow."""
        return log_one_plus_exp(math.log(self.rate / self.dispersion) + signal)
