"""Writing folders: whole or not at all, as :mod:`cdgm.utils.files` writes files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import require_writable


@contextlib.contextmanager
def atomic_folder(folder: str | Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; rename it there on success, delete it on failure.

    A process that was killed leaves its temporary folder behind: the next one that writes ``folder`` deletes
    it.

    Raises
    ------
    UserError
        If the folder cannot be written, or is not empty and ``overwrite`` is False.
    """
    shown, folder = folder, Path(os.path.abspath(folder))
    if folder.exists() and not folder.is_dir():
        raise bad_input(shown, "", "a file", "a folder to write to")
    require_writable(folder.parent)
    _clear_left_behind(folder)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UserError(f"{shown}: exists and is not empty: choose another folder, or overwrite it")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            os.replace(folder, old)
        os.replace(temporary, folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise UserError(f"{shown}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _clear_left_behind(folder: Path) -> None:
    """Delete temporary folders of earlier processes; restore a folder that one of them had moved away."""
    if not folder.parent.is_dir():
        return
    name = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.(part|old)")
    for other in folder.parent.iterdir():
        found = name.fullmatch(other.name)
        if found is None:
            continue
        if found[1] == "old" and not folder.exists():
            os.replace(other, folder)
        else:
            shutil.rmtree(other, ignore_errors=True)
