"""Read the tables that jobs write: scores, histories, maps."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from cdgm.utils.errors import UserError

TEXT = (
    *("study", "setting", "variant", "fit", "dataset", "point", "source", "block", "truth", "metric"),
    *("quantity", "cell", "split", "label"),
)
NUMBERS = ("value", "null_mean", "null_high", "twist", "seed", "step", "x", "y")


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table, parquet or CSV by its suffix; in text columns an empty cell is "" and "NA" is "NA".

    Raises
    ------
    UserError
        If the file is missing or no table.
    """
    text = dict.fromkeys(TEXT, str)
    empty = {name: ["", "nan", "NaN"] for name in NUMBERS}
    try:
        if Path(path).suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=text, keep_default_na=False, na_values=empty)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable table: {' '.join(str(error).split())}") from error
