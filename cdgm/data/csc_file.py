"""Rows of a matrix that a file stores column by column (CSC) and that is too large for memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from cdgm.data import count_matrix
from cdgm.data.count_matrix import Csr
from cdgm.utils.errors import UserError


class RowsOfColumns:
    """A CSC dataset of AnnData, sliced by rows.

    Groups of columns are read one after the other and stored as CSR in a temporary folder (8 bytes an
    entry, in the folder that ``TMPDIR`` names), which is deleted with the object.

    Raises
    ------
    UserError
        If the disk has no room for the temporary files.
    """

    def __init__(self, matrix: Any) -> None:
        self.shape, self.dtype = matrix.shape, matrix.dtype
        self._folder = tempfile.mkdtemp(prefix="cdgm-csc-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = []
        pointers, start = matrix.group["indptr"][:], 0
        while start < self.shape[1]:
            most = pointers[start] + count_matrix.BLOCK_ENTRIES
            stop = max(start + 1, int(np.searchsorted(pointers, most, side="right")) - 1)
            columns = matrix[:, start:stop]
            columns.check_format(full_check=True)
            self._store(columns.tocsr())
            start = stop

    def _store(self, piece: Csr) -> None:
        arrays = []
        for name in ("data", "indices", "indptr"):
            path = Path(self._folder, f"{len(self._pieces)}.{name}.npy")
            try:
                np.save(path, getattr(piece, name))
            except OSError as error:
                raise UserError(
                    f"{path.parent}: no room for a temporary file: {error.strerror or error}; name another "
                    "folder in TMPDIR"
                ) from error
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        self._pieces.append((*arrays, piece.shape[1]))

    def __getitem__(self, rows: slice) -> Csr:
        """Read the rows of a slice without a step."""
        import scipy.sparse as sp

        parts = []
        for data, indices, pointers, genes in self._pieces:
            pointers = np.array(pointers[rows.start : rows.stop + 1])
            inside = slice(pointers[0], pointers[-1])
            arrays = (np.array(data[inside]), np.array(indices[inside]), pointers - pointers[0])
            parts.append(sp.csr_matrix(arrays, shape=(len(pointers) - 1, genes)))
        return sp.hstack(parts, format="csr")
