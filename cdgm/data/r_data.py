"""Objects of R data files (``.rda``), which are parsed and never evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cdgm.data.count_matrix import Csr
from cdgm.data.h5ad_file import reading
from cdgm.data.read_cells import check_block
from cdgm.utils.errors import UserError, bad_input


def read_r_object(path: Path, name: str) -> Any:
    """One object of a file.

    Raises
    ------
    UserError
        If the file is missing or damaged, or does not hold the object, or rdata is not installed.
    """
    try:
        import rdata
    except ImportError:
        raise UserError(f"{path}: R data: reading them needs rdata: pip install rdata") from None

    with reading(path, "R data (.rda)"):
        content = rdata.read_rda(path)
    if name not in content:
        raise bad_input(path, "R object", name, f"one of {sorted(content)}")
    return content[name]


def r_counts(node: Any, cells: int, where: str, table: str) -> tuple[Csr, np.ndarray]:
    """Return an R sparse matrix (rows, cells) as integer CSR (cells, rows), and its row names.

    Parameters
    ----------
    node
        A ``dgTMatrix`` or ``dgCMatrix`` as rdata reads it.
    cells
        Number of cells in the table that stands beside it: what a matrix declares is believed only where
        something as long stands there.
    where, table
        Names of the matrix and of that table, for messages.

    Raises
    ------
    UserError
        If it is another object, is damaged, names no rows, has another number of cells, or holds a value
        that is no count.
    """
    import scipy.sparse as sp

    kind = r_class(node)
    if kind not in ("dgTMatrix", "dgCMatrix"):
        raise bad_input(where, "class", kind, "dgTMatrix or dgCMatrix")
    try:
        shape, names = tuple(int(each) for each in node.Dim), node.Dimnames[0]
        if names is None or isinstance(names, str):  # rdata gives R's NULL as text in some places
            raise bad_input(where, "row names", None, "the name of each row")
        names = np.asarray(names).astype(str).astype(object)
        if shape != (len(names), cells):
            expected = f"{len(names)} rows, as it names, and the {cells} cells of {table}"
            raise bad_input(where, "rows and cells", shape, expected)
        if kind == "dgTMatrix":
            matrix = sp.coo_matrix((node.x, (node.i, node.j)), shape=shape).tocsc()
        else:
            matrix = sp.csc_matrix((node.x, node.i, node.p), shape=shape)
            matrix.check_format(full_check=True)
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{where}: damaged sparse matrix: {' '.join(str(error).split())[:200]}") from error
    matrix = matrix.T.tocsr()
    positions = np.arange(1, cells + 1)
    check_block(matrix, 0, support="counts", where=where, cells=positions, genes=names)
    return matrix.astype(np.int32), names


def r_class(node: Any) -> str:
    """Name of an R object's class, or of the Python type that stands for a basic one."""
    return str(np.ravel(getattr(node, "class", type(node).__name__))[0])
