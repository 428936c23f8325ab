"""The interface of mixing functions, and the random orthonormal layers of most of them."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from cdgm.utils.registry import Plugin

Latents = dict[str, np.ndarray]
MixingFunction = Callable[[Latents], np.ndarray]


class Mixing(Plugin):
    """A family of mixing functions; :meth:`draw` picks one at random."""

    @property
    def slug(self) -> str:
        """Short readable name for ids."""
        return self.kind

    @abstractmethod
    def draw(self, rng: np.random.Generator, n_latent: int, n_features: int) -> MixingFunction:
        """Draw a mixing function.

        Parameters
        ----------
        rng
            Source of the random weights.
        n_latent
            Number of latent dimensions over all blocks.
        n_features
            Number of outputs.

        Returns
        -------
        callable
            Maps latents, block to (n, d) with blocks in decoder order, to outputs (n, n_features).
        """


def orthonormal(rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
    """Haar-random (n_in, n_out) matrix with orthonormal rows (``n_in <= n_out``): injective.

    Raises
    ------
    ValueError
        If ``n_out < n_in``.
    """
    if n_out < n_in:
        raise ValueError(f"{n_in} inputs can't be mapped injectively to {n_out} outputs")
    q, r = np.linalg.qr(rng.standard_normal((n_out, n_in)))
    # QR fixes the factors only up to signs; this choice makes the distribution uniform (Mezzadri 2007).
    return (q * np.sign(np.diag(r))).T


def join(latents: Latents) -> np.ndarray:
    """Blocks side by side, (n, sum of d), in the mapping's order."""
    return np.concatenate(list(latents.values()), axis=-1)


def layer_weights(
    rng: np.random.Generator, n_latent: int, width: int, n_features: int, layers: int
) -> list[np.ndarray]:
    """Random orthonormal weights (in, out) of ``layers`` linear layers."""
    widths = [n_latent] + [width] * (layers - 1) + [n_features]
    return [orthonormal(rng, a, b) for a, b in itertools.pairwise(widths)]


def layered(weights: Sequence[np.ndarray], activation: Callable[[np.ndarray], np.ndarray]) -> MixingFunction:
    """Linear layers without biases, with ``activation`` between them."""

    def mix(latents: Latents) -> np.ndarray:
        h = join(latents)
        # Single precision stays single.
        first, *others = (weight.astype(h.dtype, copy=False) for weight in weights)
        h = h @ first
        for weight in others:
            h = activation(h) @ weight
        return h

    return mix
