"""All genes, for panels that were chosen before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cdgm.data.genes.base import GeneSelection

if TYPE_CHECKING:
    import scipy.sparse as sp


class Everything(GeneSelection):
    """Keeps every gene, in the file's order."""

    kind: Literal["all"] = "all"

    def select(self, counts: sp.csr_matrix) -> np.ndarray:
        """Return all positions; see the base class."""
        return np.arange(counts.shape[1])
