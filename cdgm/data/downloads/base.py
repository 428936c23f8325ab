"""Base of the downloads: name, size, checksums and licence of a file."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from cdgm.utils.registry import Plugin

MIRROR_VARIABLE = "CDGM_DATA_MIRROR"


class Download(Plugin):
    """One raw file.

    Attributes
    ----------
    filename
        Name under which it is kept; no folders.
    size
        Length in bytes.
    sha256, md5
        Checksum in lower-case hexadecimal, one of the two. A file from elsewhere needs it.
    licence
        Licence of the data, for the report.
    """

    filename: Annotated[str, Field(pattern=r"^[_A-Za-z0-9][_.+A-Za-z0-9-]*$", max_length=200)]
    size: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    licence: str = ""

    @model_validator(mode="after")
    def _one_checksum(self) -> Download:
        if self.sha256 and self.md5:
            raise ValueError("expected exactly one of sha256 and md5, got 2")
        return self

    @abstractmethod
    def retrieve(self, destination: Path, name: str, partial: Path) -> dict[str, Any]:
        """Write the file to ``destination``; :func:`cdgm.data.fetch.fetch` verifies it.

        Parameters
        ----------
        destination
            A temporary path that the caller owns and deletes on failure.
        name
            Name of the download in the config, for error messages.
        partial
            Where to keep what arrived of an interrupted download. It outlives a failure if it exists.

        Returns
        -------
        dict
            Where the file came from, as plain values for its provenance.

        Raises
        ------
        UserError
            If the file cannot be obtained.
        """

    def inputs(self) -> tuple[str, ...]:
        """Files on this machine whose change makes the download stale."""
        return ()

    def known_hash(self) -> str | None:
        """Return the checksum as pooch writes it, ``<algorithm>:<value>``; None without one."""
        given = {"sha256": self.sha256, "md5": self.md5}
        return next((f"{algorithm}:{value}" for algorithm, value in given.items() if value), None)


class Remote(Download):
    """A file from a server, which is always verified."""

    @model_validator(mode="after")
    def _verifiable(self) -> Remote:
        if self.known_hash() is None:
            raise ValueError("a remote file needs exactly one of sha256 and md5, got 0")
        if self.size is None:
            raise ValueError("a remote file needs its size in bytes")
        if not self.licence:
            raise ValueError("a remote file needs its licence")
        return self

    def by_hand(self) -> str:
        """Explain how to provide the file without a network, for the end of an error."""
        algorithm, _, value = (self.known_hash() or "").partition(":")
        return (
            f"without network, put the file of {self.size} bytes and {algorithm} {value} into a folder "
            f"and name that folder in {MIRROR_VARIABLE}"
        )
