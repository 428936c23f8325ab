"""Reading and writing files: whole or not at all, with errors that name the file."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.utils.errors import UserError, bad_input, shown

if TYPE_CHECKING:
    import pandas as pd

# Our own archives are not packed; sparse counts that are pack 10 to 50 to 1.
MOST_PACKED = 200
ALWAYS_ALLOWED_BYTES = 1 << 24
# Bytes of a name that its temporary files show; a file system takes 255, with ours added.
LONGEST_SHOWN = 200


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it there on success, delete it on failure.

    The temporary name keeps the suffix, because some writers choose the format by it. A process that was
    killed leaves its temporary file behind: the next one that writes ``path`` deletes it.

    Raises
    ------
    UserError
        If the folder can't be written to or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(temporary_name(path.stem, f".part{path.suffix}"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _delete_left_behind(path)
        yield temporary
        # On the disk before it gets its name: after a power failure the file is whole or not there.
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        # Not the error's own text: pyarrow's is a longer one.
        raise UserError(f"{path}: cannot be written: {os.strerror(error.errno)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_name(name: str, end: str, pid: object = None) -> str:
    """Name of a temporary file or folder of this process, short enough for a file system if ``name`` is."""
    if len(os.fsencode(name)) > LONGEST_SHOWN:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}.{os.getpid() if pid is None else pid}{end}"


def _delete_left_behind(path: Path) -> None:
    """Delete temporary files of earlier processes; the workflow has one writer of a file at a time."""
    before, after = temporary_name(path.stem, f".part{path.suffix}", pid="/").split("/")
    name = re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")
    for other in path.parent.iterdir():
        if name.fullmatch(other.name):
            other.unlink(missing_ok=True)


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Check that files can be made in a folder, or that it can be made.

    Raises
    ------
    UserError
        If not.
    """
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{place}: not a folder that can be written to")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` atomically, with Unix line ends."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spare white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write sorted, indented JSON atomically."""
    write_text(path, json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises
    ------
    UserError
        If the file is missing, is not JSON, or sets a key twice.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_set_once)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file: {error}") from error


def _set_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of a key that is set twice, Python would take the last value."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} is set twice")
    return values


def write_csv(path: str | os.PathLike[str], table: pd.DataFrame, digits: int | None = 9) -> None:
    """Write a table without its index, to so many significant digits; None for all that a number needs."""
    form = None if digits is None else f"%.{digits}g"
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format=form)


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], digits: int = 9) -> None:
    """Write rows with the same keys as :func:`write_csv` would their table: jobs need not load pandas."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(rows[0])
        for row in rows:
            table.writerow([_cell(value, digits) for value in row.values()])


def _cell(value: Any, digits: int) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.{digits}g}"


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to an uncompressed ``.npz``; equal arrays give equal bytes."""
    with atomic(path) as temporary, temporary.open("wb") as handle:
        # numpy stamps each member with a fixed date; sorted names fix their order.
        named: dict[str, Any] = {name: np.asarray(arrays[name]) for name in sorted(arrays)}
        np.savez(handle, **named)


def read_npz(path: str | os.PathLike[str], required: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file; object arrays (pickles) are refused.

    Raises
    ------
    UserError
        If the file is missing, damaged, holds pickles, declares more than it holds, or lacks one of
        ``required``.
    """
    try:
        # Our own handle: on a damaged file numpy would leave its one open.
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as archive:
            _refuse_overstated(path, archive.zip)
            arrays = {name: archive[name] for name in archive.files}
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except Exception as error:  # a damaged file fails anywhere in zipfile and numpy, with any type
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: not a readable .npz file: {reason}") from error
    for name in required:
        if name not in arrays:
            raise bad_input(path, "arrays", sorted(arrays), f"an array named {name!r}")
    return arrays


def _refuse_overstated(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> None:
    """Refuse arrays whose header declares more than their member holds: numpy would make room first.

    What members hold is compared with the file: bzip2 packs half a gigabyte of zeros into 600 bytes.
    """
    members = archive.infolist()
    unpacked, size = sum(info.file_size for info in members), os.path.getsize(path)
    if unpacked > ALWAYS_ALLOWED_BYTES + MOST_PACKED * size:
        most = f"at most {MOST_PACKED} times the {size} of the file; write it with np.savez, unpacked"
        raise bad_input(path, "bytes of its arrays", unpacked, most)
    names = [info.filename for info in members]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise bad_input(path, "arrays", twice.removesuffix(".npy"), "each name once")
    for info in members:
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read:
                raise bad_input(path, info.filename, version, "version 1.0 or 2.0 of the .npy format")
            shape, _, dtype = read[version](member)
            declared = math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and declared > info.file_size:
                raise bad_input(
                    path,
                    f"{info.filename}: declared bytes",
                    declared,
                    f"at most its {info.file_size} stored ones",
                )
