"""The environment that the workflow's jobs run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def prepare(checkout: Path) -> None:
    """Set this process's environment, which jobs inherit.

    Parameters
    ----------
    checkout
        Folder that holds the package and ``workflow_scripts/``.
    """
    # The command lines run with this very interpreter and this checkout's package, installed or not.
    for name, first in (("PATH", Path(sys.executable).parent), ("PYTHONPATH", checkout)):
        os.environ[name] = os.pathsep.join(filter(None, [str(first), os.environ.get(name)]))
    # Commands find their scripts through this and not through params: a moved checkout rebuilds nothing.
    os.environ["CDGM_SCRIPTS"] = str(checkout / "workflow_scripts")
    # One thread a job: cores are used by jobs.
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
