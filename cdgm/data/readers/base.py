"""Base of the readers."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from cdgm.data.read_cells import Cells
from cdgm.utils.registry import Plugin

# Columns of cells.csv that preprocessing writes itself.
RESERVED = ("cell", "split", "source", "row")


def _free_names(labels: dict[str, str]) -> dict[str, str]:
    taken = sorted(set(labels) & set(RESERVED))
    if taken:
        raise ValueError(f"labels may not be named {taken}: preprocessing writes {list(RESERVED)} itself")
    return labels


# New name of a label column to its name in the file.
Labels = Annotated[dict[str, str], AfterValidator(_free_names)]


class Reader(Plugin):
    """Turns one raw file into integer counts with what is known of each cell."""

    @property
    def told_sources(self) -> tuple[str, ...] | None:
        """Sources that the reader assigns cells to; None where it does not tell them apart."""
        return None

    @abstractmethod
    def read(self, path: Path) -> Cells:
        """Read the file.

        Raises
        ------
        UserError
            If it is not what the options say.
        """
