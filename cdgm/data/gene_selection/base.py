"""Base of the gene selections."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from cdgm.data.count_matrix import Counts
from cdgm.utils.errors import bad_input
from cdgm.utils.registry import Plugin


class GeneSelection(Plugin):
    """Chooses genes by their counts alone."""

    @abstractmethod
    def select(self, counts: Counts) -> np.ndarray:
        """Choose genes.

        Parameters
        ----------
        counts
            Integer counts (cells, genes), in memory or in their file: read them through
            :func:`cdgm.data.count_matrix.blocks` or :func:`~cdgm.data.count_matrix.count_totals`. Every
            gene and every cell has a count.

        Returns
        -------
        np.ndarray
            Positions of the chosen genes in the order in which they become features, (chosen,).

        Raises
        ------
        UserError
            If more genes are asked for than there are.
        """


def enough(n: int, counts: Counts) -> None:
    """Refuse to choose more genes than there are."""
    if n > counts.shape[1]:
        raise bad_input("genes", "n", n, f"at most the {counts.shape[1]} genes left after filtering")
