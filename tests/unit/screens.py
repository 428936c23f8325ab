"""Made-up CRISPR screens in the format of the atlases' files."""

from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

GENES = 60


def screen(path: Path, perturbations: Sequence[str], cells: int = 420) -> Path:
    """An AnnData file of counts (CSR, single precision, packed); each perturbation changes one gene.

    Cell by cell the perturbations take turns. As in the atlases, ``obs`` holds numbers, texts and categories
    that nobody asks for, some of them missing, and ``var`` a second name of each gene.
    """
    rng = np.random.default_rng(0)
    which = np.arange(cells) % len(perturbations)
    rate = np.full((cells, GENES), 2.0)
    rate[np.arange(cells), which % GENES] = 20.0
    x = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    totals = np.asarray(x.sum(axis=1)).ravel()
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical(np.array(perturbations)[which]),
            "guide_id": pd.Categorical([f"guide {i}" if i % 5 else None for i in which]),
            "ncounts": totals,
            "percent_mito": np.where(which % 7 == 0, np.nan, 100 / totals),
            "nperts": which % 3,
            "good_coverage": which % 2 == 0,
            "cancer": True,
            "disease": "chronic myelogenous leukemia",
        },
        index=pd.Index([f"AAAC{i}-1" for i in range(cells)], name="cell_barcode"),
    )
    var = pd.DataFrame(
        {"ensembl_id": [f"ENSG{j:011d}" for j in range(GENES)], "ncells": x.getnnz(axis=0)},
        index=pd.Index([f"g{j}" for j in range(GENES)], name="gene_symbol"),
    )
    made = anndata.AnnData(
        x, obs=obs, var=var, uns={"preprocessed": "no"}, obsm={"X_pca": np.zeros((cells, 2))}
    )
    made.write_h5ad(path, compression="gzip")
    return path
