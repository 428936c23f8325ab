"""Reading the parts of an AnnData file that are needed, in blocks, with errors that name cell and gene.

Only the wanted matrix and the two tables are read: layers, embeddings and graphs of a large file stay
on disk. Sparse matrices stay sparse, and dense ones are made sparse block by block.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem

from cdgm.errors import UserError, bad_input

BLOCK_ENTRIES = 1 << 24
LARGEST_COUNT = np.iinfo(np.int32).max


@contextlib.contextmanager
def open_h5ad(path: Path) -> Iterator[h5py.File]:
    """Open an ``.h5ad`` file; damage found while it is open becomes one line too."""
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as handle:
            for part in ("obs", "var"):
                if part not in handle:
                    raise bad_input(path, "parts", sorted(handle), f"an AnnData file with {part!r}")
            yield handle
    except UserError:
        raise
    except (OSError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a readable AnnData (.h5ad) file: {reason}") from error


def read_tables(handle: h5py.File, path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the table of cells and the gene names.

    Raises
    ------
    UserError
        If there are no cells or no genes, or a gene name occurs twice.
    """
    obs = read_elem(handle["obs"])
    genes = read_elem(handle["var"]).index.to_numpy().astype(str)
    for what, count in (("cells (obs)", len(obs)), ("genes (var)", len(genes))):
        if count == 0:
            raise bad_input(path, what, count, "at least one")
    refuse_duplicates(genes, path)
    obs.index = obs.index.astype(str)
    return obs, genes


def refuse_duplicates(genes: np.ndarray, path: Path) -> None:
    """Raise a UserError that names the first gene that occurs twice."""
    repeated = pd.Index(genes).duplicated()
    if repeated.any():
        raise bad_input(
            path, "gene names", genes[repeated][0], f"each once, {int(repeated.sum())} repeat an earlier one"
        )


def column(obs: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """Return a column of the table of cells as text, missing values as "".

    Raises
    ------
    UserError
        If there is none; names the columns that there are.
    """
    if name not in obs.columns:
        raise bad_input(path, "obs column", name, f"one of {sorted(map(str, obs.columns))}")
    values = obs[name]
    return values.astype(object).where(values.notna(), "").astype(str)


def find_matrix(handle: h5py.File, layer: str | None, path: Path) -> h5py.Group | h5py.Dataset:
    """Return the matrix of a layer, or X for None."""
    if layer is None:
        if "X" not in handle or getattr(handle["X"], "shape", ()) is None:
            raise bad_input(path, "parts", sorted(handle), "a matrix X (or name a layer)")
        return handle["X"]
    layers = sorted(handle["layers"]) if "layers" in handle else []
    if layer not in layers:
        raise bad_input(
            path, "layer", layer, f"one of {layers}" if layers else "no layer: the file has none, use X"
        )
    return handle["layers"][layer]


def read_counts(
    node: h5py.Group | h5py.Dataset, obs: pd.DataFrame, genes: np.ndarray, path: Path
) -> sp.csr_matrix:
    """Read integer counts, (cells, genes), as CSR of int32.

    Raises
    ------
    UserError
        If a value is NaN, negative or no integer (names the cell and the gene), or the shape differs
        from the tables.
    """
    check = _Check(node.name, obs.index, genes, path)
    if isinstance(node, h5py.Dataset):
        return _from_dense(node, check)
    encoding = node.attrs.get("encoding-type", "")
    if encoding not in ("csr_matrix", "csc_matrix"):
        raise bad_input(path, node.name, encoding, "a csr_matrix, a csc_matrix or a dense array")
    by_row = encoding == "csr_matrix"
    check.shape(tuple(int(each) for each in node.attrs["shape"]))
    indptr, indices = node["indptr"][:], node["indices"][:]
    # Values are converted block by block: two copies of a large matrix are never held.
    data = np.empty(len(indices), np.int32)
    for start in range(0, len(data), BLOCK_ENTRIES):
        block = node["data"][start : start + BLOCK_ENTRIES]

        def locate(position: int, start: int = start) -> tuple[int, int]:
            outer = int(np.searchsorted(indptr, start + position, side="right")) - 1
            inner = int(indices[start + position])
            return (outer, inner) if by_row else (inner, outer)

        data[start : start + BLOCK_ENTRIES] = check.integers(block, locate)
    shape = (len(obs), len(genes))
    matrix = (sp.csr_matrix if by_row else sp.csc_matrix)((data, indices, indptr), shape=shape)
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise UserError(f"{path}: {node.name}: damaged sparse matrix: {error}") from error
    return tidy(matrix.tocsr())


def tidy(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Sort a CSR matrix, add up repeated entries and drop stored zeros, in place."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _from_dense(node: h5py.Dataset, check: _Check) -> sp.csr_matrix:
    check.shape(node.shape)
    rows = max(1, BLOCK_ENTRIES // max(1, node.shape[1]))
    blocks = []
    for start in range(0, node.shape[0], rows):
        block = node[start : start + rows]

        def locate(position: int, start: int = start) -> tuple[int, int]:
            row, col = divmod(position, node.shape[1])
            return start + row, col

        blocks.append(sp.csr_matrix(check.integers(block.ravel(), locate).reshape(block.shape)))
    return tidy(sp.vstack(blocks, format="csr"))


class _Check:
    """Turns values into integer counts and says where the first bad one stands."""

    def __init__(self, name: str, cells: pd.Index, genes: np.ndarray, path: Path) -> None:
        self.name, self.cells, self.genes, self.path = name.lstrip("/"), cells, genes, path

    def shape(self, found: tuple[int, ...]) -> None:
        expected = (len(self.cells), len(self.genes))
        if tuple(found) != expected:
            raise bad_input(self.path, f"{self.name} shape", tuple(found), f"(cells, genes) = {expected}")

    def integers(self, values: np.ndarray, locate) -> np.ndarray:
        """Return ``values`` as int32; ``locate`` maps a position to (cell, gene)."""
        if values.dtype.kind not in "iufb":
            raise bad_input(self.path, f"{self.name} type", str(values.dtype), "numbers")
        # NaN fails both comparisons, so it counts as bad without a test of its own.
        good = (values >= 0) & (values <= LARGEST_COUNT)
        if values.dtype.kind == "f":
            good &= values == np.floor(values)
        if not good.all():
            position = int(np.argmin(good))
            cell, gene = locate(position)
            raise bad_input(
                self.path,
                f"{self.name} in cell {self.cells[cell]!r}, gene {str(self.genes[gene])!r}",
                values[position].item(),
                "a non-negative integer count",
            )
        return values.astype(np.int32)
