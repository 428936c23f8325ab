"""The genes with most molecules."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.data.count_matrix import Counts, count_totals
from cdgm.data.gene_selection.base import GeneSelection, enough


class MostExpressed(GeneSelection):
    """Keeps the ``n`` genes of highest total count, highest first."""

    kind: Literal["most_expressed"] = "most_expressed"
    n: int = Field(ge=1)

    def select(self, counts: Counts) -> np.ndarray:
        """Rank by total count; see the base class."""
        enough(self.n, counts)
        return np.argsort(-count_totals(counts).gene_totals, kind="stable")[: self.n]
