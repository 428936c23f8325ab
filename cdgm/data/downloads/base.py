"""What all downloads share: the file's name, size, checksums and licence."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from cdgm.data.partial import Partial
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
        Checksums in lower-case hexadecimal. A file from elsewhere has exactly one of them; a file of this
        machine may have any, and each that is given is checked.
    licence
        Licence of the data, for the report.
    """

    filename: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=200)]
    size: Annotated[int, Field(gt=0)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    licence: str = ""

    @abstractmethod
    def retrieve(self, destination: Path, name: str, partial: Partial) -> dict[str, Any]:
        """Write the file to ``destination``; :func:`cdgm.data.fetch.fetch` verifies it.

        Parameters
        ----------
        destination
            A temporary path that the caller owns and deletes on failure.
        name
            Name of the download in the config, for error messages.
        partial
            Where to keep the beginning of a file whose rest can be had by a later try. It outlives a
            failure; the caller discards it once the file is there or proves wrong.

        Returns
        -------
        dict
            What is worth noting of where the file came from, as plain values.

        Raises
        ------
        UserError
            If the file can't be had.
        """

    def inputs(self) -> tuple[str, ...]:
        """Files on this machine whose change makes the download stale."""
        return ()

    def checksums(self) -> dict[str, str]:
        """Return the given checksums by algorithm, the strongest first."""
        given = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: value for algorithm, value in given.items() if value is not None}


class Remote(Download):
    """A file from elsewhere: nobody may use it unverified."""

    @model_validator(mode="after")
    def _verifiable(self) -> Remote:
        if len(self.checksums()) != 1:
            raise ValueError(
                f"a remote file needs exactly one of sha256 and md5, got {len(self.checksums())}"
            )
        if self.size is None:
            raise ValueError("a remote file needs its size in bytes")
        if not self.licence:
            raise ValueError("a remote file needs its licence")
        return self

    def by_hand(self) -> str:
        """Say what someone without network can do; ends an error line."""
        algorithm, value = next(iter(self.checksums().items()))
        return (
            f"without network, put the file of {self.size} bytes and {algorithm} {value} into a folder "
            f"and name that folder in {MIRROR_VARIABLE}"
        )
