"""Linear mixing: the easiest piecewise affine case, a control."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cdgm.simulation.mixings.base import Mixing, MixingFunction, layer_weights, layered


class Linear(Mixing):
    """One random linear layer with orthonormal rows."""

    kind: Literal["linear"] = "linear"

    def draw(self, rng: np.random.Generator, n_latent: int, n_features: int) -> MixingFunction:
        """See :meth:`Mixing.draw`."""
        return layered(layer_weights(rng, n_latent, n_latent, n_features, layers=1), lambda h: h)
