"""The table of cells beside a bundle: which array row each cell is, and its labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    import pandas as pd

# Cells that linear baselines are fitted on and that a map shows, at most: both would take hours and
# many gigabytes on all cells of an atlas and say the same.
MOST_FOR_BASELINES = 40_000
MOST_ON_A_MAP = 20_000

#: Columns that hold the batch of a cell, the first that is there.
BATCH_COLUMNS = ("batch", "replicate")
REQUIRED = ("cell", "split", "source", "row", "label")


@dataclass(frozen=True)
class CellTable:
    """Cells in the order of the bundle's arrays, split after split and source after source.

    Attributes
    ----------
    table
        One row a cell: cell, split, source, row, label, further labels. With several random divisions into
        splits, a row for each cell in each of them, and the column division, 0, 1, ...
    """

    table: pd.DataFrame

    @property
    def source(self) -> np.ndarray:
        """Source of each cell (n,)."""
        return self.table["source"].to_numpy(dtype=str)

    @property
    def label(self) -> np.ndarray:
        """Label that scores are about (n,), "" where a cell has none."""
        return self.table["label"].to_numpy(dtype=str)

    @property
    def strata(self) -> np.ndarray | None:
        """Cell type (n,) where the data set has one."""
        return self.table["cell_type"].to_numpy(dtype=str) if "cell_type" in self.table else None

    @property
    def batch(self) -> np.ndarray | None:
        """Batch (n,) where the data set has one."""
        found = [name for name in BATCH_COLUMNS if name in self.table]
        return self.table[found[0]].to_numpy(dtype=str) if found else None

    def of(self, seed: int) -> CellTable:
        """The cells in the division that a member of this seed is fitted to (seed modulo their number)."""
        if "division" not in self.table:
            return self
        division = self.table["division"]
        own = division == seed % (int(division.max()) + 1)
        return CellTable(self.table[own].reset_index(drop=True))

    def thinned(self, most: int, rng: np.random.Generator) -> CellTable:
        """At most that many cells, drawn at random, in their order; the table itself if it has no more."""
        if len(self.table) <= most:
            return self
        kept = np.sort(rng.permutation(len(self.table))[:most])
        return CellTable(self.table.iloc[kept].reset_index(drop=True))

    def join(self, arrays: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
        """Rows of the cells from arrays by (split, source), (n_k, d) each, in the order of the table."""
        groups: Any = self.table.groupby(["split", "source"], sort=False)["row"]
        return np.concatenate([arrays[group][rows.to_numpy()] for group, rows in groups])


def read_cell_table(path: str | os.PathLike[str]) -> CellTable:
    """Read ``cells.csv``: text columns and the integer columns row and division.

    A cell without a label has "" there, and a label "NA" stays a label.

    Raises
    ------
    UserError
        If the file is missing, no table, or lacks a column.
    """
    # Here and not above: evaluations of simulations are many and short, and read no cells.
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    for column in REQUIRED:
        if column not in table:
            raise bad_input(path, "columns", list(table), f"a column {column!r}")
    try:
        return CellTable(table.astype({name: int for name in ("row", "division") if name in table}))
    except ValueError as error:
        raise UserError(f"{path}: row, division: expected integers: {error}") from error
