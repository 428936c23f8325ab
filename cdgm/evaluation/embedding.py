"""Two-dimensional maps of latent spaces: to look at, never to measure on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def layout(latent: np.ndarray, seed: int, neighbours: int = 15) -> np.ndarray:
    """Lay latents out in the plane by scanpy's neighbour graph and UMAP.

    The neighbours are exact, and the seed keeps UMAP on one thread, so equal inputs give equal bytes.

    Parameters
    ----------
    latent
        Latents (n, d), n at least 6.
    seed
        Seed of the layout.
    neighbours
        Neighbours of each cell in the graph; at most a third of the cells.

    Returns
    -------
    ndarray
        Coordinates (n, 2), float32.
    """
    import scanpy as sc
    from anndata import AnnData
    from sklearn.neighbors import KNeighborsTransformer

    cells = AnnData(np.asarray(latent, dtype=np.float32))
    # scanpy's default for many cells is an approximate search.
    search: Any = KNeighborsTransformer(n_neighbors=min(neighbours, cells.n_obs // 3), algorithm="kd_tree")
    with warnings.catch_warnings():
        # UMAP warns that a seed restricts it to one thread, which is the intention.
        warnings.simplefilter("ignore")
        sc.pp.neighbors(cells, use_rep="X", transformer=search, random_state=seed)
        sc.tl.umap(cells, min_dist=0.3, random_state=seed)
    return np.asarray(cells.obsm["X_umap"])
