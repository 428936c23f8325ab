"""Writing folders: whole or not at all, as :mod:`cdgm.utils.files` writes files.

A folder that is written here lists its files, with their digests, in ``.cdgm.json``. Only a folder that is as
listed is ever replaced: nothing that someone else has put there, or has edited, can be lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from cdgm.utils.errors import UserError
from cdgm.utils.files import file_digest, read_json, require_writable, temporary_name, write_json

#: List of the files of a folder that was written here.
MANIFEST = ".cdgm.json"
#: Mark of a temporary folder, by which one that a killed process left behind is known as ours.
UNFINISHED = ".cdgm.unfinished"


@contextlib.contextmanager
def atomic_folder(
    folder: str | os.PathLike[str], overwrite: bool = False, inputs: Iterable[str | os.PathLike[str]] = ()
) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; rename it there on success, delete it on failure.

    Whatever can be refused is refused at once, and not when the work is done. A process that was killed
    leaves its temporary folder behind: the next one that writes ``folder`` deletes it, or finishes the
    replacement that was going on.

    Parameters
    ----------
    folder
        Where to. A link is followed.
    overwrite
        Replace a folder that is not empty, if it is as it was written here.
    inputs
        Files and folders that the work reads: none of them may lie in ``folder``.

    Raises
    ------
    UserError
        If the folder cannot be written or replaced, or is not empty and ``overwrite`` is False.
    """
    with _told(folder):
        place = Path(os.path.realpath(folder))
        _refuse_precious(place, folder, inputs)
        require_writable(place.parent)
        _clear_left_behind(place)
        _refuse_content(place, folder, overwrite)
        temporary, old = (place.with_name(temporary_name(place.name, end)) for end in (".part", ".old"))
        if place.exists():
            # A mount point cannot be renamed: that should not be noticed when the work is done.
            os.replace(place, old)
            os.replace(old, place)
        missing = [parent for parent in place.parents if not parent.exists()]
        made = False
    try:
        with _told(folder):
            temporary.mkdir(parents=True)
            made = True
            (temporary / UNFINISHED).touch()
        with _told(folder, temporary), _locked(temporary):
            yield temporary
            write_json(temporary / MANIFEST, {"written_by": "cdgm", "files": _listing(temporary)})
            (temporary / UNFINISHED).unlink()
            _put(temporary, place, old, folder, overwrite)
    finally:
        if made:
            _delete(temporary)
        # Folders above it that were made for it go as well, if there is nothing in them.
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()


