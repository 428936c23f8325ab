"""Gaussian observation noise."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cdgm.support import Support
from cdgm.synthetic.noises._base import Noise


class Gaussian(Noise):
    """``x = f + sd e`` with standard normal ``e``.

    Attributes
    ----------
    sd
        Standard deviation of the noise, in units of the signal's.
    """

    kind: Literal["gaussian"] = "gaussian"
    support: ClassVar[Support] = "real"
    sd: float = Field(gt=0)

    def draw(self, rng: np.random.Generator, signal: np.ndarray) -> np.ndarray:
        """See :meth:`Noise.draw`."""
        return signal + self.sd * rng.standard_normal(signal.shape)
