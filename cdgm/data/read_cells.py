"""Read cells from an AnnData file or object: the checked matrix, gene names, and columns of ``obs``.

The readers of the workflow, the command line and the estimator all read through :func:`read_cells`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.config.value_support import Support, violations
from cdgm.data import count_matrix
from cdgm.data.count_matrix import Csr, MatrixInFile, StoredCounts, in_memory
from cdgm.data.csc_file import RowsOfColumns
from cdgm.data.h5ad_file import open_h5ad, reading
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

#: Counts are held as int32.
LARGEST_COUNT = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Cells:
    """Cells of one data set.

    Attributes
    ----------
    x
        Observations (cells, genes). Of a file: CSR without stored zeros, int32 for counts, or a
        :class:`~cdgm.data.count_matrix.StoredCounts` if they are too many to be held. Of an object in
        memory: its own matrix, CSR or dense.
    genes
        Gene names (genes,), unique.
    obs
        One row a cell, indexed by cell name; columns of text, "" where a value is missing. After a reader,
        ``source`` names the source of a cell and ``label`` is the label that scores are about.
    """

    x: Any
    genes: np.ndarray
    obs: pd.DataFrame

    def take(self, rows: np.ndarray) -> Cells:
        """Keep the given cells (integer positions or a mask, (cells,))."""
        return Cells(self.x[rows], self.genes, self.obs.iloc[np.arange(len(self.obs))[rows]])

    def take_genes(self, columns: np.ndarray) -> Cells:
        """Keep the given genes in the given order (integer positions or a mask, (genes,))."""
        return Cells(self.x[:, columns], self.genes[columns], self.obs)

    def held(self) -> Cells:
        """The same cells with their counts in memory."""
        return replace(self, x=in_memory(self.x))


def read_cells(
    data: Path | AnnData,
    columns: Mapping[str, str],
    *,
    layer: str | None = None,
    support: Support = "counts",
    hint: str = "",
) -> Cells:
    """Read the wanted matrix and the wanted columns of ``obs``.

    Parameters
    ----------
    data
        A file ``.h5ad``, or an AnnData object, in memory or backed.
    columns
        Columns of ``obs`` to read: the key or argument by which the user names each, to its name. ``obs``
        of the result has one column for each key.
    layer
        Layer with the observations, X if None.
    support
        Values that the observations may take.
    hint
        Appended to the error for a value outside of ``support``.

    Returns
    -------
    Cells
        Small matrices of a file are in memory; the values of a large one are checked as it is read.

    Raises
    ------
    UserError
        If the file is damaged, there are no cells or genes, a gene name occurs twice, a column or the
        layer is missing, or a value is outside of ``support`` (names the cell and the gene).
    """
    path = data if isinstance(data, Path) else None
    adata = open_h5ad(data, layer) if isinstance(data, Path) else data
    where = f"{path}: " if path is not None else "adata."
    for what, count in (("cells (obs)", adata.n_obs), ("genes (var)", adata.n_vars)):
        if count == 0:
            raise bad_input(path or "adata", what, count, "at least one")
    genes = gene_names(adata, where)
    obs = text_columns(adata, columns, where)
    matrix = matrix_of(adata, layer)
    name = "X" if layer is None else f"layers/{layer}"
    place = f"{path}: {name}" if path is not None else f"adata.{name}"
    check = partial(check_block, support=support, where=place, cells=obs.index, genes=genes, hint=hint)
    if not isinstance(matrix, np.ndarray) and (hasattr(matrix, "to_memory") or hasattr(matrix, "chunks")):
        return Cells(_from_file(matrix, check, name, support), genes, obs)
    x = _in_rows(matrix, place)
    step = count_matrix.block_rows(adata.n_vars)
    for start in range(0, adata.n_obs, step):
        check(x[start : start + step], start)
    return Cells(x, genes, obs)


def gene_names(adata: AnnData, where: str = "adata.") -> np.ndarray:
    """Gene names (genes,) as text; refused if one occurs twice."""
    refuse_repeated(adata.var_names, f"{where}var_names", ": call adata.var_names_make_unique()")
    return np.asarray(adata.var_names, dtype=str).astype(object)


def refuse_repeated(names: pd.Index, where: str, hint: str = "") -> None:
    """Raise a UserError that names the first gene name that occurs twice."""
    repeated = names[names.duplicated()]
    if len(repeated):
        expected = f"each gene name once, {len(repeated)} repeat an earlier one{hint}"
        raise bad_input(where, "", str(repeated[0]), expected)


def text_columns(adata: AnnData, columns: Mapping[str, str], where: str = "adata.") -> pd.DataFrame:
    """Columns of ``obs`` as text, "" where a value is missing; see :func:`read_cells`."""
    import pandas as pd

    table = pd.DataFrame(index=pd.Index(adata.obs_names.astype(str).to_numpy()))
    for key, name in columns.items():
        if name not in adata.obs:
            raise bad_input(f"{where}obs", key, name, f"one of its columns {sorted(map(str, adata.obs))}")
        values = adata.obs[name]
        table[key] = np.where(values.isna().to_numpy(), "", values.astype(object).astype(str).to_numpy())
    return table


def matrix_of(adata: AnnData, layer: str | None) -> Any:
    """X or a layer, as it is.

    Raises
    ------
    UserError
        If there is none.
    """
    if layer is not None and not (isinstance(layer, str) and layer in adata.layers):
        raise bad_input("adata.layers", "layer", layer, f"one of {sorted(adata.layers)}, or None for adata.X")
    if layer is None and adata.X is None:
        raise bad_input("adata.X", "", None, f"a matrix, or a layer: one of {sorted(adata.layers)}")
    return adata.X if layer is None else adata.layers[layer]


def masked(values: Any) -> int:
    """Number of masked values; 0 for anything but a masked array."""
    return int(np.ma.getmaskarray(values).sum()) if np.ma.isMaskedArray(values) else 0


def check_block(
    block: Any, start: int, *, support: Support, where: str, cells: Any, genes: np.ndarray, hint: str = ""
) -> None:
    """Check the values of some rows.

    Parameters
    ----------
    block
        Rows (n, genes), CSR or dense.
    start
        Position of the first one.
    support, where, hint
        See :func:`read_cells`; ``where`` names the matrix.
    cells, genes
        Names of all rows and of the columns.

    Raises
    ------
    UserError
        If a value is outside of ``support``; names the cell and the gene.
    """
    import scipy.sparse as sp

    if sp.issparse(block):
        block.check_format(full_check=True)  # the indices of a damaged file may lie outside of the matrix
        if len(block.data) and np.diff(block.indptr).max() > block.shape[1]:
            raise UserError(f"{where}: damaged sparse matrix: a row has more entries than there are genes")
        values = block.data
    else:
        values = block.ravel()
    if values.dtype.kind not in "biuf":
        raise bad_input(where, "type", str(values.dtype), "numbers")
    checks = []
    if values.dtype.kind == "f":
        checks.append((~np.isfinite(values), "a finite number"))
    if values.dtype.kind != "b":
        checks += violations(values, support)
    # Smaller types hold no larger count; float16 cannot be compared with one.
    if support == "counts" and values.dtype.itemsize > 2:
        checks.append((values > LARGEST_COUNT, f"a count of at most {LARGEST_COUNT}"))
    for bad, expected in checks:
        if bad.any():
            first = int(np.argmax(bad))
            if sp.issparse(block):
                row = int(np.searchsorted(block.indptr, first, side="right")) - 1
                column = int(block.indices[first])
            else:
                row, column = divmod(first, block.shape[1])
            place = f"{where} in cell {str(cells[start + row])!r}, gene {str(genes[column])!r}"
            raise bad_input(place, "", values[first].item(), f"{expected}{hint}")


def _from_file(
    matrix: Any, check: Callable[[Any, int], None], name: str, support: Support
) -> Csr | StoredCounts:
    """Read an ``h5py.Dataset`` or a sparse dataset of AnnData, or leave it in the file if it is large."""
    sparse = hasattr(matrix, "to_memory")
    path = Path((matrix.group if sparse else matrix).file.filename)
    with reading(path):
        if sparse:
            entries = len(matrix.group["indices"])
            lines = matrix.group["indptr"][:]
            if lines[0] != 0 or lines[-1] != entries or (np.diff(lines) < 0).any():
                raise ValueError(f"{name}: damaged sparse matrix: pointers do not lead from 0 to {entries}")
            if matrix.group["indices"].dtype.kind not in "iu":
                raise ValueError(f"{name}: damaged sparse matrix: its indices are no integers")
            kind = matrix.group["data"].dtype
        else:
            entries, kind = matrix.size, matrix.dtype
        if kind.kind not in "biuf":
            raise bad_input(path, f"{name} type", str(kind), "numbers")
        held = entries <= count_matrix.HELD_ENTRIES
        if sparse and matrix.format == "csc":
            matrix = _in_rows(matrix.to_memory(), name) if held else RowsOfColumns(matrix)
    dtype = np.dtype(np.int32) if support == "counts" else kind
    rows = MatrixInFile(matrix, check, dtype, partial(reading, path), f"{path.name}: {name}")
    stored = StoredCounts.whole(rows)
    return stored.tocsr() if held or support != "counts" else stored


def _in_rows(matrix: Any, name: str) -> Csr | np.ndarray:
    """A matrix in memory as CSR or as a dense array."""
    import scipy.sparse as sp

    if count := masked(matrix):
        raise bad_input(
            name, "", f"{count} masked values", "a value everywhere: fill them or leave cells out"
        )
    if not sp.issparse(matrix):
        return np.asarray(matrix)
    if matrix.format in ("csr", "csc"):
        try:
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise UserError(f"{name}: damaged sparse matrix: {error}") from error
    return matrix.tocsr()
