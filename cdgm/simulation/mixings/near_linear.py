"""Smooth mixing that is close to linear: not piecewise affine, yet easy to recover."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.simulation.mixings.base import Mixing, MixingFunction, layer_weights, layered


class NearLinear(Mixing):
    """Random orthonormal layers with ``tanh(h) + slope h`` between them (after iVAE's "xtanh").

    The theorem does not cover this class, so high recovery here does not contradict it.

    Attributes
    ----------
    layers
        Number of linear layers.
    slope
        Slope of the linear part.
    width
        Width of the hidden layers, at least the number of latents.
    """

    kind: Literal["near_linear"] = "near_linear"
    layers: int = Field(ge=1, le=1_000)
    slope: float = Field(gt=0)
    width: int = Field(ge=1)

    @property
    def slug(self) -> str:
        """Kind and depth."""
        return f"{self.kind}{self.layers}"

    def draw(self, rng: np.random.Generator, n_latent: int, n_features: int) -> MixingFunction:
        """See :meth:`Mixing.draw`."""
        slope = self.slope
        weights = layer_weights(rng, n_latent, self.width, n_features, self.layers)
        return layered(weights, lambda h: np.tanh(h) + slope * h)
