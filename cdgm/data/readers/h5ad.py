"""Any AnnData file of a user: counts, a column that tells the sources apart, and columns of labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from cdgm.data.read_cells import Cells, read_cells
from cdgm.data.readers.base import Labels, Reader, Sources, Values
from cdgm.data.sources import assign_sources, shown
from cdgm.utils.errors import bad_input

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


class H5ad(Reader):
    """Reads an ``.h5ad`` file.

    Attributes
    ----------
    source_column
        Column of ``obs`` that tells the sources apart, such as the treatment or the guide.
    sources
        Which of its values make each source. ``"rest"`` for one source means every value not named
        elsewhere; ``"control"`` for one means the single value that is a usual name of controls.
        ``{background: control, target: rest}`` is the usual case. Cells of values that no source names
        are left out.
    labels
        Columns of labels to keep, new name to column of ``obs``. The one named ``label`` is scored.
    classes
        Label to the values of ``class_column`` that it stands for, to score these labels instead. Cells of
        other values have none.
    class_column
        Column of ``obs`` that ``classes`` are about.
    class_separator
        What joins the names of two or more perturbations of a cell in ``class_column``. Their order means
        nothing then: ``B_A`` in the file is ``A_B`` in ``classes``.
    layer
        Layer with the counts; X if absent.
    """

    kind: Literal["h5ad"] = "h5ad"
    source_column: str = Field(min_length=1)
    sources: Sources
    labels: Labels = Field({})
    classes: dict[str, Values] = Field({})
    class_column: str | None = Field(None, min_length=1)
    class_separator: str | None = Field(None, min_length=1)
    layer: str | None = None

    @model_validator(mode="after")
    def _classes_are_whole(self) -> H5ad:
        if bool(self.classes) != (self.class_column is not None):
            raise ValueError("classes and class_column are given together or not at all")
        if self.class_separator is not None and not self.classes:
            raise ValueError("class_separator needs classes")
        if self.classes and "label" in self.labels:
            raise ValueError("either classes or labels give the column 'label'")
        named = [self._ordered(value) for values in self.classes.values() for value in values]
        if len(set(named)) < len(named):
            twice = next(value for value in named if named.count(value) > 1)
            raise ValueError(f"{twice!r} is named twice in classes")
        return self

    @property
    def told_sources(self) -> tuple[str, ...]:
        """See the base class."""
        return tuple(self.sources)

    def read(self, path: Path, *more: Path) -> Cells:
        """Read the file; see the base class."""
        import pandas as pd

        columns = {"source_column": self.source_column}
        columns |= {f"labels.{name}": column for name, column in self.labels.items()}
        columns |= {"class_column": self.class_column} if self.class_column is not None else {}
        cells = read_cells(path, columns, layer=self.layer)
        table = cells.obs
        where = f"{path}: obs[{self.source_column!r}]"
        obs = pd.DataFrame({"source": assign_sources(table["source_column"], self.sources, where)})
        if self.class_column is not None:
            obs["label"] = self._class_labels(table["class_column"], path)
        for name in sorted(self.labels):
            obs[name] = table[f"labels.{name}"]
        kept = (obs["source"] != "").to_numpy()
        if not kept.all():
            logger.warning(
                "%s: %d of %d cells belong to no source and are left out", path, (~kept).sum(), kept.size
            )
        cells = Cells(cells.x, cells.genes, obs)
        return cells if kept.all() else cells.take(kept)

    def _ordered(self, value: str) -> str:
        if self.class_separator is None:
            return value
        return self.class_separator.join(sorted(value.split(self.class_separator)))

    def _class_labels(self, values: pd.Series, path: Path) -> pd.Series:
        """Return the class of each cell, "" for none."""
        key_of = {value: self._ordered(value) for value in set(values)}
        known = set(key_of.values())
        label_of, absent = {}, []
        for label, members in self.classes.items():
            keys = [self._ordered(member) for member in members]
            absent += [member for member, key in zip(members, keys, strict=True) if key not in known]
            if not known & set(keys):
                raise bad_input(
                    path,
                    f"obs[{self.class_column!r}]",
                    list(members),
                    f"{shown(values)}, for {label!r}",
                )
            label_of |= dict.fromkeys(keys, label)
        if absent:
            logger.warning("%s: no cell has the %s %s", path, self.class_column, ", ".join(sorted(absent)))
        return values.map({value: label_of.get(key, "") for value, key in key_of.items()})
