"""AnnData files that hold log2(1 + c x count), with a factor c of each cell's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from cdgm.data.count_matrix import Csr
from cdgm.data.read_cells import Cells, read_cells
from cdgm.data.readers.base import Labels, Reader
from cdgm.utils.errors import bad_input


class H5adLog2(Reader):
    """Reads normalised values and recovers the integer counts behind them.

    The smallest positive value of a cell stands for one molecule (true for all but the shallowest
    cells), so dividing by it undoes the factor.

    Attributes
    ----------
    labels
        Columns to keep, new name to column of ``obs``.
    tolerance
        Largest distance of a recovered count from an integer, in counts. Values that were never counts
        of this kind lie anywhere in 0 to 0.5.
    """

    kind: Literal["h5ad_log2"] = "h5ad_log2"
    labels: Labels = Field({})
    tolerance: float = Field(gt=0, lt=0.5)

    def read(self, path: Path, *more: Path) -> Cells:
        """Read the file; see the base class."""
        columns = {f"labels.{name}": column for name, column in sorted(self.labels.items())}
        cells = read_cells(path, columns, support="real")
        obs = cells.obs.set_axis(sorted(self.labels), axis=1)
        return Cells(self._recover(cells.x, obs.index, cells.genes, path), cells.genes, obs)

    def _recover(self, values: Csr, cells, genes: np.ndarray, path: Path) -> Csr:
        exponents = values.data.astype(np.float64)
        row = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))

        def refuse(bad: np.ndarray, shown: np.ndarray, expected: str) -> None:
            if bad.any():
                first = int(np.argmax(bad))
                place = f"X in cell {cells[row[first]]!r}, gene {str(genes[values.indices[first]])!r}"
                raise bad_input(path, place, float(shown[first]), expected)

        # 2^31 is beyond any count; without the bound a file of raw counts overflows to infinity.
        refuse(
            ~((exponents > 0) & (exponents < 31)),
            exponents,
            "log2(1 + c x count): finite, at least 0, below 31",
        )
        # Raw counts would pass what follows: 2^count - 1 is an integer too.
        if exponents.size and (exponents == np.round(exponents)).all():
            raise bad_input(
                path, "X", "integers only", "log2(1 + c x count); for raw counts use the reader h5ad"
            )
        scaled = np.exp2(exponents) - 1
        filled = np.flatnonzero(np.diff(values.indptr))
        one_molecule = np.ones(values.shape[0])
        one_molecule[filled] = np.minimum.reduceat(scaled, values.indptr[filled])
        scaled /= one_molecule[row]
        counts = np.round(scaled)
        # Values at single precision: the error of a large count grows with it (seen: 4e-7 of the count).
        allowed = np.minimum(0.49, self.tolerance + 2e-6 * counts)
        refuse(
            np.abs(scaled - counts) > allowed, scaled, f"an integer within {self.tolerance} (recovered count)"
        )
        recovered = values.copy().astype(np.int32)
        recovered.data = counts.astype(np.int32)
        recovered.sort_indices()
        return recovered
