"""Leaky ReLU mixing: injective, continuous and piecewise affine, as the theorem on blocks demands."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.simulation.mixings.base import Mixing, MixingFunction, layer_weights, layered


class LeakyReLU(Mixing):
    """Random orthonormal layers with leaky ReLU between them, without biases.

    Attributes
    ----------
    layers
        Number of linear layers; ``layers - 1`` nonlinearities.
    slope
        Slope for negative inputs; positive, so that each layer stays injective.
    width
        Width of the hidden layers, at least the number of latents.
    """

    kind: Literal["leaky_relu"] = "leaky_relu"
    layers: int = Field(ge=1, le=1_000)
    slope: float = Field(gt=0, lt=1)
    width: int = Field(ge=1)

    @property
    def slug(self) -> str:
        """Kind and depth."""
        return f"{self.kind}{self.layers}"

    def draw(self, rng: np.random.Generator, n_latent: int, n_features: int) -> MixingFunction:
        """See :meth:`Mixing.draw`."""
        slope = self.slope
        return layered(self.weights(rng, n_latent, n_features), lambda h: np.maximum(h, slope * h))

    def weights(self, rng: np.random.Generator, n_latent: int, n_features: int) -> list[np.ndarray]:
        """Weights (in, out) of the layers that :meth:`draw` gives from an equal stream."""
        return layer_weights(rng, n_latent, self.width, n_features, self.layers)
