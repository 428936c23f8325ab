"""Config types of real data: what to download and how raw files become bundles.

Every number that changes a result has to stand in the config; a default here means "off".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, field_validator

from cdgm.data.downloads import DOWNLOADS
from cdgm.data.genes import GENES
from cdgm.data.readers import READERS
from cdgm.data.spike_in import SpikeIn
from cdgm.errors import UserError
from cdgm.plugins import Strict, field_of

DownloadSpec = field_of(DOWNLOADS)
Result = TypeVar("Result")


class Filters(Strict):
    """Cells and genes to leave out, by counts alone; 0 means off.

    Attributes
    ----------
    min_cells_per_gene
        A gene needs a count in that many cells.
    min_counts_per_cell, min_genes_per_cell
        A cell needs that many molecules, and genes with a count, on the genes that are left.
    """

    min_cells_per_gene: int = Field(0, ge=0)
    min_counts_per_cell: int = Field(0, ge=0)
    min_genes_per_cell: int = Field(0, ge=0)


class DatasetSpec(Strict):
    """One data set of real cells.

    Attributes
    ----------
    download
        Name of the raw file in ``downloads:``.
    reader
        How to read it.
    sources
        Names of the sources in design order; cells must come from just these.
    spike_in
        Known effects to spike in; absent: the reader tells the sources apart.
    cells_per_source
        Draw at most that many cells of a source at random, to unbalance or shrink the data.
    filters
        Cells and genes to leave out.
    genes
        Which genes become features.
    held_out
        Share of each source's cells that is held out for scoring.
    """

    download: str = Field(min_length=1)
    reader: field_of(READERS)
    sources: tuple[str, ...] = Field(min_length=1)
    spike_in: SpikeIn | None = None
    cells_per_source: dict[str, Annotated[int, Field(ge=4)]] = Field({})
    filters: Filters = Filters()
    genes: field_of(GENES)
    held_out: float = Field(gt=0, lt=1)

    @field_validator("sources")
    @classmethod
    def _distinct(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sources)) < len(sources):
            raise ValueError("each source once")
        return sources


def parse_spec(text: str, where: str, build: Callable[[Any], Result]) -> Result:
    """Build a typed spec from the JSON of a command line.

    Parameters
    ----------
    text
        JSON.
    where
        What it describes, for the error ("dataset papalexi2021").
    build
        ``DatasetSpec.model_validate`` or ``DOWNLOADS.parse``.

    Raises
    ------
    UserError
        One line with the first bad key, its value and what was expected.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON: {error}") from error
    try:
        return build(value)
    except ValidationError as error:
        raise UserError(f"{where}: {_first_problem(error)}") from error
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _first_problem(error: ValidationError) -> str:
    """Name the key, the fault and the value; plug-ins nest one validation error in another."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, ValidationError):
        return f"{place}.{_first_problem(inner)}" if place else _first_problem(inner)
    message = first["msg"].removeprefix("Value error, ")
    value = repr(first["input"])
    value = value if len(value) <= 60 else value[:57] + "..."
    return f"{place}: {message} (got {value})" if place else f"{message} (got {value})"
