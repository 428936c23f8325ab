"""Reading the tables that lie beside a bundle of cells."""

from __future__ import annotations

import os

import pandas as pd

from cdgm.errors import UserError, bad_input

FIXED = ("cell", "split", "source", "row", "label")


def read_cells(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read ``cells.csv``: text columns and the integer column row.

    A cell without a label has "" there, and a label "NA" stays a label.

    Raises
    ------
    UserError
        If the file is missing, no table, or lacks a column.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    for name in FIXED:
        if name not in table.columns:
            raise bad_input(path, "columns", list(table.columns), f"a column {name!r}")
    try:
        return table.astype({"row": int})
    except ValueError as error:
        raise UserError(f"{path}: row: expected integers: {error}") from error
