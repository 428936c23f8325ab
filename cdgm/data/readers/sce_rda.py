"""SingleCellExperiment objects of Bioconductor in R data files.

An S4 object: the counts are a sparse matrix (genes, cells) among the ``assays``, ``colData`` tells what is
known of the cells, and ``rowData`` what is known of the genes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cdgm.data.count_matrix import tidy
from cdgm.data.r_data import r_class, r_counts, read_r_object
from cdgm.data.read_cells import Cells, refuse_repeated
from cdgm.data.readers.base import Labels, Reader, Sources
from cdgm.data.sources import assign_sources
from cdgm.utils.errors import UserError, bad_input

logger = logging.getLogger(__name__)


class SceRda(Reader):
    """Reads an object of class ``SingleCellExperiment``.

    Attributes
    ----------
    object
        Name of the R object in the file.
    assay
        Name of the assay with the counts.
    gene_column
        Column of ``rowData`` with the names of genes; the names of the assay's rows if absent.
    source_column
        Column of ``colData`` that tells the sources apart.
    sources
        Which of its values make each source, as for the reader ``h5ad``. Cells of other values are left out.
    labels
        Columns of labels to keep, new name to column of ``colData``. The one named ``label`` is scored.
    """

    kind: Literal["sce_rda"] = "sce_rda"
    object: str = Field(min_length=1)
    assay: str = Field(min_length=1)
    gene_column: str | None = Field(None, min_length=1)
    source_column: str = Field(min_length=1)
    sources: Sources
    labels: Labels = Field({})

    @property
    def told_sources(self) -> tuple[str, ...]:
        """See the base class."""
        return tuple(self.sources)

    def read(self, path: Path, *more: Path) -> Cells:
        """Read the file; see the base class."""
        import pandas as pd

        node = read_r_object(path, self.object)
        if r_class(node) != "SingleCellExperiment":
            raise bad_input(path, f"class of {self.object}", r_class(node), "SingleCellExperiment")
        try:
            known = _text_columns(node.colData.listData)
            names = node.colData.rownames
            assays = node.assays.data.listData
            rows = getattr(node, "rowRanges", node)
            of_genes = _text_columns(rows.elementMetadata.listData)
        except (AttributeError, ValueError, TypeError) as error:
            raise UserError(
                f"{path}: damaged SingleCellExperiment: {' '.join(str(error).split())}"
            ) from error
        if self.assay not in assays:
            raise bad_input(path, "assay", self.assay, f"one of {sorted(map(str, assays))}")
        wanted = {"source_column": self.source_column}
        wanted |= {f"labels.{name}": column for name, column in self.labels.items()}
        for key, column in wanted.items():
            if column not in known:
                raise bad_input(f"{path}: colData", key, column, f"one of {sorted(known)}")
        where = f"{path}: colData[{self.source_column!r}]"
        column = known[self.source_column]
        counts, genes = r_counts(assays[self.assay], len(column), f"{path}: assay {self.assay!r}", "colData")
        if self.gene_column is not None:
            genes = self._gene_names(of_genes, len(genes), path)
        refuse_repeated(pd.Index(genes), f"{path}: genes")
        if isinstance(names, str):  # R's NULL
            names = np.arange(1, len(column) + 1)
        index = pd.Index(np.asarray(names).astype(str), name="cell")
        obs = pd.DataFrame({name: known[of] for name, of in self.labels.items()}, index=index)
        obs.insert(0, "source", assign_sources(pd.Series(column, index=index), self.sources, where))
        kept = (obs["source"] != "").to_numpy()
        if not kept.all():
            logger.warning(
                "%s: %d of %d cells belong to no source and are left out", path, (~kept).sum(), kept.size
            )
        cells = Cells(tidy(counts), genes, obs)
        return cells if kept.all() else cells.take(kept)

    def _gene_names(self, of_genes: dict[str, np.ndarray], genes: int, path: Path) -> np.ndarray:
        if self.gene_column not in of_genes:
            raise bad_input(f"{path}: rowData", "gene_column", self.gene_column, f"one of {sorted(of_genes)}")
        found = of_genes[self.gene_column]
        if len(found) != genes:
            raise bad_input(f"{path}: rowData", "genes", len(found), f"the {genes} of the assay")
        return found


def _text_columns(columns: dict[str, Any]) -> dict[str, np.ndarray]:
    """Columns of a ``DataFrame`` of R as text, "" where a value is missing; those of other kinds left out."""
    import pandas as pd

    texts = {}
    for name, column in columns.items():
        values = pd.Series(np.asarray(column)) if np.ndim(column) == 1 else None
        if values is not None:
            texts[str(name)] = np.where(values.isna(), "", values.astype(str)).astype(object)
    return texts
