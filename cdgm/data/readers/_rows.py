"""Counts of an AnnData file, read in blocks of rows: dense, CSR or CSC, checked on the way."""

from __future__ import annotations

import mmap
import os
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cdgm.data import counts as sizes
from cdgm.data.counts import RowSource, StoredCounts
from cdgm.data.readers._hdf5 import bounded, open_h5ad
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.progress import progress

LARGEST_COUNT = np.iinfo(np.int32).max


def read_counts(
    handle: h5py.File, name: str, cells: pd.Index, genes: np.ndarray, path: Path
) -> sp.csr_matrix | StoredCounts:
    """Integer counts, (cells, genes): as CSR of int32, or left in the file if they are very many.

    Parameters
    ----------
    handle
        The open file.
    name
        Place of the matrix in it.
    cells, genes
        Names of its rows and columns.
    path
        The file.

    Raises
    ------
    UserError
        If a value is NaN, negative or no integer (names the cell and the gene; of counts left in the file
        when they are walked through), the shape differs from the tables, or the parts do not fit together.
    """
    node = handle[name]
    check = _Check(name, cells, genes, path)
    bounded(node, handle, path)
    if isinstance(node, h5py.Dataset):
        check.shape(node.shape)
        check.numbers(node.dtype)
        source, entries = _DenseRows(path, name, check), node.size
    else:
        encoding = node.attrs.get("encoding-type", "")
        if not isinstance(encoding, str) or encoding not in ("csr_matrix", "csc_matrix"):
            raise bad_input(path, node.name, encoding, "a csr_matrix, a csc_matrix or a dense array")
        check.shape(tuple(int(each) for each in node.attrs["shape"]))
        check.lines(node)
        entries = len(node["indices"])
        source = (_CsrRows if encoding == "csr_matrix" else _rows_of_columns)(path, name, check)
    stored = StoredCounts.whole(source)
    # What is zero in a dense matrix takes no memory: it is counted block by block.
    return stored.tocsr() if entries <= sizes.HELD_ENTRIES else stored


class _Check:
    """Turns values into integer counts and says where the first bad one stands."""

    def __init__(self, name: str, cells: pd.Index, genes: np.ndarray, path: Path) -> None:
        self.name, self.cells, self.genes, self.path = name, cells, genes, path

    def shape(self, found: tuple[int, ...]) -> None:
        expected = (len(self.cells), len(self.genes))
        if tuple(found) != expected:
            raise bad_input(self.path, f"{self.name} shape", tuple(found), f"(cells, genes) = {expected}")

    def damaged(self, why: str) -> UserError:
        return UserError(f"{self.path}: {self.name}: damaged sparse matrix: {why}")

    def numbers(self, found: np.dtype) -> None:
        """Before a value is read: a single text can be as long as the file."""
        if found.kind not in "iufb":
            raise bad_input(self.path, f"{self.name} type", str(found), "numbers")

    def lines(self, node: h5py.Group) -> None:
        """The three arrays of a sparse matrix are plain rows of numbers."""
        for part in ("data", "indices", "indptr"):
            if node[part].ndim != 1:
                raise self.damaged(f"its {part} have {node[part].ndim} axes")
        self.numbers(node["data"].dtype)
        if node["indices"].dtype.kind not in "iu" or node["indptr"].dtype.kind not in "iu":
            raise self.damaged("its indices are no integers")

    def pointers(self, node: h5py.Group, outer: int, inner: int) -> np.ndarray:
        """Where each row (or column) begins; nothing else of a sparse matrix is held in memory."""
        entries = len(node["indices"])
        if len(node["data"]) != entries or node["indptr"].shape != (outer + 1,):
            raise self.damaged(
                f"{len(node['data'])} values, {entries} indices, {node['indptr'].shape} pointers "
                f"for {outer} lines"
            )
        pointers = node["indptr"][:].astype(np.int64)
        lengths = np.diff(pointers)
        if pointers[0] != 0 or pointers[-1] != entries or (lengths < 0).any():
            raise self.damaged(f"its pointers do not lead from 0 to {entries}")
        if len(lengths) and lengths.max() > inner:
            raise self.damaged(f"a line of {inner} has {lengths.max()} entries")
        return pointers

    def indices(self, found: np.ndarray, inner: int) -> np.ndarray:
        if found.size and (found.min() < 0 or found.max() >= inner):
            raise self.damaged(f"an index lies outside of 0 to {inner - 1}")
        return found.astype(np.int32)

    def integers(self, values: np.ndarray, locate: Callable[[int], tuple[int, int]]) -> np.ndarray:
        """Return ``values`` as int32; ``locate`` maps a position to (cell, gene)."""
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


class _FileRows(RowSource):
    """Rows that are read from the file anew in each pass; it is open only meanwhile."""

    def __init__(self, path: Path, name: str, check: _Check) -> None:
        self.path, self.name, self.check = path, name, check
        self.shape = (len(check.cells), len(check.genes))

    def walk(self) -> Iterator[sp.csr_matrix]:
        """See the base class."""
        step = sizes.block_rows(self.shape[1])
        with (
            open_h5ad(self.path) as handle,
            progress(f"{self.path.name}: {self.name}", self.shape[0], "cells") as advance,
        ):
            read = self.reader(handle[self.name])
            for start in range(0, self.shape[0], step):
                stop = min(start + step, self.shape[0])
                yield tidy(read(start, stop))
                advance(stop - start)

    @abstractmethod
    def reader(self, node) -> Callable[[int, int], sp.csr_matrix]:
        """A function that reads the rows from one position to another."""


