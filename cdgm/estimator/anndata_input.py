"""Register the columns and the matrix of an AnnData object, and read them without a dense copy."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from cdgm.config.dataset import CovariateKind
from cdgm.config.value_support import Support
from cdgm.data.count_matrix import Counts, blocks
from cdgm.data.read_cells import gene_names, matrix_of, read_cells, text_columns
from cdgm.data.sources import REST, assign_sources
from cdgm.estimator.genes import choose_genes
from cdgm.estimator.observations import Observations, held_type
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.registry import Strict

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

KEY = "_cdgm"
#: Parts of a registration that are lists, which an ``.h5ad`` file holds as arrays.
LISTS = {"background", "categorical_covariate_keys", "continuous_covariate_keys"}
SOURCES = ("background", "target")
_RAW = "; name the layer that holds raw counts (layer=), or choose likelihood='gaussian'"


class Registration(Strict):
    """Arguments of ``ComparativeModel.setup_anndata``, as ``adata.uns["_cdgm"]`` and saved models keep them.

    Attributes
    ----------
    source_key
        Column of ``obs`` that separates background and target.
    background
        Its values that make the background; all others make the target.
    layer
        Layer with the observations; X if None.
    labels_key
        Column of ``obs`` with labels; None without.
    batch_key, categorical_covariate_keys, continuous_covariate_keys
        Columns of ``obs`` with covariates: a batch or donor, other categories, and numbers.
    check_batch_key
        Column of ``obs`` with batches or donors that the model is not told; scores are about them in place
        of ``batch_key``.
    """

    source_key: str
    background: tuple[str, ...]
    layer: str | None = None
    labels_key: str | None = None
    batch_key: str | None = Field(None, exclude_if=operator.not_)
    categorical_covariate_keys: tuple[str, ...] = Field((), exclude_if=operator.not_)
    continuous_covariate_keys: tuple[str, ...] = Field((), exclude_if=operator.not_)
    check_batch_key: str | None = Field(None, exclude_if=operator.not_)

    @property
    def columns(self) -> dict[str, str]:
        """Argument to column of ``obs``."""
        named = {"source_key": self.source_key, "labels_key": self.labels_key, **self.covariates}
        named["check_batch_key"] = self.check_batch_key
        return {argument: column for argument, column in named.items() if column is not None}

    @property
    def scored_batch(self) -> str | None:
        """Column of ``obs`` with the batches that scores are about; None without."""
        return self.check_batch_key or self.batch_key

    @property
    def covariates(self) -> dict[str, str]:
        """Argument to column of ``obs``, of covariates alone."""
        lists = ("categorical_covariate_keys", "continuous_covariate_keys")
        several = {f"{key}[{i}]": name for key in lists for i, name in enumerate(getattr(self, key))}
        return ({} if self.batch_key is None else {"batch_key": self.batch_key}) | several

    @property
    def covariate_kinds(self) -> dict[str, CovariateKind]:
        """Column of ``obs`` to the kind of the covariate."""
        continuous = set(self.continuous_covariate_keys)
        return {
            name: "continuous" if name in continuous else "categorical" for name in self.covariates.values()
        }

    @classmethod
    def of(cls, adata: AnnData) -> Registration:
        """Read the registration of an object."""
        require_anndata(adata)
        if KEY not in adata.uns:
            raise UserError(
                "this AnnData object is not set up: first call cdgm.ComparativeModel.setup_anndata(adata, "
                "source_key=..., background=...)"
            )
        values = dict(adata.uns[KEY])
        for key in LISTS & values.keys():
            values[key] = tuple(map(str, np.atleast_1d(np.asarray(values[key], dtype=object))))
        return cls(**values)

    def write(self, adata: AnnData) -> None:
        """Write it to an object, as values that an ``.h5ad`` file can hold."""
        values = self.model_dump(exclude_none=True)
        lists = {key: np.array(values[key], dtype=object) for key in LISTS & values.keys()}
        adata.uns[KEY] = values | lists


def setup_anndata(
    adata: AnnData,
    source_key: str,
    background: str | Sequence[str],
    layer: str | None = None,
    labels_key: str | None = None,
    batch_key: str | None = None,
    categorical_covariate_keys: Sequence[str] | None = None,
    continuous_covariate_keys: Sequence[str] | None = None,
    check_batch_key: str | None = None,
) -> None:
    """See ``ComparativeModel.setup_anndata``."""
    require_anndata(adata)
    if adata.is_view:
        raise UserError(
            "adata is a view of another object: expected one of its own, call adata = adata.copy()"
        )
    if isinstance(background, str) or not isinstance(background, Sequence):
        background = (background,)
    matrix_of(adata, layer)
    registration = Registration(
        source_key=str(source_key),
        background=tuple(map(str, background)),
        layer=layer,
        labels_key=None if labels_key is None else str(labels_key),
        batch_key=None if batch_key is None else str(batch_key),
        categorical_covariate_keys=_keys("categorical_covariate_keys", categorical_covariate_keys),
        continuous_covariate_keys=_keys("continuous_covariate_keys", continuous_covariate_keys),
        check_batch_key=None if check_batch_key is None else str(check_batch_key),
    )
    taken = [registration.source_key]
    for argument, column in registration.covariates.items():
        if column in taken:
            raise bad_input("adata.obs", argument, column, f"a column of its own, other than {taken}")
        taken.append(column)
    if registration.check_batch_key == registration.source_key:
        expected = f"another column than source_key, {registration.source_key!r}"
        raise bad_input("adata.obs", "check_batch_key", registration.check_batch_key, expected)
    _in_background(text_columns(adata, registration.columns)["source_key"], registration)
    gene_names(adata)
    registration.write(adata)


def _keys(argument: str, value: Sequence[str] | None) -> tuple[str, ...]:
    """Names of columns; one name alone is a list of one."""
    if value is not None and not isinstance(value, str | list | tuple | np.ndarray):
        raise bad_input(argument, "", value, "a list of columns of obs")
    return () if value is None else (value,) if isinstance(value, str) else tuple(map(str, value))


def observe(
    adata: AnnData,
    registration: Registration,
    support: Support,
    n_genes: int | str | None,
    named: np.ndarray | None = None,
    both: bool = True,
) -> Observations:
    """Read what a model needs: the chosen genes of all cells, source by source.

    Parameters
    ----------
    adata, registration
        The object, and its columns and layer.
    support
        Of the likelihood.
    n_genes
        See :func:`cdgm.estimator.genes.choose_genes`.
    named
        Names of the genes to take instead: those of a model.
    both
        Whether there must be cells of both sources.

    Raises
    ------
    UserError
        If the object does not hold what the registration says, or a value lies outside of ``support``.
    """
    require_anndata(adata)
    hint = _RAW if support == "counts" else ""
    columns = registration.columns
    if not both:
        columns.pop("check_batch_key", None)
    cells = read_cells(adata, columns, layer=registration.layer, support=support, hint=hint)
    in_background = _in_background(cells.obs["source_key"], registration, both)
    if named is None:
        chosen = choose_genes(cells.x, n_genes, support)
    else:
        place = {gene: i for i, gene in enumerate(cells.genes)}
        missing = [gene for gene in named if gene not in place]
        if missing:
            raise bad_input("adata.var_names", "", f"no {missing[0]}", f"all {len(named)} genes of the model")
        chosen = np.array([place[gene] for gene in named])
    rows = {SOURCES[0]: np.flatnonzero(in_background), SOURCES[1]: np.flatnonzero(~in_background)}
    rows = {source: positions for source, positions in rows.items() if both or len(positions)}
    return Observations(
        _values(cells.x, rows, chosen, support),
        rows,
        cells.genes[chosen].astype(str),
        np.asarray(adata.obs_names, dtype=str),
        _some_labels(labels(adata, registration), registration) if both else None,
        adata,
        registration,
        {name: cells.obs[key].to_numpy(dtype=str) for key, name in registration.covariates.items()},
        _batch(cells.obs, registration),
    )


def _values(
    x: Counts | np.ndarray, rows: Mapping[str, np.ndarray], chosen: np.ndarray, support: Support
) -> dict[str, np.ndarray]:
    """Values (n_k, D) of the chosen genes of each source's rows (increasing), as they are held.

    They are filled in one pass over blocks: a dense copy of all rows in the type of the object would take
    several times the memory of the result.
    """
    every = np.array_equal(chosen, np.arange(x.shape[1]))
    parts: dict[str, np.ndarray] = {}
    start = 0
    for block in blocks(x):
        block = block if every else block[:, chosen]
        values = block if isinstance(block, np.ndarray) else block.toarray()
        for source, positions in rows.items():
            first, last = np.searchsorted(positions, (start, start + len(values)))
            own = values[positions[first:last] - start]
            kind = held_type(own, support)
            if source not in parts:
                parts[source] = np.empty((len(positions), len(chosen)), kind)
            elif not np.can_cast(kind, parts[source].dtype):
                parts[source] = parts[source].astype(kind)
            parts[source][first:last] = own
        start += len(values)
    return parts


def labels(adata: AnnData, registration: Registration) -> np.ndarray | None:
    """Label of each cell (n,), "" where it has none; None without a column of labels."""
    if registration.labels_key is None:
        return None
    return text_columns(adata, {"labels_key": registration.labels_key})["labels_key"].to_numpy(dtype=str)


def _batch(obs: pd.DataFrame, registration: Registration) -> np.ndarray | None:
    """Batch of each cell (n,) for scores, "" where it has none; None without."""
    key = next((key for key in ("check_batch_key", "batch_key") if key in obs), None)
    if key is None:
        return None
    found = obs[key].to_numpy(dtype=str)
    if not (found != "").any():
        where = f"adata.obs[{registration.columns[key]!r}]"
        raise bad_input(where, "", "no value in any cell", "batches of some cells")
    return found


def _some_labels(found: np.ndarray | None, registration: Registration) -> np.ndarray | None:
    """Refuse a column of labels without a single one."""
    if found is not None and not (found != "").any():
        raise bad_input(
            f"adata.obs[{registration.labels_key!r}]", "", "no value in any cell", "labels of some cells"
        )
    return found


def _in_background(column: pd.Series, registration: Registration, both: bool = True) -> np.ndarray:
    """Whether each cell is of the background (n,); with ``both`` there must be cells that are and are not."""
    sources = dict(zip(SOURCES, (registration.background, REST), strict=True))
    where = f"adata.obs[{registration.source_key!r}]"
    return (assign_sources(column, sources, where, complete=both) == SOURCES[0]).to_numpy()


def require_anndata(adata: Any) -> None:
    """Refuse anything but an AnnData object."""
    from anndata import AnnData

    if not isinstance(adata, AnnData):
        raise bad_input(
            "adata", "type", type(adata).__name__, "an AnnData object; arrays: ComparativeModel.from_arrays"
        )
