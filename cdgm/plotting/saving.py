"""Writing a figure and its numbers so that equal figures give equal bytes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cdgm.plotting.theme import theme
from cdgm.utils.files import atomic, write_csv


def save(figure: Figure, data: pd.DataFrame, prefix: str | Path) -> None:
    """Write ``prefix``.png, .pdf and .csv, each whole or not at all; equal figures give equal bytes.

    Dates and versions are kept out of the metadata. Letters that the font lacks are drawn as boxes.
    """
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": "cdgm"},
        "pdf": {"Creator": "cdgm", "Producer": "cdgm", "CreationDate": None},
    }
    with theme(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        for kind, values in metadata.items():
            with atomic(f"{prefix}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=values)
    write_csv(f"{prefix}.csv", data, digits=6)
