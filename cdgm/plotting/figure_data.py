"""The numbers that a figure shows, one row a mark: the CSV beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd


class FigureData:
    """Collects the numbers that a figure shows, one row a mark."""

    COLUMNS: Sequence[str] = (
        *("panel", "kind", "setting", "variant", "point", "source", "block", "truth", "twist", "metric"),
        *("quantity", "step", "seed", "cell", "label", "x", "y", "value"),
    )

    def __init__(self) -> None:
        self._frames: list[pd.DataFrame] = []

    def add(self, panel: str, kind: str, rows: pd.DataFrame | None = None, **fixed: Any) -> None:
        """Add marks: the columns that matter of ``rows``, or one row, with ``fixed`` values over them.

        Parameters
        ----------
        panel
            Letter or name of the panel.
        kind
            What is drawn: "seed" (one fit), "median" (over the finished fits), "interval_low" and
            "interval_high" (of that median), "null_high" (end of the null band), "true_dims", "spread",
            "reference", "closed_form", "map". "left out" is a score that isn't finite and so isn't drawn.
        rows
            Rows of a table of scores or histories.
        """
        frame = pd.DataFrame([{}]) if rows is None else rows[[c for c in self.COLUMNS if c in rows]]
        self._frames.append(frame.assign(panel=panel, kind=kind, **fixed))

    def table(self) -> pd.DataFrame:
        """All marks; columns that no mark of the figure has are left out."""
        used = [c for c in self.COLUMNS if any(c in frame for frame in self._frames)]
        columns = {c: [v for f in self._frames for v in (f[c] if c in f else [None] * len(f))] for c in used}
        return pd.DataFrame(columns)
