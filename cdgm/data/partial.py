"""The beginning of a file, kept so that a later try asks for just the rest."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdgm.utils.errors import UserError
from cdgm.utils.files import read_json, write_json


@dataclass(frozen=True)
class Partial:
    """A partial file and, beside it, a note that says of what it is the beginning.

    Attributes
    ----------
    path
        The partial file; its note is ``<path>.json``.
    """

    path: Path

    @property
    def note(self) -> Path:
        """Where the note is."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """Bytes that are there; 0 without a file."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def begun(self, expected: dict[str, Any]) -> tuple[int, str | None]:
        """Bytes that can be kept of the file that ``expected`` describes, and the server's validator.

        A partial file of anything else, or without a readable note, is deleted.
        """
        try:
            noted = read_json(self.note)
            kept = isinstance(noted, dict) and {key: noted.get(key) for key in expected} == expected
        except UserError:
            kept = False
        if not kept or not self.size:
            self.discard()
            return 0, None
        validator = noted.get("validator")
        return self.size, validator if isinstance(validator, str) else None

    def begin(self, expected: dict[str, Any], validator: str | None) -> None:
        """Start from nothing and note what of."""
        self.discard()
        write_json(self.note, expected | {"validator": validator})

    def finish(self, destination: Path) -> None:
        """Move the file to where it belongs."""
        os.replace(self.path, destination)
        self.discard()

    def discard(self) -> None:
        """Delete the file and its note."""
        for path in (self.path, self.note):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
