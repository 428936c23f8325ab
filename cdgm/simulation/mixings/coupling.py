"""Additive couplings (after NICE, Dinh et al. 2015): injective, continuous and piecewise affine."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.simulation.mixings.base import Latents, Mixing, MixingFunction, join, orthonormal


class Coupling(Mixing):
    """Random rotations, and after each of them a shift of one half of the coordinates by the other half.

    The first half a stays, the second becomes ``b + strength relu(a A + c) B``, so each step is undone by
    subtraction and keeps volumes. Unlike leaky ReLU layers, kinks lie away from the origin, and what a
    coordinate does depends on others.

    Attributes
    ----------
    layers
        Number of couplings, of which each has a rotation before it; the last linear layer comes on top.
    strength
        Size of the shifts.
    kinks
        Number of hyperplanes at which a shift bends.
    """

    kind: Literal["coupling"] = "coupling"
    layers: int = Field(ge=1, le=1_000)
    strength: float = Field(gt=0, le=1_000)
    kinks: int = Field(ge=1, le=10_000)

    @property
    def slug(self) -> str:
        """Kind and depth."""
        return f"{self.kind}{self.layers}"

    def draw(self, rng: np.random.Generator, n_latent: int, n_features: int) -> MixingFunction:
        """See :meth:`Mixing.draw`."""
        half, k = n_latent // 2, self.kinks
        steps = [
            (  # single precision of latents stays single
                orthonormal(rng, n_latent, n_latent),
                rng.standard_normal((half, k)) / np.sqrt(max(half, 1)),
                rng.standard_normal(k),
                self.strength * rng.standard_normal((k, n_latent - half)) / np.sqrt(k),
            )
            for _ in range(self.layers)
        ]
        last = orthonormal(rng, n_latent, n_features)

        def mix(latents: Latents) -> np.ndarray:
            h = join(latents)
            for weights in steps:
                turn, into, offset, out = (w.astype(h.dtype, copy=False) for w in weights)
                h = h @ turn
                shift = np.maximum(h[..., :half] @ into + offset, 0) @ out
                h = np.concatenate([h[..., :half], h[..., half:] + shift], axis=-1)
            return h @ last.astype(h.dtype, copy=False)

        return mix
