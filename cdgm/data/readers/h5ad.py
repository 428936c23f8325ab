"""Any AnnData file of a user: counts, a column that tells the sources apart, and columns of labels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cdgm.data.cells import Cells
from cdgm.data.readers.base import Labels, Reader
from cdgm.utils.errors import bad_input

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

REST, CONTROL = "rest", "control"
# What screens call cells without a perturbation, in lower case and without "-", "_" and blanks.
CONTROL_NAMES = frozenset(
    {"control", "ctrl", "negativecontrol", "negctrl", "nontargeting", "nt", "unperturbed", "untreated"}
    | {"unstimulated", "vehicle", "dmso", "mock"}
)
SHOWN = 12

Values = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


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
    sources: dict[str, Values | Literal["rest", "control"]] = Field(min_length=2)
    labels: Labels = Field({})
    classes: dict[str, Values] = Field({})
    class_column: str | None = Field(None, min_length=1)
    class_separator: str | None = Field(None, min_length=1)
    layer: str | None = None

    @field_validator("sources")
    @classmethod
    def _one_source_a_value(cls, sources: dict) -> dict:
        named = [value for values in sources.values() if not isinstance(values, str) for value in values]
        if len(set(named)) < len(named):
            raise ValueError("a value of the source column may belong to one source only")
        for word in (REST, CONTROL):
            if sum(values == word for values in sources.values()) > 1:
                raise ValueError(f"only one source can take the {word}")
        return sources

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

    def read(self, path: Path) -> Cells:
        """Read the file; see the base class."""
        import pandas as pd

        from cdgm.data.readers import _anndata, _hdf5, _rows

        wanted = [self.source_column, *self.labels.values()]
        wanted += [self.class_column] if self.class_column is not None else []
        with _hdf5.open_h5ad(path) as handle:
            table, genes = _anndata.read_tables(handle, path, wanted)
            obs = pd.DataFrame({"source": self._sources(table[self.source_column], path)})
            if self.class_column is not None:
                obs["label"] = self._class_labels(table[self.class_column], path)
            for name, column in sorted(self.labels.items()):
                obs[name] = table[column]
            matrix = _anndata.find_matrix(handle, self.layer, path)
            counts = _rows.read_counts(handle, matrix, table.index, genes, path)
        cells = Cells(counts, genes, obs)
        kept = (obs["source"] != "").to_numpy()
        if not kept.all():
            logger.warning(
                "%s: %d of %d cells belong to no source and are left out", path, (~kept).sum(), kept.size
            )
            cells = cells.take(kept)
        return cells

    def _sources(self, values: pd.Series, path: Path) -> pd.Series:
        """Return the name of each cell's source, "" for none; ``values`` is a column of text."""
        where = f"obs column {self.source_column!r}"
        known = set(values)
        source = values.map(dict.fromkeys(known, ""))
        for name, wanted in self.sources.items():
            if wanted == CONTROL:
                wanted = (self._control(values, name, path),)
            for value in wanted if wanted != REST else ():
                if value not in known:
                    raise bad_input(path, where, value, f"for source {name!r}: {_shown(values)}")
                if (source[values == value] != "").any():
                    raise bad_input(path, where, value, "a value that one source names, and not two")
                source[values == value] = name
        for name, wanted in self.sources.items():
            if wanted == REST:
                if "" in known:
                    missing = f"a missing value in {int((values == '').sum())} cells"
                    raise bad_input(path, where, missing, f"a value in each cell, as {name!r} takes the rest")
                source[source == ""] = name
            if not (source == name).any():
                raise bad_input(path, where, sorted(known), f"cells of every source, {name!r} has none")
        return source

    def _control(self, values: pd.Series, name: str, path: Path) -> str:
        """The one value that is a usual name of controls."""
        found = _controls(values)
        if len(found) != 1:
            what = f"{len(found)} usual names of controls{f' {found}' if found else ''}"
            raise bad_input(
                path,
                f"obs column {self.source_column!r}",
                what,
                f"one, or write sources.{name} as a list of values: {_shown(values)}",
            )
        logger.info("%s: source %r: cells with %s %r", path, name, self.source_column, found[0])
        return found[0]

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
                    f"obs column {self.class_column!r}",
                    list(members),
                    f"for {label!r}: {_shown(values)}",
                )
            label_of |= dict.fromkeys(keys, label)
        if absent:
            logger.warning("%s: no cell has the %s %s", path, self.class_column, ", ".join(sorted(absent)))
        return values.map({value: label_of.get(key, "") for value, key in key_of.items()})


def _controls(values: pd.Series) -> list[str]:
    """Values that are usual names of controls, sorted."""
    plain = {value: value.lower().translate(str.maketrans("", "", "-_ ")) for value in set(values)}
    return sorted(value for value, name in plain.items() if name in CONTROL_NAMES)


def _shown(values: pd.Series) -> str:
    """What a column holds: its most frequent values, and those that look like controls first."""
    frequent = values[values != ""].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    controls = [value for value in frequent.index if value in _controls(values)]
    shown = list(dict.fromkeys([*controls, *frequent.index]))[:SHOWN]
    listed = ", ".join(f"{value!r} ({frequent[value]} cells)" for value in shown)
    return f"one of its {len(frequent)} values, such as {listed}" if shown else "a value, it has none"
