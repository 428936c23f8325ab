"""A mixing composed with an inverse twist: the same distribution of the data from other latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cdgm.config.latent_twist import Twist
from cdgm.simulation.mixings import MIXINGS
from cdgm.simulation.mixings.base import Latents, Mixing, MixingFunction
from cdgm.utils.registry import field_of

if TYPE_CHECKING:
    BaseMixing = Mixing
else:
    BaseMixing = field_of(MIXINGS)


class Twisted(Mixing):
    """``f o T^-1`` for a mixing ``f`` of another kind and a twist ``T`` (:mod:`cdgm.config.latent_twist`).

    Drawn from equal streams, it uses the same ``f`` as ``base`` alone does, so latents ``T(u)`` here
    give the very points that ``u`` gives there.
    """

    kind: Literal["twisted"] = "twisted"
    base: BaseMixing
    twist: Twist

    def draw(self, rng: np.random.Generator, n_latent: int, n_features: int) -> MixingFunction:
        """See :meth:`Mixing.draw`."""
        base = self.base.draw(rng, n_latent, n_features)

        def mix(latents: Latents) -> np.ndarray:
            return base(self.twist.apply(latents, np, inverse=True))

        return mix