@contextlib.contextmanager
def _told(folder: str | os.PathLike[str], inside: Path | None = None) -> Iterator[None]:
    """Tell an error of the system in one line; one about a file not ``inside`` by that file's name."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        if isinstance(error, ValueError) and "null byte" in str(error):
            reason = str(error)
        if reason is None:
            raise
        name = getattr(error, "filename", None)
        if inside is not None and name is not None and not str(name).startswith(str(inside)):
            raise UserError(f"{os.fsdecode(name)}: {reason}") from error
        raise UserError(f"{os.fspath(folder)}: cannot be written: {reason}") from error


def require_as_listed(folder: Path, name: str) -> None:
    """Refuse a file that differs from what the list of its folder says; a folder may have none.

    Raises
    ------
    UserError
        Naming the file.
    """
    if not (folder / MANIFEST).is_file():
        return
    listed = _listed(folder)
    if listed is None or listed.get(name) != file_digest(folder / name):
        raise UserError(
            f"{folder / name}: was changed after cdgm wrote it, expected it as {MANIFEST} lists it"
        )


def _refuse_precious(
    place: Path, shown: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]
) -> None:
    """Refuse a place that is no folder, or holds an input, the working directory or a home."""
    if os.path.islink(place):
        raise UserError(f"{shown}: a link that leads to itself, expected a folder to write to")
    if place.exists() and not place.is_dir():
        raise UserError(f"{shown}: got a file, expected a folder to write to")
    if os.path.ismount(place):
        raise UserError(f"{shown}: is a mount point, expected a new folder, for instance one in it")
    kept = [("the input", os.path.realpath(path), path) for path in inputs]
    kept.append(("the home folder", os.path.realpath(Path.home()), Path.home()))
    here = Path.cwd()
    # An empty one can be written to, as any other.
    if here != place or any(here.iterdir()):
        kept.append(("the working directory", str(here), here))
    for what, path, name in kept:
        if Path(path).is_relative_to(place):
            raise UserError(f"{shown}: holds {what} {name}: choose another folder, nothing was changed")


def _refuse_content(place: Path, shown: str | os.PathLike[str], overwrite: bool) -> None:
    if (reason := _in_the_way(place, overwrite)) is not None:
        raise UserError(f"{shown}: {reason}")


def _in_the_way(place: Path, overwrite: bool) -> str | None:
    """Why a folder may not be replaced; None if it is empty or missing, or its files are as listed."""
    if not place.is_dir() or not any(place.iterdir()):
        return None
    if not overwrite:
        return "exists and is not empty: choose another folder, or overwrite it"
    found = _difference(place)
    return found and f"overwriting replaces only a folder that is as cdgm wrote it: {found}"


def _difference(place: Path) -> str | None:
    """What tells a folder from the list of its files; None for nothing."""
    if not os.path.isfile(place / MANIFEST):
        return f"it has no {MANIFEST}, the list of what cdgm writes"
    listed = _listed(place)
    if listed is None:
        return f"{MANIFEST} is no list of files"
    found = _listing(place)
    for name, digest in sorted(found.items()):
        if name not in listed:
            return f"{name!r} is not of cdgm"
        if digest != listed[name]:
            return f"{name!r} was changed"
    return None


def _listed(folder: Path) -> dict[str, str] | None:
    """What the manifest of a folder lists; None if it is no list of files."""
    manifest = read_json(folder / MANIFEST)
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    return listed if isinstance(listed, dict) else None


def _listing(folder: Path) -> dict[str, str]:
    """Everything in a folder but its manifest: name to digest, or to what it is if it is no file."""
    found = {}
    for root, folders, files in os.walk(folder):
        here = Path(root)
        for name in sorted([*folders, *files]):
            path = here / name
            key = path.relative_to(folder).as_posix()
            if path.is_symlink():
                found[key] = f"a link to {os.readlink(path)}"
            elif path.is_dir():
                if not any(path.iterdir()):
                    found[key] = "an empty folder"
            elif not path.is_file():
                found[key] = "no file"
            elif key not in (MANIFEST, UNFINISHED):
                found[key] = file_digest(path)
    return found


def _put(temporary: Path, place: Path, old: Path, shown: str | os.PathLike[str], overwrite: bool) -> None:
    """Give a finished folder its name; under another one, if files have come there in the meantime."""
    if place.exists():
        os.replace(place, old)
        if (reason := _in_the_way(old, overwrite)) is not None:
            os.replace(old, place)
            free = (place.with_name(f"{place.name}-{i}") for i in range(1, 1000))
            kept = next(path for path in free if not os.path.lexists(path))
            os.replace(temporary, kept)
            raise UserError(f"{shown}: {reason}; the results are in {kept}")
    os.replace(temporary, place)
    _delete(old)


def _delete(folder: Path) -> None:
    """Delete a folder of ours; its mark goes last, so that what a kill leaves behind is known as ours."""
    with contextlib.suppress(OSError):
        (folder / UNFINISHED).touch()
        (folder / MANIFEST).unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.name == UNFINISHED:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a temporary folder; the system releases that of a process that was killed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _in_use(folder: Path) -> bool:
    """Whether another process holds the lock of a temporary folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _clear_left_behind(place: Path) -> None:
    """Finish or undo what earlier processes began to replace, and delete their temporary folders.

    A name alone proves nothing: what is not known as ours by its mark or its list of files stays.
    """
    if not place.parent.is_dir():
        return
    before, _ = temporary_name(place.name, "", pid="/").split("/")
    name = re.compile(rf"{re.escape(before)}\d+\.(part|old)")
    left = [path for path in sorted(place.parent.iterdir()) if name.fullmatch(path.name) and path.is_dir()]
    # Between the two renames of a replacement: the new folder is whole.
    left.sort(key=lambda path: path.suffix == ".old")
    for path in left:
        if _in_use(path.with_suffix(".part")):
            continue
        marked = os.path.lexists(path / UNFINISHED)
        whole = (path / MANIFEST).is_file() or (path.suffix == ".old" and not marked)
        if not place.exists() and whole:
            (path / UNFINISHED).unlink(missing_ok=True)
            os.replace(path, place)
        elif marked or _in_the_way(path, overwrite=True) is None:
            _delete(path)
