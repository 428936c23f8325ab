"""Genes that vary more than counting noise explains (Lause, Berens and Kobak, Genome Biology 2021)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from cdgm.data.count_matrix import Counts, StoredCounts, blocks, count_totals
from cdgm.data.gene_selection.base import GeneSelection, enough


class PearsonResiduals(GeneSelection):
    """Keeps the ``n`` genes with the most variable analytic Pearson residuals, most variable first.

    Attributes
    ----------
    n
        Number of genes.
    theta
        Inverse overdispersion of the negative binomial that residuals are taken against.
    """

    kind: Literal["pearson_residuals"] = "pearson_residuals"
    n: int = Field(ge=1)
    theta: float = Field(gt=0)

    def select(self, counts: Counts) -> np.ndarray:
        """Rank by residual variance; see the base class."""
        enough(self.n, counts)
        return np.argsort(-residual_variances(counts, self.theta), kind="stable")[: self.n]


def residual_variances(counts: Counts, theta: float) -> np.ndarray:
    """Variance over cells of each gene's analytic Pearson residuals.

    scanpy computes it from counts in memory. Counts that stay in a file are walked through in blocks of
    rows (:func:`variances_by_blocks`); the two agree to about 1e-7. Cells without a count tell nothing and
    are left out of the former; preprocessing filters them out of both.

    Parameters
    ----------
    counts
        Integer counts (cells, genes); every gene has a count.
    theta
        Inverse overdispersion.

    Returns
    -------
    ndarray
        Variances (genes,), float64.
    """
    if isinstance(counts, StoredCounts):
        return variances_by_blocks(counts, theta)
    import scanpy as sc
    from anndata import AnnData

    empty = np.diff(counts.indptr) == 0
    if empty.any():
        counts = counts[~empty]
    table: Any = sc.experimental.pp.highly_variable_genes(
        AnnData(counts),
        flavor="pearson_residuals",
        theta=theta,
        n_top_genes=1,  # required by scanpy; the caller ranks the variances itself
        inplace=False,
    )
    return table["residual_variances"].to_numpy(dtype=np.float64)


def variances_by_blocks(counts: Counts, theta: float) -> np.ndarray:
    r"""Variance of each gene's Pearson residuals (genes,), in one pass and without a dense matrix.

    The residual of a count x is :math:`(x - \mu) / \sqrt{\mu + \mu^2 / \theta}`, clipped at the square root
    of the number of cells, where :math:`\mu` is the cell's total times the gene's share of all molecules.
    The residual of a zero depends on the cell's total and the gene alone. So the moments are formed as if
    all counts were zero, once for each *different* total, and corrected at the positive counts. Corrections
    are added one by one in the order of cells, so the size of the blocks does not change a byte.
    """
    known = count_totals(counts)
    cells, genes = counts.shape
    clip = np.sqrt(cells)
    share = known.gene_totals / known.gene_totals.sum()
    totals, times = np.unique(known.cell_totals, return_counts=True)
    first, second = np.zeros(genes), np.zeros(genes)

    def of_zeros(mean: np.ndarray) -> np.ndarray:
        return np.maximum(-np.sqrt(mean / (1 + mean / theta)), -clip)

    # Fixed here, not counts.block_rows: the order of these sums is part of the result.
    step = max(1, (1 << 22) // genes)
    for start in range(0, len(totals), step):
        residual = of_zeros(totals[start : start + step, None] * share)
        weight = times[start : start + step].astype(np.float64)
        first += weight @ residual
        second += weight @ residual**2

    done = 0
    for block in blocks(counts):
        total = np.repeat(known.cell_totals[done : done + block.shape[0]], np.diff(block.indptr))
        done += block.shape[0]
        mean = total * share[block.indices]
        zero = of_zeros(mean)
        residual = np.clip((block.data - mean) / np.sqrt(mean + mean**2 / theta), -clip, clip)
        np.add.at(first, block.indices, residual - zero)
        np.add.at(second, block.indices, residual**2 - zero**2)
    return second / cells - (first / cells) ** 2
