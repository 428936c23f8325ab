"""Reading the parts of an AnnData file that are needed, with errors that name cell and gene.

Only the wanted matrix and the wanted columns are read: layers, embeddings and graphs of a large file stay
on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from cdgm.data.readers._hdf5 import element
from cdgm.utils.errors import bad_input


def read_tables(handle: h5py.File, path: Path, columns: Iterable[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table of cells with the given columns as text, and the gene names.

    Parameters
    ----------
    handle, path
        The open file and where it is.
    columns
        Names of columns of ``obs``. Missing values become "".

    Raises
    ------
    UserError
        If there are no cells or no genes, a gene name occurs twice, or a column is missing (names the
        columns that there are).
    """
    obs, genes = _table(handle, "obs", path, columns), _table(handle, "var", path, ()).index.to_numpy()
    for what, count in (("cells (obs)", len(obs)), ("genes (var)", len(genes))):
        if count == 0:
            raise bad_input(path, what, count, "at least one")
    refuse_duplicates(genes, path)
    return obs, genes


def refuse_duplicates(genes: np.ndarray, path: Path) -> None:
    """Raise a UserError that names the first gene that occurs twice."""
    repeated = pd.Index(genes).duplicated()
    if repeated.any():
        raise bad_input(
            path, "gene names", genes[repeated][0], f"each once, {int(repeated.sum())} repeat an earlier one"
        )


def find_matrix(handle: h5py.File, layer: str | None, path: Path) -> str:
    """Return the place of the matrix of a layer, or of X for None."""
    if layer is None:
        if "X" not in handle or getattr(handle["X"], "shape", ()) is None:
            raise bad_input(path, "parts", sorted(handle), "a matrix X (or name a layer)")
        return "X"
    layers = sorted(handle["layers"]) if "layers" in handle else []
    if layer not in layers:
        raise bad_input(
            path, "layer", layer, f"one of {layers}" if layers else "no layer: the file has none, use X"
        )
    return f"layers/{layer}"


def _table(handle: h5py.File, part: str, path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """The index and the given columns of ``obs`` or ``var``, all as text."""
    node = handle[part]
    if isinstance(node, h5py.Dataset) or "__categories" in node or "_index" not in node.attrs:
        # Files of early AnnData versions: categories lie apart, so the table is read as a whole.
        whole = element(node, handle, path)
        if not isinstance(whole, pd.DataFrame):
            raise bad_input(path, part, type(whole).__name__, "a table")
        known, index = list(map(str, whole.columns)), whole.index
    else:
        whole = None
        index_name = node.attrs["_index"]
        known = sorted(name for name in node if name != index_name)
        index = element(node[index_name], handle, path)
    table = pd.DataFrame(index=pd.Index(index).astype(str))
    for name in dict.fromkeys(columns):
        if name not in known:
            raise bad_input(path, f"{part} column", name, f"one of {sorted(known)}")
        found = whole[name] if whole is not None else element(node[name], handle, path)
        if np.shape(found) != (len(table),):
            raise bad_input(path, f"{part} column {name!r}", np.shape(found), f"{len(table)} values")
        values = pd.Series(found)
        missing = values.isna().to_numpy()
        table[name] = np.where(missing, "", values.astype(object).astype(str).to_numpy())
    return table
