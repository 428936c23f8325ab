"""AnnData objects: registering what is what, checking it, and reading counts without a dense copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.config.support import Support
from cdgm.estimator.genes import choose_genes
from cdgm.estimator.observations import Observations, check_values, smallest_type
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.registry import Strict

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

KEY = "_cdgm"
SOURCES = ("background", "target")
#: Rows of a dense matrix that are looked at together.
ROWS = 4_096
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
    """

    source_key: str
    background: tuple[str, ...]
    layer: str | None = None
    labels_key: str | None = None

    @classmethod
    def of(cls, adata: AnnData) -> Registration:
        """Read the registration of an object."""
        require_anndata(adata)
        if KEY not in adata.uns:
            raise UserError(
                "this AnnData object is not set up: first call cdgm.ComparativeModel.setup_anndata(adata, "
                "source_key=..., background=...)"
            )
        stored = dict(adata.uns[KEY])
        background = np.atleast_1d(np.asarray(stored.pop("background"), dtype=object))
        return cls(background=tuple(map(str, background)), **stored)

    def write(self, adata: AnnData) -> None:
        """Write it to an object, as values that an ``.h5ad`` file can hold."""
        values = self.model_dump(exclude_none=True)
        adata.uns[KEY] = values | {"background": np.array(self.background, dtype=object)}


def refuse_batch_key(batch_key: object) -> None:
    """Refuse a batch column with the reason, which a TypeError would not give."""
    if batch_key is not None:
        raise UserError(
            f"batch_key: got {batch_key!r}: batches, donors and other covariates are not supported; see "
            "docs/comparison.md, and check by labels_key whether the salient block separates them"
        )


