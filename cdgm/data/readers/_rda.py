"""R data files, unpacked within bounds: a small file must not fill the memory."""

from __future__ import annotations

import bz2
import io
import lzma
import warnings
import zlib
from pathlib import Path
from typing import Any

from cdgm.errors import UserError, bad_input

# R's own files pack 5 to 20 to 1. Deflate reaches 1,032 to 1 and xz far more, on nothing but zeros.
MOST_PACKED = 200
ALWAYS_ALLOWED_BYTES = 1 << 24
LARGEST_BYTES = 1 << 32
# A window of 64 MB is what the highest setting of xz uses.
LARGEST_WINDOW_BYTES = 1 << 28

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
            return rdata.read_rda(io.BytesIO(content))
    except Exception as error:  # a damaged file fails anywhere in the parser, with any type
        raise _unreadable(path, error) from error


def _unpacker(content: bytes) -> Any:
    return next((make() for magic, make in _UNPACKERS.items() if content.startswith(magic)), None)


def _unreadable(path: Path, error: object) -> UserError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path}: not a readable R data (.rda) file: {reason}")
