"""Two groups of rows compared feature by feature, by scanpy: the simple baseline of gene rankings."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from cdgm.config.value_support import Support


def compare_groups(rows: np.ndarray, reference: np.ndarray, support: Support = "counts") -> pd.DataFrame:
    """Compare features between two groups with scanpy's ``rank_genes_groups`` (Welch's t-test).

    Counts are normalised to the median total of a cell and log-transformed first. The test treats rows as
    independent and the whole difference of the groups as the effect, which is what a comparative model is
    compared with.

    Parameters
    ----------
    rows
        Observations of the group of interest (n, D), at least two.
    reference
        Observations of the other group (m, D), at least two.
    support
        Of the values: only counts are normalised.

    Returns
    -------
    DataFrame
        One row a feature, in order. ``score``: t statistic, positive where ``rows`` are higher;
        ``p_adjusted``: Benjamini-Hochberg. Constant features have score 0 and p 1.
    """
    import scanpy as sc
    from anndata import AnnData

    cells = AnnData(np.concatenate([rows, reference]).astype(np.float32))
    cells.obs["group"] = pd.Categorical(np.repeat(["rows", "reference"], [len(rows), len(reference)]))
    with warnings.catch_warnings():
        # Notes on constant features and on values that were not logarithmised by scanpy.
        warnings.simplefilter("ignore")
        if support == "counts":
            sc.pp.normalize_total(cells)
            sc.pp.log1p(cells)
        sc.tl.rank_genes_groups(cells, "group", groups=["rows"], reference="reference", method="t-test")
        table = sc.get.rank_genes_groups_df(cells, "rows").set_index("names").loc[cells.var_names]
    return pd.DataFrame(
        {
            "score": np.nan_to_num(table["scores"].to_numpy(dtype=np.float64)),
            "p_adjusted": table["pvals_adj"].fillna(1.0).to_numpy(dtype=np.float64),
        }
    )
