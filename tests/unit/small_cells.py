"""Small cells with a known background and salient part, and models of them."""

from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

import cdgm
from cdgm.estimator.selection import sweep

CELLS, GENES, MOVED = 160, 24, 6
SMALL = {"n_background": 2, "n_salient": 2, "variant": "cvae", "model": {"encoder_hidden": [16]}}


def latents(seed: int = 0, cells: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
    """z of all cells and t, which is 0 in the first half (the background); (cells, 2) each."""
    rng = np.random.default_rng(seed)
    z, t = rng.standard_normal((2, cells, 2))
    t[: cells // 2] = 0
    return z, t


def counts(seed: int = 0, cells: int = CELLS, genes: int = GENES) -> np.ndarray:
    """Counts (cells, genes) whose first genes are moved by t."""
    z, t = latents(seed, cells)
    rng = np.random.default_rng(seed + 1)
    loads, moves = 0.5 * rng.standard_normal((2, genes)), np.zeros((2, genes))
    loads[:, :MOVED] = 0
    # As many up as down: totals are no part of the model.
    moves[:, :MOVED] = 0.9 * np.array([[1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1]])
    return np.minimum(rng.poisson(4 * np.exp(z @ loads + t @ moves)), 255)


def cells(x: Any = None, seed: int = 0, **columns: Any) -> anndata.AnnData:
    """An AnnData object with sources in ``condition`` and the sign of t in ``state``."""
    x = sp.csr_matrix(counts(seed).astype(np.float32)) if x is None else x
    half = x.shape[0] // 2
    obs = {
        "condition": pd.Categorical(np.where(np.arange(x.shape[0]) < half, "ctrl", "drug")),
        "state": np.where(latents(seed, x.shape[0])[1][:, 0] > 0, "up", "down"),
    }
    return anndata.AnnData(
        x,
        obs=pd.DataFrame(obs | columns, index=[f"c{i}" for i in range(x.shape[0])]),
        var=pd.DataFrame(index=[f"g{j}" for j in range(x.shape[1])]),
    )


def set_up(adata: anndata.AnnData, **changes: Any) -> anndata.AnnData:
    """The same object, set up."""
    cdgm.ComparativeModel.setup_anndata(
        adata, **({"source_key": "condition", "background": "ctrl", "labels_key": "state"} | changes)
    )
    return adata


def model(adata: anndata.AnnData | None = None, **changes: Any) -> cdgm.ComparativeModel:
    """A small model, not trained."""
    return cdgm.ComparativeModel(set_up(cells()) if adata is None else adata, **(SMALL | changes))


def trained(adata: anndata.AnnData | None = None, steps: int = 40, **changes: Any) -> cdgm.ComparativeModel:
    """A small model, hardly trained."""
    made = model(adata, **changes)
    made.train(max_steps=steps, progress_bar=False)
    return made


def train_briefly(monkeypatch) -> None:
    """Let every model train for 20 steps, and be scored with few draws."""
    real = cdgm.ComparativeModel.train

    def train(self, *_, n_starts=1, **__):
        self.protocol = self.protocol | {"evaluation": {"elbo_draws": 1, "null_draws": 20}}
        real(self, max_steps=20, n_starts=n_starts)

    monkeypatch.setattr(cdgm.ComparativeModel, "train", train)
    monkeypatch.setattr(sweep, "NULL_DRAWS", 5)
