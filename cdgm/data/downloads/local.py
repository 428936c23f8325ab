"""A file on this machine, such as a user's own AnnData file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from pydantic import Field

from cdgm.data.downloads.base import Download
from cdgm.errors import UserError


class Local(Download):
    """A file on this machine; checksums are optional, ``filename`` names the copy.

    Attributes
    ----------
    path
        The file. It is copied, so that editing it later can't change a verified download.
    """

    kind: Literal["local"] = "local"
    path: str = Field(min_length=1)

    def retrieve(self, destination: Path, name: str) -> None:
        """Copy the file; see the base class."""
        try:
            with Path(self.path).open("rb") as source:
                source.peek(1)  # a folder or a dead mount fails here, before anything is written
                with destination.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise UserError(f"{name}: path: {self.path}: cannot be read: {error.strerror}") from error

    def inputs(self) -> tuple[str, ...]:
        """Return the file itself."""
        return (self.path,)
