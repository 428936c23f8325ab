"""scvi-tools' ContrastiveVI with all its defaults on a file, beside what `cdgm fit` costs with its own.

    python -m benchmarks.peer_defaults cells.h5ad source_key background

Trains one model and computes both latent spaces of all cells.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np


def main() -> None:
    """Fit and embed; prints nothing."""
    import anndata
    from scvi.external import ContrastiveVI

    warnings.simplefilter("ignore")  # Lightning advises on workers and loggers
    path, key, background = sys.argv[1:]
    cells = anndata.read_h5ad(path)
    inside = (cells.obs[key].astype(str) == background).to_numpy()
    rows = [np.flatnonzero(group).tolist() for group in (inside, ~inside)]
    ContrastiveVI.setup_anndata(cells)
    model = ContrastiveVI(cells)
    with tempfile.TemporaryDirectory() as folder:
        model.train(*rows, accelerator="cpu", enable_progress_bar=False, default_root_dir=Path(folder))
    for block in ("background", "salient"):
        cells.obsm[block] = model.get_latent_representation(cells, representation_kind=block)


if __name__ == "__main__":
    main()
