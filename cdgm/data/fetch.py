"""Fetch one raw file: from the mirror folder if it is there, else from where the config says; verified."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from cdgm.data.downloads.base import MIRROR_VARIABLE, Download
from cdgm.data.partial import Partial
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import atomic

logger = logging.getLogger(__name__)


def fetch(download: Download, name: str, out: str | os.PathLike[str]) -> dict[str, Any]:
    """Put a verified file at ``out``, or nothing.

    Parameters
    ----------
    download
        Where the file comes from and how to know it.
    name
        Name of the download in the config, for messages.
    out
        Where to put it.

    Returns
    -------
    dict
        Where it came from, for its provenance: ``origin`` (``"mirror"`` or the kind of download), what
        that kind notes, ``size`` and ``sha256`` of the file.

    Raises
    ------
    UserError
        If the file can't be had, or its size or a checksum is wrong. Of a wrong file nothing is kept; of
        an interrupted download its beginning is, as ``<out>.part``, if the rest can be asked for.
    """
    out = Path(out)
    mirrored = find_in_mirror(download)
    partial = Partial(out.with_name(f"{out.name}.part"))
    with atomic(out) as temporary:
        if mirrored is None:
            noted = {"origin": download.kind} | download.retrieve(temporary, name, partial)
        else:
            try:
                shutil.copyfile(mirrored, temporary)
            except OSError as error:
                raise UserError(f"{name}: cannot copy {mirrored}: {error.strerror}") from error
            noted = {"origin": "mirror", "path": str(mirrored)}
        # Also after the mirror: what counts is the copy that is kept.
        verify(temporary, download, f"{name}: {out}")
        noted |= {"size": temporary.stat().st_size, "sha256": checksum(temporary, "sha256")}
    partial.discard()
    return noted


def verify(path: Path, download: Download, where: str) -> None:
    """Compare a file with the size and the checksums of ``download``.

    Raises
    ------
    UserError
        If one differs; names both values.
    """
    size = path.stat().st_size
    if download.size is not None and size != download.size:
        raise bad_input(where, "size in bytes", size, f"{download.size} (truncated, or another file)")
    for algorithm, expected in download.checksums().items():
        found = checksum(path, algorithm)
        if found != expected:
            raise bad_input(where, algorithm, found, f"{expected!r} (damaged, or another file)")


def checksum(path: str | os.PathLike[str], algorithm: str) -> str:
    """Hexadecimal checksum (``"sha256"`` or ``"md5"``) of a file, read in blocks."""
    # md5 guards against accidents only; some archives publish nothing better.
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_in_mirror(download: Download) -> Path | None:
    """Find a file with the right size and checksums, under whatever name, in the mirror folder.

    The folder is named by the environment variable ``CDGM_DATA_MIRROR`` and searched with its
    subfolders. Only files of the right size are hashed, so a mirror of large files costs little.

    Returns
    -------
    Path or None
        None if no mirror is named, it has no such file, or the download has no size or checksum to
        find it by.

    Raises
    ------
    UserError
        If the variable names something that is not a folder.
    """
    folder = os.environ.get(MIRROR_VARIABLE, "")
    if not folder or download.size is None or not download.checksums():
        return None
    if not Path(folder).is_dir():
        raise bad_input("environment", MIRROR_VARIABLE, folder, "an existing folder (or unset the variable)")
    for place, subfolders, names in os.walk(folder):
        subfolders.sort()
        for candidate in (Path(place, each) for each in sorted(names)):
            try:
                if not candidate.is_file() or candidate.stat().st_size != download.size:
                    if candidate.name == download.filename:
                        logger.warning(
                            "mirror: %s ignored: its size is not %d bytes", candidate, download.size
                        )
                    continue
                if all(checksum(candidate, kind) == value for kind, value in download.checksums().items()):
                    return candidate
                if candidate.name == download.filename:
                    logger.warning("mirror: %s ignored: its checksum differs", candidate)
            except OSError as error:
                logger.warning("mirror: %s ignored: %s", candidate, error.strerror)
    return None
