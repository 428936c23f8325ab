"""Filter genes and cells: by scanpy for counts in memory, by totals for counts in a file."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdgm.data.count_matrix import Counts, StoredCounts


def passing_genes(counts: Counts, min_cells: int) -> np.ndarray:
    """Mask (genes,) of the genes that have a count in at least ``min_cells`` cells."""
    if isinstance(counts, StoredCounts):
        return counts.totals.gene_cells >= min_cells
    import scanpy as sc

    passing: Any = sc.pp.filter_genes(counts, min_cells=min_cells, inplace=False)
    return passing[0]


def passing_cells(counts: Counts, min_counts: int, min_genes: int) -> np.ndarray:
    """Mask (cells,) of the cells that have at least ``min_counts`` molecules and ``min_genes`` genes."""
    if isinstance(counts, StoredCounts):
        known = counts.totals
        return (known.cell_totals >= min_counts) & (known.cell_genes >= min_genes)
    import scanpy as sc

    by_counts: Any = sc.pp.filter_cells(counts, min_counts=min_counts, inplace=False)
    by_genes: Any = sc.pp.filter_cells(counts, min_genes=min_genes, inplace=False)
    return by_counts[0] & by_genes[0]
