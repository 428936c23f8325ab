"""What an observation noise is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from cdgm.plugins import Plugin
from cdgm.support import Support


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
