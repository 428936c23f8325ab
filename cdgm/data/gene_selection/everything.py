"""All genes, for panels that were chosen before."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cdgm.data.count_matrix import Counts
from cdgm.data.gene_selection.base import GeneSelection


class Everything(GeneSelection):
    """Keeps every gene, in the file's order."""

    kind: Literal["all"] = "all"

    def select(self, counts: Counts) -> np.ndarray:
        """Return all positions; see the base class."""
        return np.arange(counts.shape[1])
