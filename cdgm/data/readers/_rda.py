"""R data files, unpacked within bounds: a small file must not fill the memory."""

from __future__ import annotations

import bz2
import io
import lzma
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from cdgm.utils.errors import UserError, bad_input

# R's own files pack 5 to 20 to 1. Deflate reaches 1,032 to 1 and xz far more, on nothing but zeros.
MOST_PACKED = 200
ALWAYS_ALLOWED_BYTES = 1 << 24
LARGEST_BYTES = 1 << 32
# A window of 64 MB is what the highest setting of xz uses.
LARGEST_WINDOW_BYTES = 1 << 28
# Of R's classes, those that tables of cells are made of. Others come as their plain parts; the reader of
# a time series, for one, would make as many points as the file declares.
CLASSES = ("data.frame", "factor", "ordered")

_UNPACKERS = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=LARGEST_WINDOW_BYTES),
}


def unpack(path: Path) -> bytes:
    """Content of a file, unpacked if it is packed.

    Raises
    ------
    UserError
        If it is truncated or damaged, unpacks to much more than R's files do, or is packed twice.
    """
    size = path.stat().st_size
    limit = min(ALWAYS_ALLOWED_BYTES + MOST_PACKED * size, LARGEST_BYTES)
    if size > limit:
        raise bad_input(path, "bytes", size, f"at most {limit}")
    content = path.read_bytes()
    unpacker = _unpacker(content)
    if unpacker is None:
        return content
    try:
        unpacked = unpacker.decompress(content, limit + 1)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    if len(unpacked) > limit:
        raise bad_input(path, "unpacked bytes", f"more than {limit}", f"R data in a file of {size} bytes")
    if not unpacker.eof:
        raise _unreadable(path, f"truncated: it unpacks to {len(unpacked)} bytes and does not end there")
    if _unpacker(unpacked) is not None:
        raise bad_input(path, "", "a file that is packed twice", "R data, packed once at most")
    return unpacked


def load_rda(path: Path) -> dict[str, Any]:
    """Objects of an ``.rda`` file by name; nothing in it is run.

    Raises
    ------
    UserError
        If it is no such file.
    """
    import rdata

    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    content = unpack(Path(path))
    try:
        with warnings.catch_warnings():
            # rdata warns that it leaves the sparse matrix class to us.
            warnings.simplefilter("ignore")
            return rdata.read_rda(
                io.BytesIO(content),
                altrep_constructor_dict=_sequences(len(content)),
                constructor_dict=_classes(),
            )
    except UserError:
        raise
    except Exception as error:  # a damaged file fails anywhere in the parser, with any type
        raise _unreadable(path, error) from error


def _classes() -> dict[str, Any]:
    """Constructors of :data:`CLASSES`; a table has as many rows as its columns have values."""
    from rdata.conversion import DEFAULT_CLASS_MAP

    made = {name: DEFAULT_CLASS_MAP[name] for name in CLASSES}
    make = made["data.frame"]

    def table(columns: Any, attributes: Any) -> Any:
        lengths = {len(column) for column in (columns.values() if isinstance(columns, dict) else columns)}
        rows = attributes["row.names"]
        # Rows without names are told as (NA, -number), and rdata would fill columns up to it.
        unnamed = len(rows) == 2 and isinstance(rows, np.ma.MaskedArray) and rows.mask[0]
        if lengths - {abs(int(rows[1])) if unnamed else len(rows)}:
            raise ValueError(f"a table's columns have {sorted(lengths)} values, and it has other rows")
        return make(columns, attributes)

    return made | {"data.frame": table}


def _sequences(size: int) -> dict[bytes, Any]:
    """Readers of vectors in short forms, such as 1:n, that declare no more than a packed file may hold."""
    from rdata.parser import DEFAULT_ALTREP_MAP

    left = ALWAYS_ALLOWED_BYTES + MOST_PACKED * size

    def within(make: Any, count: Any) -> Any:
        def checked(state: Any) -> Any:
            nonlocal left
            # A number, or a text of a number, takes 8 bytes and more.
            left -= 8 * int(count(state))
            if left < 0:
                raise ValueError("its sequences declare more than the file can hold")
            return make(state)

        return checked

    bounded = dict(DEFAULT_ALTREP_MAP)
    for name in (b"compact_intseq", b"compact_realseq"):
        bounded[name] = within(bounded[name], lambda state: state.value[0])
    bounded[b"deferred_string"] = within(
        bounded[b"deferred_string"], lambda state: 10 * len(state.value[0].value)
    )
    return bounded


def _unpacker(content: bytes) -> Any:
    return next((make() for magic, make in _UNPACKERS.items() if content.startswith(magic)), None)


def _unreadable(path: Path, error: object) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path}: not a readable R data (.rda) file: {reason}")
