"""Opening AnnData files that may be damaged or made to do harm.

What a file declares is compared with what it can hold before anything is read: HDF5 lets a few bytes
declare an array of any size, point into other files and spread an array over them.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from cdgm.errors import UserError, bad_input

# Deflate packs 1,032 to 1 at most. Small arrays may be stored in ways that are not counted.
MOST_PACKED = 1_100
ALWAYS_ALLOWED_BYTES = 1 << 20


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
    # TypeError, AttributeError: h5py's own for an array in a group's place and the like.
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError, MemoryError) as error:
        raise _unreadable(path, error) from error


def element(node: h5py.Group | h5py.Dataset, handle: h5py.File, path: Path) -> Any:
    """Read one element of an AnnData file into memory, after :func:`bounded` has looked at it."""
    from anndata.io import read_elem

    bounded(node, handle, path)
    try:
        with warnings.catch_warnings():
            # AnnData warns of each part that an early version wrote.
            warnings.simplefilter("ignore")
            return read_elem(node)
    except Exception as error:  # a part of an unexpected kind fails anywhere in AnnData, with any type
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path}: not a readable AnnData (.h5ad) file: {reason}")


def bounded(node: h5py.Group | h5py.Dataset, handle: h5py.File, path: Path) -> None:
    """Refuse arrays at or below ``node`` that are larger than their bytes, or lie in another file.

    Raises
    ------
    UserError
        Names the array.
    """
    if isinstance(node, h5py.Group):
        for name in node:
            if isinstance(node.get(name, getlink=True), h5py.ExternalLink):
                raise bad_input(path, f"{node.name}/{name}".lstrip("/"), "a link into another file", "data")
            bounded(node[name], handle, path)
        return
    if not isinstance(node, h5py.Dataset) or node.shape is None:
        return
    name = node.name.lstrip("/")
    if node.file.filename != handle.filename or node.external or node.is_virtual:
        raise bad_input(path, name, "data of another file", "data of this one")
    declared, stored = node.size * node.dtype.itemsize, node.id.get_storage_size()
    if declared > ALWAYS_ALLOWED_BYTES + MOST_PACKED * stored:
        raise bad_input(
            path, f"{name}: declared bytes", declared, f"at most {MOST_PACKED} times its {stored} stored ones"
        )
