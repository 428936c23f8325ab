"""Config types of real data: what to download and how raw files become bundles.

Every number that changes a result has to stand in the config; a default here means "off".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cdgm.config.design import SourceName
from cdgm.utils.registry import Strict, distinct, field_of

if TYPE_CHECKING:
    from cdgm.data.downloads.base import Download
    from cdgm.data.gene_selection.base import GeneSelection
    from cdgm.data.readers.base import Reader
else:
    Download = field_of("cdgm.data.downloads:DOWNLOADS")
    GeneSelection = field_of("cdgm.data.gene_selection:GENES")
    Reader = field_of("cdgm.data.readers:READERS")


CovariateKind = Literal["categorical", "continuous"]
FileName = Annotated[str, Field(min_length=1)]

#: Sources that a spike-in makes.
SPIKED_SOURCES = BACKGROUND, TARGET = ("background", "target")


class Filters(Strict):
    """Cells and genes to leave out, by counts alone; 0 means off.

    Attributes
    ----------
    min_cells_per_gene
        A gene needs a count in that many cells.
    min_counts_per_cell, min_genes_per_cell
        A cell needs that many molecules, and genes with a count, on the genes that are left.
    """

    min_cells_per_gene: Annotated[int, Field(ge=0)] = 0
    min_counts_per_cell: Annotated[int, Field(ge=0)] = 0
    min_genes_per_cell: Annotated[int, Field(ge=0)] = 0


class SpikeIn(Strict):
    """Known effects to spike into the cells of a data set.

    Attributes
    ----------
    programs
        Number of programs (and of treated groups of target cells).
    genes_per_program
        Genes in a program; programs are disjoint.
    most_expressed
        The programs' genes are drawn from that many genes of highest total count: only there is enough
        signal to take away.
    keep
        Probability that a molecule of a program's gene stays.
    target_fraction
        Share of the cells that becomes the target source.
    """

    programs: int = Field(ge=1)
    genes_per_program: int = Field(ge=1)
    most_expressed: int = Field(ge=1)
    keep: float = Field(ge=0, lt=1)
    target_fraction: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _programs_fit(self) -> SpikeIn:
        if self.programs * self.genes_per_program > self.most_expressed:
            raise ValueError(
                f"{self.programs} disjoint programs of {self.genes_per_program} genes do not fit into the "
                f"most_expressed {self.most_expressed} genes"
            )
        return self


class Doses(Strict):
    """Continuous doses with known effects, given to real cells (``cdgm/data/dosed.py``).

    Attributes
    ----------
    of
        Source of the reader whose cells are used, its controls; absent where the reader tells none apart.
    agents
        Number of agents; each cell of the target gets a dose of each, between 0 and 1.
    genes_per_agent
        Genes that an agent acts on, disjoint: counts of one half fall, those of the other half rise.
    most_expressed
        The genes are drawn from that many genes of highest total count.
    strength
        Change of a log rate at dose 1 in a cell of average state.
    dependence
        How far the effect depends on the cell: at 0 it does not, at 1 it vanishes in some cells.
    target_fraction
        Share of the cells that becomes the target source.
    escapers
        Share of target cells without any dose.
    contaminated
        Share of background cells with a dose.
    batch_effect
        Standard deviation of the log detection of genes in the second of two batches.
    confounding
        How far the batch goes with the source: at 0 not at all, at 1 completely.
    """

    of: SourceName | None = None
    agents: int = Field(ge=1)
    genes_per_agent: int = Field(ge=2, multiple_of=2)
    most_expressed: int = Field(ge=1)
    strength: float = Field(gt=0, le=5)
    dependence: float = Field(ge=0, le=1)
    target_fraction: float = Field(gt=0, lt=1)
    escapers: float = Field(0, ge=0, lt=1)
    contaminated: float = Field(0, ge=0, lt=1)
    batch_effect: float = Field(0, ge=0, le=5)
    confounding: float = Field(0, ge=0, le=1)

    @model_validator(mode="after")
    def _genes_suffice(self) -> Doses:
        if self.agents * self.genes_per_agent > self.most_expressed:
            raise ValueError(
                f"{self.agents} disjoint sets of {self.genes_per_agent} genes do not fit into the "
                f"most_expressed {self.most_expressed} genes"
            )
        if self.confounding and not self.batch_effect:
            raise ValueError("confounding needs a batch_effect")
        return self


class DatasetSpec(Strict):
    """One data set of real cells.

    Attributes
    ----------
    download
        Name of the raw file in ``downloads:``; a list of names where the reader needs several files.
    reader
        How to read it.
    sources
        Names of the sources in design order; cells must come from just these.
    spike_in
        Known effects to spike in. If absent, the reader assigns cells to sources.
    doses
        Known continuous doses to give. Each division into splits is then a draw of sources, doses and genes
        of its own.
    cells_per_source
        Draw at most that many cells of a source at random, to unbalance or shrink the data.
    filters
        Cells and genes to leave out.
    genes
        Which genes become features.
    held_out
        Share of each source's cells that is held out for scoring.
    covariates
        Column of the reader to its kind: what models of these cells can be told (``model.covariates``).
        Those with categories are scored as batches.
    splits
        Number of random divisions into training and held-out cells. A member is fitted to the division of
        its seed modulo that number.
    """

    download: FileName | Annotated[tuple[FileName, ...], Field(min_length=2), AfterValidator(distinct)]
    reader: Reader
    sources: Annotated[tuple[SourceName, ...], Field(min_length=1), AfterValidator(distinct)]
    spike_in: SpikeIn | None = None
    doses: Doses | None = None
    cells_per_source: dict[str, Annotated[int, Field(ge=4)]] = Field({})
    filters: Filters = Filters()
    genes: GeneSelection
    held_out: float = Field(gt=0, lt=1)
    covariates: dict[SourceName, CovariateKind] = Field({})
    splits: int = Field(1, ge=1, le=100)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the raw files, in the reader's order."""
        return (self.download,) if isinstance(self.download, str) else self.download

    @model_validator(mode="after")
    def _check(self) -> DatasetSpec:
        needed = self.reader.files
        if len(self.files) != len(needed):
            raise ValueError(
                f"download names {list(self.files)}, reader {self.reader.kind!r} needs {len(needed)} "
                f"file(s): {', '.join(needed)}"
            )
        told = self.reader.told_sources
        if self.doses is not None:
            if self.spike_in is not None or self.cells_per_source:
                raise ValueError("has 'doses' and 'spike_in' or 'cells_per_source', expected 'doses' alone")
            if (told is None) != (self.doses.of is None) or (told and self.doses.of not in told):
                expected = "none" if told is None else f"one of {list(told)}"
                raise ValueError(
                    f"doses.of is {self.doses.of!r}, expected a source of its reader: {expected}"
                )
            told = None
        elif self.spike_in is None and told is None:
            raise ValueError(f"needs 'spike_in', as reader {self.reader.kind!r} does not tell sources apart")
        elif self.spike_in is not None and told is not None:
            raise ValueError(
                f"has 'spike_in', but reader {self.reader.kind!r} tells sources {list(told)} apart"
            )
        made = told or SPIKED_SOURCES
        if set(made) != set(self.sources):
            by = "spike_in" if told is None else "reader"
            raise ValueError(f"sources are {list(self.sources)}, those of its {by} are {list(made)}")
        if unknown := sorted(set(self.cells_per_source) - set(made)):
            raise ValueError(f"cells_per_source names {unknown}, the sources are {list(self.sources)}")
        return self
