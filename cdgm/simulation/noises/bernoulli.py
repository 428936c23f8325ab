"""Bernoulli observation noise."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cdgm.config.value_support import Support
from cdgm.simulation.noises.base import Noise, log_one_plus_exp


class Bernoulli(Noise):
    """``x`` is 1 with probability ``1 / (1 + exp(-scale f))``, else 0.

    Attributes
    ----------
    scale
        Standard deviation of the logits, since the signal's is 1.
    """

    kind: Literal["bernoulli"] = "bernoulli"
    support: ClassVar[Support] = "binary"
    scale: float = Field(gt=0, le=1e5)

    def draw(self, rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.draw`."""
        # A standard logistic variable lies below the logit with just that probability, and neither
        # exp() nor a quotient can overflow.
        return (rng.logistic(size=signal.shape) < self.scale * signal).astype(np.int64)

    def natural(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.natural`."""
        return self.scale * signal

    def partition(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.partition`."""
        return log_one_plus_exp(self.scale * signal)

    def score(self, x: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.score`."""
        return self.scale * (x - self._probability(signal))

    def information(self, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.information`."""
        p = self._probability(signal)
        return self.scale**2 * p * (1 - p)

    def _probability(self, signal: np.ndarray) -> np.ndarray:
        return 0.5 * (1 + np.tanh(0.5 * self.scale * signal))
