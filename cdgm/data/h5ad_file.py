"""Read AnnData files whole or lazily; a damaged file raises a UserError that names it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    from anndata import AnnData


@contextlib.contextmanager
def reading(path: Path, kind: str = "AnnData (.h5ad)") -> Iterator[None]:
    """Translate whatever a library raises on a damaged file into one line.

    Raises
    ------
    UserError
        If the file is missing or the body raises anything; names ``path`` and ``kind``.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            # Notes about old formats and repeated names; what matters is checked later, with a message.
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except Exception as error:  # a damaged file fails anywhere in the libraries, with any type
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: not a readable {kind} file: {reason}") from error


def read_h5ad(path: Path) -> AnnData:
    """Read a file whole into memory.

    Raises
    ------
    UserError
        If it is missing or damaged.
    """
    import anndata

    with reading(path):
        return anndata.read_h5ad(path)


def open_h5ad(path: Path, layer: str | None = None) -> AnnData:
    """Read the tables of a file and leave the wanted matrix in it.

    Other layers, embeddings and graphs are not read.

    Parameters
    ----------
    path
        The file; it stays open as long as the matrix is referred to.
    layer
        Layer to open, X if None.

    Returns
    -------
    AnnData
        ``obs``, ``var`` and the matrix, as X or under its name in ``layers``: an ``h5py.Dataset`` or one of
        AnnData's sparse datasets.

    Raises
    ------
    UserError
        If the file is missing, damaged, or lacks the matrix.
    """
    import h5py
    from anndata import AnnData
    from anndata.io import read_elem, sparse_dataset

    with reading(path):
        file: Any = h5py.File(path, "r")
        for part in ("obs", "var"):
            if part not in file:
                raise bad_input(path, "parts", sorted(file), f"an AnnData file with {part!r}")
        tables: dict[str, Any] = {part: read_elem(file[part]) for part in ("obs", "var")}
        layers = sorted(file["layers"]) if "layers" in file else []
        if layer is None and ("X" not in file or getattr(file["X"], "shape", ()) is None):
            raise bad_input(path, "parts", sorted(file), "a matrix X (or name a layer)")
        if layer is not None and layer not in layers:
            raise bad_input(
                path, "layer", layer, f"one of {layers}" if layers else "X: the file has no layers"
            )
        node = file["X" if layer is None else f"layers/{layer}"]
        matrix = sparse_dataset(node) if isinstance(node, h5py.Group) else node
        layers = None if layer is None else {layer: matrix}
        return AnnData(None if layers else matrix, tables["obs"], tables["var"], layers=layers)
