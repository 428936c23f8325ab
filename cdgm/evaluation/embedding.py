"""Two-dimensional maps of latent spaces: to look at, never to measure on."""

from __future__ import annotations

import warnings

import numpy as np


def layout(latent: np.ndarray, seed: int, neighbours: int = 15) -> np.ndarray:
    """UMAP layout (n, 2) of latents (n, d), the same on every run.

    Parameters
    ----------
    latent
        Latents; spaces of fewer than three cells per neighbour are laid out with fewer neighbours.
    seed
        Seed of the layout; it also makes UMAP run on one thread, which is what makes it repeatable.
    neighbours
        Neighbours of each cell in the graph.
    """
    import umap

    latent = np.asarray(latent, dtype=np.float64)
    with warnings.catch_warnings():
        # UMAP announces that a seed costs it its threads, which is wanted here.
        warnings.simplefilter("ignore")
        reducer = umap.UMAP(n_neighbors=min(neighbours, len(latent) // 3), random_state=seed, min_dist=0.3)
        return reducer.fit_transform(latent)
