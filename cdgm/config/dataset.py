"""Config types of real data: what to download and how raw files become bundles.

Every number that changes a result has to stand in the config; a default here means "off".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from cdgm.config.design import PartName
from cdgm.data.downloads import DOWNLOADS
from cdgm.data.genes import GENES
from cdgm.data.readers import READERS
from cdgm.data.spike_in import SpikeIn
from cdgm.utils.registry import Strict, field_of

DownloadSpec = field_of(DOWNLOADS)


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
    sources: tuple[PartName, ...] = Field(min_length=1)
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
