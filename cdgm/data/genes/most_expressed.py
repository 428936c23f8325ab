"""The genes with most molecules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from cdgm.data.genes.base import GeneSelection, enough

if TYPE_CHECKING:
    import scipy.sparse as sp


class MostExpressed(GeneSelection):
    """Keeps the ``n`` genes of highest total count, highest first."""

    kind: Literal["most_expressed"] = "most_expressed"
    n: int = Field(ge=1)

    def select(self, counts: sp.csr_matrix) -> np.ndarray:
        """Rank by total count; see the base class."""
        enough(self.n, counts)
        total = np.asarray(counts.sum(axis=0)).ravel()
        return np.argsort(-total, kind="stable")[: self.n]