def setup_anndata(
    adata: AnnData,
    source_key: str,
    background: str | Sequence[str],
    layer: str | None = None,
    labels_key: str | None = None,
) -> None:
    """See ``ComparativeModel.setup_anndata``."""
    require_anndata(adata)
    if adata.is_view:
        raise UserError(
            "adata is a view of another object: expected one of its own, call adata = adata.copy()"
        )
    if isinstance(background, str) or not isinstance(background, Sequence):
        background = (background,)
    _check_layer(adata, layer)
    registration = Registration(
        source_key=str(source_key),
        background=tuple(map(str, background)),
        layer=layer,
        labels_key=None if labels_key is None else str(labels_key),
    )
    is_background(adata, registration)
    labels(adata, registration)
    _check_genes(adata)
    registration.write(adata)


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
        The object, and what is what in it.
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
        If the object does not hold what the registration says, or a value is none of ``support``.
    """
    require_anndata(adata)
    in_background = is_background(adata, registration, both)
    genes = _check_genes(adata)
    where = f"layer {registration.layer!r}" if registration.layer else "adata.X"
    x = matrix(adata, registration.layer)
    if x.shape != adata.shape:
        raise bad_input(where, "shape", x.shape, f"(cells, genes) = {adata.shape}")
    _check_matrix(x, support, where)
    if named is None:
        chosen = choose_genes(x, n_genes, support)
    else:
        place = {gene: i for i, gene in enumerate(genes)}
        missing = [gene for gene in named if gene not in place]
        if missing:
            raise bad_input("adata.var_names", "", f"no {missing[0]}", f"all {len(named)} genes of the model")
        chosen = np.array([place[gene] for gene in named])
    # Genes first: all genes of one source would be a second copy of half of the matrix.
    x = x if len(chosen) == x.shape[1] and named is None else x[:, chosen]
    rows = {SOURCES[0]: np.flatnonzero(in_background), SOURCES[1]: np.flatnonzero(~in_background)}
    rows = {source: positions for source, positions in rows.items() if both or len(positions)}
    parts = {}
    for source, positions in rows.items():
        part = x[positions]
        part = part.toarray() if hasattr(part, "toarray") else np.asarray(part)
        parts[source] = part
    return Observations(
        {source: smallest_type(part, support) for source, part in parts.items()},
        rows,
        genes[chosen],
        np.asarray(adata.obs_names, dtype=str),
        labels(adata, registration),
        adata,
        registration,
    )


def is_background(adata: AnnData, registration: Registration, both: bool = True) -> np.ndarray:
    """Whether each cell is of the background (n,); with ``both`` there must be cells that are and are not."""
    column = _column(adata, "source_key", registration.source_key)
    key = f"obs[{registration.source_key!r}]"
    missing = column.isna().to_numpy()
    if missing.any():
        raise UserError(
            f"{key}: {int(missing.sum())} of {len(missing)} cells have no value, expected one in each: fill "
            "them or leave these cells out"
        )
    values = column.astype(str).to_numpy()
    # Of the values that cells have: categories of a column may be left from cells that are gone.
    found = sorted(set(values))
    shown = found if len(found) <= 12 else [*found[:12], "..."]
    for value in registration.background if both else ():
        if value not in found:
            raise bad_input(key, "background", value, f"one of its values {shown}")
    inside = np.isin(values, registration.background)
    if both and inside.all():
        raise bad_input(
            key, "background", list(registration.background), "some cells of other values, the target"
        )
    return inside


def labels(adata: AnnData, registration: Registration) -> np.ndarray | None:
    """Label of each cell (n,), "" where it has none; None without a column of labels."""
    if registration.labels_key is None:
        return None
    column = _column(adata, "labels_key", registration.labels_key)
    return np.where(column.isna().to_numpy(), "", column.astype(object).astype(str).to_numpy()).astype(str)


def matrix(adata: AnnData, layer: str | None) -> Any:
    """The matrix: CSR, or a dense array; of a file opened in backed mode it is read block by block."""
    import scipy.sparse as sp

    _check_layer(adata, layer)
    x = adata.X if layer is None else adata.layers[layer]
    if sp.issparse(x):
        return x.tocsr()
    if hasattr(x, "to_memory"):
        return x.to_memory().tocsr()
    if isinstance(x, np.ndarray):
        return x
    # Left in the file: zeros of counts take no memory once they are read.
    return sp.vstack([sp.csr_matrix(np.asarray(x[i : i + ROWS])) for i in range(0, x.shape[0], ROWS)]).tocsr()


def _check_matrix(x: Any, support: Support, where: str) -> None:
    hint = _RAW if support == "counts" else ""
    if hasattr(x, "data") and not isinstance(x, np.ndarray):
        check_values(x.data, support, where, hint)
        return
    for start in range(0, len(x), ROWS):
        check_values(x[start : start + ROWS], support, where, hint)


def _column(adata: AnnData, argument: str, name: str) -> pd.Series:
    if name not in adata.obs:
        raise bad_input(
            "adata.obs", argument, name, f"one of its columns {sorted(map(str, adata.obs.columns))}"
        )
    return adata.obs[name]


def _check_layer(adata: AnnData, layer: str | None) -> None:
    if layer is not None and layer not in adata.layers:
        raise bad_input("adata.layers", "layer", layer, f"one of {sorted(adata.layers)}, or None for adata.X")
    if layer is None and adata.X is None:
        raise bad_input("adata.X", "", None, f"a matrix, or a layer: one of {sorted(adata.layers)}")


def _check_genes(adata: AnnData) -> np.ndarray:
    genes = adata.var_names
    if genes.has_duplicates:
        twice = genes[genes.duplicated()]
        raise bad_input(
            "adata.var_names", "", str(twice[0]),
            f"each name once, {len(twice)} repeat an earlier one: call adata.var_names_make_unique()",
        )  # fmt: skip
    return np.asarray(genes, dtype=str)


def require_anndata(adata: Any) -> None:
    """Refuse what is no AnnData object."""
    from anndata import AnnData

    if not isinstance(adata, AnnData):
        raise bad_input(
            "adata", "type", type(adata).__name__, "an AnnData object; arrays: ComparativeModel.from_arrays"
        )