class _DenseRows(_FileRows):
    def reader(self, node: h5py.Dataset) -> Callable[[int, int], sp.csr_matrix]:
        def read(start: int, stop: int) -> sp.csr_matrix:
            block = node[start:stop]

            def locate(position: int) -> tuple[int, int]:
                row, column = divmod(position, block.shape[1])
                return start + row, column

            return sp.csr_matrix(self.check.integers(block.ravel(), locate).reshape(block.shape))

        return read


class _CsrRows(_FileRows):
    def __init__(self, path: Path, name: str, check: _Check) -> None:
        super().__init__(path, name, check)
        with open_h5ad(path) as handle:
            self.pointers = check.pointers(handle[name], *self.shape)

    def reader(self, node: h5py.Group) -> Callable[[int, int], sp.csr_matrix]:
        def read(start: int, stop: int) -> sp.csr_matrix:
            pointers = self.pointers[start : stop + 1]
            part = slice(int(pointers[0]), int(pointers[-1]))
            indices = self.check.indices(node["indices"][part], self.shape[1])

            def locate(position: int) -> tuple[int, int]:
                row = int(np.searchsorted(pointers, pointers[0] + position, side="right")) - 1
                return start + row, int(indices[position])

            data = self.check.integers(node["data"][part], locate)
            return sp.csr_matrix((data, indices, pointers - pointers[0]), shape=(stop - start, self.shape[1]))

        return read


class _ArrayRows(RowSource):
    """Rows of a CSR matrix whose arrays are mapped from a temporary file."""

    def __init__(self, data: np.ndarray, indices: np.ndarray, pointers: np.ndarray, shape) -> None:
        self.data, self.indices, self.pointers, self.shape = data, indices, pointers, shape

    def walk(self) -> Iterator[sp.csr_matrix]:
        """See the base class."""
        step = sizes.block_rows(self.shape[1])
        for start in range(0, self.shape[0], step):
            pointers = self.pointers[start : start + step + 1]
            part = slice(pointers[0], pointers[-1])
            yield tidy(
                sp.csr_matrix(
                    (np.array(self.data[part]), np.array(self.indices[part]), pointers - pointers[0]),
                    shape=(len(pointers) - 1, self.shape[1]),
                )
            )


def _rows_of_columns(path: Path, name: str, check: _Check) -> RowSource:
    """Turn a CSC matrix around, on disk where it is large: two passes over the file.

    The entries come column after column; each is put to the next free place of its row. The temporary
    file (8 bytes an entry, in the folder that ``TMPDIR`` names) has no name and goes with the process.
    """
    shape = (len(check.cells), len(check.genes))
    with open_h5ad(path) as handle:
        node = handle[name]
        pointers = check.pointers(node, shape[1], shape[0])
        entries = int(pointers[-1])
        windows = range(0, entries, sizes.BLOCK_ENTRIES)
        lengths = np.zeros(shape[0], np.int64)
        for start in windows:
            rows = check.indices(node["indices"][start : start + sizes.BLOCK_ENTRIES], shape[0])
            lengths += np.bincount(rows, minlength=shape[0])
        if len(lengths) and lengths.max() > shape[1]:
            raise check.damaged(f"a cell of {shape[1]} genes has {lengths.max()} entries")
        begins = np.concatenate([[0], np.cumsum(lengths)])
        if entries <= sizes.HELD_ENTRIES:
            data, columns = np.empty(entries, np.int32), np.empty(entries, np.int32)
        else:
            data, columns = np.frombuffer(_scratch(8 * entries), np.int32).reshape(2, entries)
        free = begins[:-1].copy()
        with progress(f"{path.name}: {name}, columns to rows", entries, "counts") as advance:
            for start in windows:
                stop = min(start + sizes.BLOCK_ENTRIES, entries)
                rows = node["indices"][start:stop].astype(np.int64)
                first, last = np.searchsorted(pointers, (start, stop - 1), side="right") - 1
                inside = np.clip(pointers[first : last + 2], start, stop)
                of = np.repeat(np.arange(first, last + 1, dtype=np.int32), np.diff(inside))

                def locate(position: int, rows=rows, of=of) -> tuple[int, int]:
                    return int(rows[position]), int(of[position])

                values = check.integers(node["data"][start:stop], locate)
                order = np.argsort(rows, kind="stable")
                many = np.bincount(rows, minlength=shape[0])
                behind = np.arange(stop - start) - np.repeat(np.cumsum(many) - many, many)
                place = free[rows[order]] + behind
                data[place], columns[place] = values[order], of[order]
                free += many
                advance(stop - start)
    return _ArrayRows(data, columns, begins, shape)


def _scratch(size: int) -> mmap.mmap:
    """Room in a temporary file without a name.

    Raises
    ------
    UserError
        If there is none: a mapping of a file that the disk has no room for kills the process later on.
    """
    try:
        with tempfile.TemporaryFile() as file:  # its mapping outlives it
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()}: no room for a temporary file of {size} bytes: {error.strerror}; name "
            "another folder in TMPDIR"
        ) from error


def tidy(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Sort a CSR matrix, add up repeated entries and drop stored zeros, in place."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
