"""Fetch and verify one raw file, from the mirror folder or from the address in the config."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from cdgm.data.downloads.base import MIRROR_VARIABLE, Download
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import atomic

logger = logging.getLogger(__name__)


def fetch(download: Download, name: str, out: str | os.PathLike[str]) -> dict[str, Any]:
    """Put a verified file at ``out``, or nothing; pooch compares the checksum.

    Parameters
    ----------
    download
        Where the file comes from, its size and its checksum.
    name
        Name of the download in the config, for messages.
    out
        Where to put it. The folder ``<out>.part`` holds what arrives; it is deleted, unless it holds the
        beginning of an interrupted download that can be resumed.

    Returns
    -------
    dict
        Where it came from, for its provenance: ``origin`` (``"mirror"`` or the kind of download), the
        address or path, ``size`` and ``sha256`` of the file.

    Raises
    ------
    UserError
        If the file cannot be obtained, or its size or checksum is wrong (names both values). Nothing of a
        wrong file is kept.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    out = Path(out)
    mirrored = find_in_mirror(download)
    work = out.with_name(f"{out.name}.part")
    partial, arrived = work / "partial", work / "arrived"
    noted: dict[str, Any] = {}

    def obtain(url: str, output_file: str, _: object) -> None:
        """Downloader of pooch, which verifies what it wrote."""
        if mirrored is None:
            noted.update({"origin": download.kind} | download.retrieve(arrived, name, partial))
        else:
            try:
                shutil.copyfile(mirrored, arrived)
            except OSError as error:
                raise UserError(f"{name}: cannot copy {mirrored}: {error.strerror}") from error
            logger.info("%s: copied from the mirror: %s", name, mirrored)
            noted.update({"origin": "mirror", "path": str(mirrored)})
        size = arrived.stat().st_size
        if download.size is not None and size != download.size:
            expected = f"{download.size} (truncated, or another file)"
            raise bad_input(f"{name}: {out}", "size in bytes", size, expected)
        noted["size"] = size
        os.replace(arrived, output_file)

    downloader: Any = obtain
    with atomic(out) as temporary:
        try:
            _clear(work, keep=(partial.name, f"{partial.name}.json"))
            verified = pooch.retrieve(
                out.name, download.known_hash(), fname="verified", path=work, downloader=downloader
            )
            noted["sha256"] = download.sha256 or pooch.file_hash(verified)
            os.replace(verified, temporary)
        except ValueError as error:  # pooch names both checksums
            raise UserError(f"{name}: {out}: {' '.join(str(error).split())}") from error
        finally:
            if not partial.exists():
                shutil.rmtree(work, ignore_errors=True)
    return noted


def _clear(work: Path, keep: tuple[str, ...]) -> None:
    """Make the folder, and delete what a killed process left in it."""
    work.mkdir(parents=True, exist_ok=True)
    for path in work.iterdir():
        if path.name not in keep:
            path.unlink()


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
    folder, known_hash = os.environ.get(MIRROR_VARIABLE, ""), download.known_hash()
    if not folder or download.size is None or known_hash is None:
        return None
    if not Path(folder).is_dir():
        raise bad_input("environment", MIRROR_VARIABLE, folder, "an existing folder (or unset the variable)")
    import pooch

    algorithm, _, value = known_hash.partition(":")
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
                if pooch.file_hash(str(candidate), alg=algorithm) == value:
                    return candidate
                if candidate.name == download.filename:
                    logger.warning("mirror: %s ignored: its checksum differs", candidate)
            except OSError as error:
                logger.warning("mirror: %s ignored: %s", candidate, error.strerror)
    return None
