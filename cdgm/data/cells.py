"""What a reader hands on: integer counts with their genes and what is known of each cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cdgm.data.counts import Counts, in_memory

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cells:
    """Counts of one data set.

    Attributes
    ----------
    counts
        Integer counts of shape (cells, genes), without stored zeros: CSR, or stored where they are too
        many to be held (:mod:`cdgm.data.counts`).
    genes
        Gene names, (genes,), unique.
    obs
        One row a cell, indexed by cell name. Text columns; ``source`` says which source a cell belongs
        to (absent before a spike-in, which assigns it), ``label`` is the label that scores are about.
    """

    counts: Counts
    genes: np.ndarray
    obs: pd.DataFrame

    def take(self, rows: np.ndarray) -> Cells:
        """Keep the given cells (integer positions or a mask, (cells,))."""
        return Cells(self.counts[rows], self.genes, self.obs.iloc[np.arange(len(self.obs))[rows]])

    def take_genes(self, columns: np.ndarray) -> Cells:
        """Keep the given genes in the given order (integer positions or a mask, (genes,))."""
        return Cells(self.counts[:, columns], self.genes[columns], self.obs)

    def held(self) -> Cells:
        """The same cells with their counts in memory."""
        return replace(self, counts=in_memory(self.counts))
