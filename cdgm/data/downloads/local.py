"""A file on this machine, such as a user's own AnnData file."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from cdgm.data.downloads.base import Download
from cdgm.utils.errors import UserError, bad_input


class Local(Download):
    """A file on this machine; a checksum is optional, ``filename`` names the copy.

    Attributes
    ----------
    path
        The file. It is copied, so that editing it later cannot change a verified download. A link is
        followed, wherever it leads. Devices, pipes and folders are refused.
    """

    kind: Literal["local"] = "local"
    path: str = Field(min_length=1, max_length=4_000)

    @field_validator("path")
    @classmethod
    def _no_wildcards(cls, path: str) -> str:
        # Snakemake would take them for wildcards; no path holds a NUL.
        if set(path) & set("{}\0"):
            raise ValueError(f"got {path!r}, expected a path without braces: rename the file, or link to it")
        return path

    def retrieve(self, destination: Path, name: str, partial: Path) -> dict[str, Any]:
        """Copy the file; see the base class."""
        try:
            # Opening a pipe without a writer would block for ever.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise bad_input(name, "path", self.path, "a file, and no directory, device or pipe")
            shutil.copyfile(self.path, destination)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
            raise UserError(f"{name}: path: {self.path}: cannot be read: {error.strerror}") from error
        return {"path": self.path}

    def inputs(self) -> tuple[str, ...]:
        """Return the file itself."""
        return (self.path,)
