"""Gaussian observation noise."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.plugins import Plugin


class Gaussian(Plugin):
    """``x = f + sd e`` with standard normal ``e``; ``f`` comes scaled to unit sd.

    Attributes
    ----------
    sd
        Standard deviation of the noise, in units of the signal's.
    """

    kind: Literal["gaussian"] = "gaussian"
    sd: float = Field(gt=0)

    def draw(self, rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        """Observations (n, features) for a signal of the same shape."""
        return signal + self.sd * rng.standard_normal(signal.shape)
