"""Opening AnnData files that may be damaged or made to do harm.

What a file declares is compared with what it can hold before anything is read: HDF5 lets a few bytes
declare an array of any size, unpack to a thousand times as much, point into other files, and lead in
circles.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cdgm.utils.errors import UserError, bad_input

# Deflate packs 1,032 to 1 at most. Small arrays may be stored in ways that are not counted.
MOST_PACKED = 1_100
ALWAYS_ALLOWED_BYTES = 1 << 20
# Tables are read as a whole; those of a million cells with ten columns hold some 100 MB.
LARGEST_TABLE_BYTES = 1 << 32
# A chunk is unpacked as a whole, however little of it is wanted.
SMALL_CHUNK_BYTES, LARGEST_CHUNK_BYTES = 1 << 26, 1 << 30
# Links may lead round in circles, and on many ways to one group.
MOST_NAMES = 8
MOST_PARTS = 20_000
# The length of a text is known when it is read. A single one is never longer than its file.
TEXTS_AT_ONCE = 256
LARGEST_TEXT_BYTES = 1 << 30


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
    # h5py's own for an array in a group's place, a text in a number's and the like.
    except (
        OSError,
        KeyError,
        IndexError,
        RuntimeError,
        TypeError,
        ValueError,
        OverflowError,
        AttributeError,
        MemoryError,
    ) as error:
        raise unreadable(path, error) from error


def element(node: h5py.Group | h5py.Dataset, handle: h5py.File, path: Path) -> Any:
    """Read one element of an AnnData file into memory, after :func:`bounded` has looked at it."""
    from anndata.io import read_elem

    bounded(node, handle, path, LARGEST_TABLE_BYTES)
    try:
        with warnings.catch_warnings():
            # AnnData warns of each part that an early version wrote.
            warnings.simplefilter("ignore")
            return read_elem(node)
    except Exception as error:  # a part of an unexpected kind fails anywhere in AnnData, with any type
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file in which a library stumbles."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path}: not a readable AnnData (.h5ad) file: {reason}")


def bounded(node: h5py.Group | h5py.Dataset, handle: h5py.File, path: Path, most: float = math.inf) -> None:
    """Refuse arrays at or below ``node`` that are larger than their bytes, or lie in another file.

    Parameters
    ----------
    node, handle, path
        What will be read, and the open file with its path.
    most
        Bytes that all arrays together may declare.

    Raises
    ------
    UserError
        Names the array.
    """
    left, parts, total = [node], 0, 0
    names: Counter[object] = Counter()
    # An array that is named many times is read as often.
    most = min(most, 64 * ALWAYS_ALLOWED_BYTES + MOST_PACKED * Path(path).stat().st_size)
    while left:
        part = left.pop()
        parts += 1
        if parts + len(left) > MOST_PARTS:
            raise bad_input(path, node.name, f"more than {MOST_PARTS} parts", "a part of an AnnData file")
        if isinstance(part, h5py.Group):
            # Two handles of one group are equal.
            names[part] += 1
            if names[part] > MOST_NAMES:
                raise bad_input(path, node.name, "one group under many names", "no circle of links")
            left.extend(_members(part, path))
        elif isinstance(part, h5py.Dataset) and part.shape is not None:
            if isinstance(part.attrs.get("categories"), h5py.Reference):  # of early AnnData versions
                left.append(handle[part.attrs["categories"]])
            total += _declared(part, handle, path)
            if total > most:
                raise bad_input(path, f"{node.name}: declared bytes".lstrip("/"), total, f"at most {most}")


def _members(group: h5py.Group, path: Path) -> Iterator[h5py.Group | h5py.Dataset]:
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            raise bad_input(path, f"{group.name}/{name}".lstrip("/"), "a link into another file", "data")
        yield group[name]


def _declared(array: h5py.Dataset, handle: h5py.File, path: Path) -> int:
    """Bytes that an array takes once it is read; refused where its own cannot hold them."""
    name = array.name.lstrip("/")
    if array.file.filename != handle.filename or array.external or array.is_virtual:
        raise bad_input(path, name, "data of another file", "data of this one")
    declared, stored = array.size * array.dtype.itemsize, array.id.get_storage_size()
    if declared > ALWAYS_ALLOWED_BYTES + MOST_PACKED * stored:
        raise bad_input(
            path, f"{name}: declared bytes", declared, f"at most {MOST_PACKED} times its {stored} stored ones"
        )
    chunk = math.prod(array.chunks or (0,)) * array.dtype.itemsize
    if chunk > min(max(SMALL_CHUNK_BYTES, declared), LARGEST_CHUNK_BYTES):
        raise bad_input(path, f"{name}: bytes of a chunk", chunk, "no more than of the array, 1 GB at most")
    return declared + _texts(array, path)


def _texts(array: h5py.Dataset, path: Path) -> int:
    """Bytes of the texts of an array, read some at a time; many places may name one text."""
    kinds = [array.dtype[field] for field in array.dtype.names or ()] or [array.dtype]
    loose = [h5py.check_vlen_dtype(kind) for kind in kinds]
    if any(kind not in (None, str, bytes) for kind in loose):
        raise bad_input(path, array.name.lstrip("/"), "arrays within an array", "numbers or texts")
    if not any(loose) or not array.size:
        return 0
    rows = len(array) if array.shape else 1
    step = max(1, TEXTS_AT_ONCE * rows // array.size)
    total = 0
    for start in range(0, rows, step):
        some = np.atleast_1d(array[start : start + step] if array.shape else array[()])
        for values in [some[field] for field in some.dtype.names or ()] or [some]:
            total += sum(len(v) for v in values.ravel() if isinstance(v, (bytes, str)))
        if total > LARGEST_TEXT_BYTES:
            raise bad_input(
                path,
                f"{array.name.lstrip('/')}: bytes of texts",
                f"more than {LARGEST_TEXT_BYTES}",
                "names and labels",
            )
    return total
