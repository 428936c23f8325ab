"""Base of the gene selections."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from cdgm.errors import bad_input
from cdgm.plugins import Plugin

if TYPE_CHECKING:
    import scipy.sparse as sp


class GeneSelection(Plugin):
    """Chooses genes by their counts alone."""

    @abstractmethod
    def select(self, counts: sp.csr_matrix) -> np.ndarray:
        """Choose genes.

        Parameters
        ----------
        counts
            Integer counts, CSR (cells, genes); every gene has a count in some cell.

        Returns
        -------
        np.ndarray
            Positions of the chosen genes in the order in which they become features, (chosen,).

        Raises
        ------
        UserError
            If more genes are asked for than there are.
        """


def enough(n: int, counts: sp.csr_matrix) -> None:
    """Refuse to choose more genes than there are."""
    if n > counts.shape[1]:
        raise bad_input("genes", "n", n, f"at most the {counts.shape[1]} genes left after filtering")
