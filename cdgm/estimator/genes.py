"""Choose the genes (or features) of a model of a user's data."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdgm.config.value_support import Support
from cdgm.data.count_matrix import StoredCounts, count_totals
from cdgm.utils.errors import bad_input

#: More genes are not taken without being asked for: most would be noise, and all are held as a dense array.
MOST_UNASKED = 5_000
ALL = "all"
#: As in the project's own studies of cells.
THETA = 100.0


def choose_genes(x: Any, n_genes: int | str | None, support: Support) -> np.ndarray:
    """Positions of the genes to use, in the order of the matrix.

    Counts are ranked by the variance of their analytic Pearson residuals (Lause, Berens and Kobak 2021),
    other values by their variance. Sources and labels are not looked at.

    Parameters
    ----------
    x
        Observations (cells, genes): CSR, dense, or counts that stay in their file.
    n_genes
        How many, ``"all"``, or None: all, if they are few enough.
    support
        Of the likelihood.

    Raises
    ------
    UserError
        If there are very many and ``n_genes`` is None, or it is no number from 2 to that of the genes.
    """
    genes = x.shape[1]
    if n_genes == ALL:
        return np.arange(genes)
    if n_genes is None:
        if genes > MOST_UNASKED:
            raise bad_input(
                "n_genes", "", f"{genes:,} genes",
                f"how many to use: n_genes=2000 takes the most variable ones, n_genes='all' (a dense array "
                f"of {x.shape[0]:,} x {genes:,}) all of them",
            )  # fmt: skip
        return np.arange(genes)
    if isinstance(n_genes, bool) or not isinstance(n_genes, (int, np.integer)) or not 2 <= n_genes <= genes:
        raise bad_input("n_genes", "", n_genes, f"a number from 2 to {genes}, or 'all'")
    return np.sort(np.argsort(-spread(x, support), kind="stable")[:n_genes])


def spread(x: Any, support: Support) -> np.ndarray:
    """Score that ranks genes (genes,); a constant gene comes last."""
    import scipy.sparse as sp

    from cdgm.data.gene_selection.pearson_residuals import residual_variances

    values = np.full(x.shape[1], -1.0)
    if isinstance(x, StoredCounts):
        seen = np.flatnonzero(count_totals(x).gene_totals)
        values[seen] = residual_variances(x[:, seen], THETA)
        return values
    if support != "counts":
        if not sp.issparse(x):
            return x.var(axis=0, dtype=np.float64)
        mean = np.asarray(x.mean(axis=0, dtype=np.float64)).ravel()
        squares = np.bincount(x.indices, x.data.astype(np.float64) ** 2, x.shape[1]) / x.shape[0]
        return squares - mean**2
    counts = sp.csr_matrix(x, dtype=np.int64, copy=True)
    counts.sum_duplicates()
    counts.eliminate_zeros()
    seen = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel())
    values[seen] = residual_variances(counts[:, seen], THETA)
    return values
