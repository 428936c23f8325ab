"""Count matrices that may be larger than memory.

A count matrix is a CSR matrix or a :class:`StoredCounts`, which stays in its file and reads blocks of rows
on demand. :func:`blocks` walks through either. Sums over blocks are exact or formed row by row, so the size
of a block never changes a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from cdgm.utils.progress import progress

#: A scipy CSR matrix; scipy has no types of its own.
Csr: TypeAlias = Any

# Entries of a block if all were there; decides memory and speed, never a result.
BLOCK_ENTRIES = 1 << 24
# Matrices with at most that many stored entries (8 bytes each) are held in memory.
HELD_ENTRIES = 1 << 26


def block_rows(genes: int) -> int:
    """Rows of a block."""
    return max(1, BLOCK_ENTRIES // max(1, genes))


class MatrixInFile:
    """All rows of a matrix that stays in its file.

    Parameters
    ----------
    matrix
        Anything of shape (cells, genes) whose slices of rows are read when they are asked for: an
        ``h5py.Dataset``, AnnData's CSR dataset, or :class:`cdgm.data.csc_file.RowsOfColumns`.
    check
        Called with each block and the position of its first row; raises a UserError if a value is wrong.
    dtype
        Type of the blocks that are yielded.
    reading
        Opens a context that turns the errors of a damaged file into a UserError.
    name
        For the progress bar.
    """

    def __init__(
        self,
        matrix: Any,
        check: Callable[[Any, int], None],
        dtype: np.dtype,
        reading: Callable[[], AbstractContextManager],
        name: str,
    ) -> None:
        self.matrix, self.check, self.dtype, self.reading, self.name = matrix, check, dtype, reading, name
        self.shape: tuple[int, int] = matrix.shape

    def walk(self) -> Iterator[Csr]:
        """Yield all rows in order, as checked CSR blocks with sorted indices and no stored zeros."""
        import scipy.sparse as sp

        cells, genes = self.shape
        step = block_rows(genes)
        with progress(self.name, cells, "cells") as advance:
            for start in range(0, cells, step):
                stop = min(start + step, cells)
                with self.reading():
                    block = self.matrix[start:stop]
                    self.check(block, start)
                yield tidy(sp.csr_matrix(block, dtype=self.dtype))
                advance(stop - start)


def tidy(matrix: Csr) -> Csr:
    """Sort a CSR matrix, add up repeated entries and drop stored zeros, in place."""
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


@dataclass(frozen=True)
class CountTotals:
    """Totals of a count matrix, exact, from one pass over its rows.

    Attributes
    ----------
    cell_totals, cell_genes
        Molecules of each cell and its genes with a count, (cells,) int64.
    gene_totals, gene_cells
        Molecules of each gene and cells with a count of it, (genes,) int64.
    gene_squares
        Sum of each gene's squared counts, (genes,) float64, exact below 2^53.
    largest
        Largest count of all.
    """

    cell_totals: np.ndarray
    cell_genes: np.ndarray
    gene_totals: np.ndarray
    gene_cells: np.ndarray
    gene_squares: np.ndarray
    largest: int

    def of_genes(self, columns: np.ndarray) -> CountTotals:
        """Totals of some genes; the others must have no counts."""
        return replace(
            self,
            gene_totals=self.gene_totals[columns],
            gene_cells=self.gene_cells[columns],
            gene_squares=self.gene_squares[columns],
        )


@dataclass(frozen=True)
class StoredCounts:
    """Some rows and columns of a matrix that stays in its file.

    Attributes
    ----------
    source
        The whole matrix.
    rows, genes
        Positions in it: of the cells, increasing, and of the genes, in any order.
    """

    source: MatrixInFile
    rows: np.ndarray
    genes: np.ndarray

    @classmethod
    def whole(cls, source: MatrixInFile) -> StoredCounts:
        """All cells and genes of a source."""
        return cls(source, np.arange(source.shape[0]), np.arange(source.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return len(self.rows), len(self.genes)

    def __getitem__(self, key: Any) -> StoredCounts:
        """``counts[rows]`` and ``counts[:, columns]`` as of a CSR matrix; nothing is read."""
        if isinstance(key, tuple):
            every, columns = key
            if every != slice(None):
                raise IndexError("rows and columns of stored counts are taken one after the other")
            return self._take_genes(np.arange(len(self.genes))[columns])
        rows = self.rows[key]
        if (np.diff(rows) <= 0).any():
            raise IndexError("rows of stored counts are taken in the order of the file")
        return self if len(rows) == len(self.rows) else StoredCounts(self.source, rows, self.genes)

    def _take_genes(self, columns: np.ndarray) -> StoredCounts:
        taken = StoredCounts(self.source, self.rows, self.genes[columns])
        known = self.__dict__.get("totals")
        # Genes without a count add nothing to a cell: no further pass is needed.
        if known is not None and known.gene_totals.sum() == known.gene_totals[columns].sum():
            taken.__dict__["totals"] = known.of_genes(columns)
        return taken

    def blocks(self) -> Iterator[Csr]:
        """Blocks of the chosen rows, in order, with the chosen genes."""
        all_genes = np.array_equal(self.genes, np.arange(self.source.shape[1]))
        start = 0
        for block in self.source.walk():
            first, last = np.searchsorted(self.rows, (start, start + block.shape[0]))
            inside = self.rows[first:last] - start
            start += block.shape[0]
            if not len(inside):
                continue
            if len(inside) < block.shape[0]:
                block = block[inside]
            yield block if all_genes else block[:, self.genes]

    @cached_property
    def totals(self) -> CountTotals:
        """See :func:`count_totals`; kept, because it costs a pass over the file."""
        return _totals(self)

    def tocsr(self) -> Csr:
        """Read into memory: 8 bytes an entry of the chosen rows and genes."""
        import scipy.sparse as sp

        data, indices, lengths = [], [], [np.zeros(1, np.int64)]
        for block in self.blocks():
            block.sort_indices()
            data.append(block.data)
            indices.append(block.indices.astype(np.int32, copy=False))
            lengths.append(np.diff(block.indptr))
        pointers = np.cumsum(np.concatenate(lengths))
        # One list after the other, so that only one of them is there twice.
        joined = np.concatenate(data)
        data.clear()
        columns = np.concatenate(indices)
        indices.clear()
        narrow = np.int32 if pointers[-1] <= np.iinfo(np.int32).max else np.int64
        return sp.csr_matrix((joined, columns, pointers.astype(narrow)), shape=self.shape, copy=False)


Counts: TypeAlias = "Csr | StoredCounts"


def blocks(counts: Counts) -> Iterator[Csr]:
    """All rows in order, as CSR blocks."""
    if isinstance(counts, StoredCounts):
        yield from counts.blocks()
        return
    step = block_rows(counts.shape[1])
    for start in range(0, counts.shape[0], step):
        yield counts[start : start + step]


def in_memory(counts: Counts) -> Csr:
    """The counts as a CSR matrix."""
    return counts.tocsr() if isinstance(counts, StoredCounts) else counts


def count_totals(counts: Counts) -> CountTotals:
    """Totals and numbers of counts of all cells and genes, exact."""
    return counts.totals if isinstance(counts, StoredCounts) else _totals(counts)


def _totals(counts: Counts) -> CountTotals:
    genes = counts.shape[1]
    cell_totals, cell_genes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    gene_totals, gene_cells = np.zeros(genes, np.int64), np.zeros(genes, np.int64)
    gene_squares, largest = np.zeros(genes), 0
    for block in blocks(counts):
        cell_totals.append(np.asarray(block.sum(axis=1, dtype=np.int64)).ravel())
        cell_genes.append(np.diff(block.indptr).astype(np.int64))
        gene_totals += np.asarray(block.sum(axis=0, dtype=np.int64)).ravel()
        gene_cells += np.bincount(block.indices, minlength=genes)
        gene_squares += np.bincount(block.indices, block.data.astype(np.float64) ** 2, genes)
        largest = max(largest, int(block.data.max(initial=0)))
    return CountTotals(
        np.concatenate(cell_totals),
        np.concatenate(cell_genes),
        gene_totals,
        gene_cells,
        gene_squares,
        largest,
    )
