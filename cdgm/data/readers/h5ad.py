"""Any AnnData file of a user: counts, a column that tells the sources apart, and columns of labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from cdgm.data.cells import Cells
from cdgm.data.readers.base import Labels, Reader
from cdgm.errors import bad_input

logger = logging.getLogger(__name__)

REST = "rest"


class H5ad(Reader):
    """Reads an ``.h5ad`` file.

    Attributes
    ----------
    source_column
        Column of ``obs`` that tells the sources apart, such as the treatment or the guide.
    sources
        Which of its values make each source; ``"rest"`` for one source means every value not named
        elsewhere. ``{background: [control], target: rest}`` is the usual case. Cells of values that no
        source names are left out.
    labels
        Columns of labels to keep, new name to column of ``obs``. The one named ``label`` is scored.
    layer
        Layer with the counts; X if absent.
    """

    kind: Literal["h5ad"] = "h5ad"
    source_column: str = Field(min_length=1)
    sources: dict[str, Annotated[tuple[str, ...], Field(min_length=1)] | Literal["rest"]] = Field(
        min_length=2
    )
    labels: Labels = Field({})
    layer: str | None = None

    @field_validator("sources")
    @classmethod
    def _one_source_a_value(cls, sources: dict) -> dict:
        named = [value for values in sources.values() if values != REST for value in values]
        if len(set(named)) < len(named):
            raise ValueError("a value of the source column may belong to one source only")
        if sum(values == REST for values in sources.values()) > 1:
            raise ValueError("only one source can take the rest")
        return sources

    def read(self, path: Path) -> Cells:
        """Read the file; see the base class."""
        import pandas as pd

        from cdgm.data.readers import _anndata

        with _anndata.open_h5ad(path) as handle:
            table, genes = _anndata.read_tables(handle, path)
            obs = pd.DataFrame(
                {"source": self._sources(_anndata.column(table, self.source_column, path), path)}
            )
            for name, column in sorted(self.labels.items()):
                obs[name] = _anndata.column(table, column, path)
            matrix = _anndata.find_matrix(handle, self.layer, path)
            counts = _anndata.read_counts(matrix, table, genes, path)
        cells = Cells(counts, genes, obs)
        kept = (obs["source"] != "").to_numpy()
        if not kept.all():
            logger.warning(
                "%s: %d of %d cells belong to no source and are left out", path, (~kept).sum(), kept.size
            )
            cells = cells.take(kept)
        return cells

    def _sources(self, values, path: Path):
        """Return the name of each cell's source, "" for none; ``values`` is a column of text."""
        where = f"obs column {self.source_column!r}"
        known = sorted(set(values))
        shown = f"one of its {len(known)} values {known[:12]}"
        source = values.map(dict.fromkeys(known, ""))
        for name, wanted in self.sources.items():
            for value in wanted if wanted != REST else ():
                if value not in known:
                    raise bad_input(path, where, value, f"for source {name!r}: {shown}")
                source[values == value] = name
        for name, wanted in self.sources.items():
            if wanted == REST:
                if "" in known:
                    raise bad_input(
                        path, where, "a missing value", f"a value in each cell, as {name!r} takes the rest"
                    )
                source[source == ""] = name
            if not (source == name).any():
                raise bad_input(path, where, known, f"cells of every source, {name!r} has none")
        return source
