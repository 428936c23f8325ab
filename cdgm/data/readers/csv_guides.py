"""CRISPR screens in two files: a table of counts (.csv) and the counts of guides (.h5ad).

The table has a row a cell and a column a gene, and the names of the cells come first. The AnnData file
has the same cells, in any order, and a column a guide; a guide's name tells its target.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from cdgm.data.h5ad_file import reading
from cdgm.data.read_cells import Cells, check_block, read_cells, refuse_repeated
from cdgm.data.readers.base import RESERVED
from cdgm.data.readers.guides import GuideReader
from cdgm.utils.errors import bad_input

if TYPE_CHECKING:
    import pandas as pd


class CsvGuides(GuideReader):
    """Reads counts and gives each cell the target of its most abundant guide.

    Attributes
    ----------
    target_pattern
        Regular expression that matches the beginning of every guide's name; its one group is the target.
    cell_pattern
        Regular expression that matches the beginning of every cell's name; its named groups become columns
        of labels, such as ``(?P<batch>[A-Z]+)-``. Absent, there are none.
    """

    files: ClassVar[tuple[str, ...]] = ("counts", "counts of guides")

    kind: Literal["csv_guides"] = "csv_guides"
    target_pattern: str = Field(min_length=1)
    cell_pattern: str | None = Field(None, min_length=1)

    @field_validator("target_pattern", "cell_pattern")
    @classmethod
    def _is_an_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"got {pattern!r}, expected a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _groups_are_named(self) -> CsvGuides:
        if (groups := re.compile(self.target_pattern).groups) != 1:
            raise ValueError(f"target_pattern has {groups} groups, expected one, for the target")
        if self.cell_pattern is not None:
            compiled = re.compile(self.cell_pattern)
            if not compiled.groups or compiled.groups != len(compiled.groupindex):
                raise ValueError("cell_pattern has no groups or unnamed ones, expected named ones")
            taken = {*RESERVED, "label", "target", "guide"} & set(compiled.groupindex)
            if taken:
                raise ValueError(f"cell_pattern may not name groups {sorted(taken)}: these columns are made")
        return self

    def read(self, path: Path, *more: Path) -> Cells:
        """Read the two files; see the base class."""
        import pandas as pd
        import scipy.sparse as sp

        table = _table(path)
        (guide_file,) = more
        guides = read_cells(guide_file, {}).held()
        names = pd.Index(guides.obs.index.astype(str))
        for index, where in ((table.index, path), (names, guide_file)):
            repeated = index[index.duplicated()]
            if len(repeated):
                raise bad_input(where, "cells", repeated[0], "each cell once")
        order = names.get_indexer(table.index)
        if (order < 0).any() or len(names) != len(order):
            strange = [*table.index[order < 0][:1], *names.difference(table.index)[:1]]
            raise bad_input(guide_file, "cells", strange[0], f"the cells of {path}, in any order")
        guides = guides.take(order)
        genes = np.asarray(table.columns, dtype=object)
        values = table.to_numpy()
        check_block(values, 0, support="counts", where=str(path), cells=table.index, genes=genes)
        obs = self._named_groups(table.index.rename("cell"), path)
        targets = self._targets(guides.genes, guide_file)
        counts = sp.csr_matrix(values.astype(np.int32))
        return self.assigned(counts, genes, guides.x, guides.genes, targets, obs)

    def _named_groups(self, cells: pd.Index, path: Path) -> pd.DataFrame:
        import pandas as pd

        if self.cell_pattern is None:
            return pd.DataFrame(index=cells)
        found = [re.match(self.cell_pattern, cell) for cell in cells]
        for cell, match in zip(cells, found, strict=True):
            if match is None:
                raise bad_input(path, "cell", cell, f"a name that matches {self.cell_pattern!r}")
        return pd.DataFrame([match.groupdict("") for match in found if match is not None], index=cells)

    def _targets(self, guides: np.ndarray, path: Path) -> np.ndarray:
        found = [re.match(self.target_pattern, guide) for guide in guides]
        for guide, match in zip(guides, found, strict=True):
            if match is None or not match[1]:
                raise bad_input(path, "guide", guide, f"a name that matches {self.target_pattern!r}")
        targets = np.array([match[1] for match in found if match is not None], dtype=object)
        self.refuse_unknown(targets, f"{path}: guides", "target")
        return targets


def _table(path: Path) -> pd.DataFrame:
    """The table of counts; pandas would number the genes of a name that occurs twice."""
    import pandas as pd

    with reading(path, "CSV"):
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
        table = pd.read_csv(path, index_col=0, header=0, names=None, low_memory=False)
    genes = pd.Index(header.iloc[0, 1:].astype(str))
    if not len(table) or not len(genes):
        raise bad_input(path, "cells and genes", table.shape, "at least one of each")
    refuse_repeated(genes, f"{path}: columns")
    return table.set_axis(genes, axis=1).set_axis(table.index.astype(str), axis=0)
