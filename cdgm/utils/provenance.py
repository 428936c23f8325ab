"""Which code, versions and machine made a file, and how long it took.

A provenance file is the only kind of result that differs between equal runs: it holds dates and times.
"""

from __future__ import annotations

import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cdgm.utils.files import write_json

# Libraries whose version can change a number.
LIBRARIES = (
    "cdgm",
    "numpy",
    "scipy",
    "torch",
    "pandas",
    "scikit-learn",
    "scanpy",
    "anndata",
    "umap-learn",
    "snakemake",
)


class Provenance:
    """Started when a job starts, written when it ends."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()

    def write(self, path: str | Path, spec: Any, device: str = "cpu", **facts: Any) -> None:
        """Write the record beside a result.

        Parameters
        ----------
        path
            File to write.
        spec
            Spec of the job, as plain values.
        device
            Kind of device that the numbers were computed on: ``auto`` takes what there is.
        facts
            What else is worth noting, as plain values: where a file came from, for instance.
        """
        write_json(
            path,
            facts
            | {
                "spec": spec,
                "started": self._started.isoformat(timespec="seconds"),
                "wall_seconds": round(time.perf_counter() - self._clock, 3),
                "commit": commit(),
                "python": platform.python_version(),
                "machine": platform.machine(),
                "system": platform.system(),
                "device": device,
                "versions": {name: v for name in LIBRARIES if (v := version(name)) is not None},
            },
        )


def version(library: str) -> str | None:
    """Installed version of a library, None without it."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Commit of the checkout that this code lies in, with ``+`` when it has local changes."""
    try:
        return _git("rev-parse", "HEAD") + (
            "+" if _git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def rules_commit() -> str:
    """Last commit of this checkout's ``claims.yaml``, with its time; ``unknown`` without git."""
    try:
        found = _git("log", "-1", "--format=%h of %ci", "--", "claims.yaml")
        changed = _git("status", "--porcelain", "--", "claims.yaml")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (found or "unknown") + (", with changes since" if found and changed else "")


def _git(*arguments: str) -> str:
    """Output of git in the checkout that this code lies in."""
    folder = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
