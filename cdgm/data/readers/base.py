"""Base of the readers."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from cdgm.data.read_cells import Cells
from cdgm.data.sources import CONTROL, REST
from cdgm.utils.registry import Plugin

# Columns of cells.csv that preprocessing writes itself.
RESERVED = ("cell", "split", "source", "row", "division")


def _free_names(labels: dict[str, str]) -> dict[str, str]:
    taken = sorted(set(labels) & set(RESERVED))
    if taken:
        raise ValueError(f"labels may not be named {taken}: preprocessing writes {list(RESERVED)} itself")
    return labels


# New name of a label column to its name in the file.
Labels = Annotated[dict[str, str], AfterValidator(_free_names)]

Values = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


def _one_source_a_value(sources: dict) -> dict:
    named = [value for values in sources.values() if not isinstance(values, str) for value in values]
    if len(set(named)) < len(named):
        raise ValueError("a value of the source column may belong to one source only")
    for word in (REST, CONTROL):
        if sum(values == word for values in sources.values()) > 1:
            raise ValueError(f"only one source can take the {word}")
    return sources


# Source to the values of a column that make it; see :func:`cdgm.data.sources.assign_sources`.
Sources = Annotated[
    dict[str, Values | Literal["rest", "control"]], Field(min_length=2), AfterValidator(_one_source_a_value)
]


class Reader(Plugin):
    """Turns raw files, mostly one, into integer counts with what is known of each cell."""

    #: What each file is that the reader needs, in the order of the data set's ``download``.
    files: ClassVar[tuple[str, ...]] = ("counts",)

    @property
    def told_sources(self) -> tuple[str, ...] | None:
        """Sources that the reader assigns cells to; None where it does not tell them apart."""
        return None

    @abstractmethod
    def read(self, path: Path, *more: Path) -> Cells:
        """Read the file.

        Parameters
        ----------
        path, more
            The files, as many as :attr:`files` names.

        Raises
        ------
        UserError
            If it is not what the options say.
        """
