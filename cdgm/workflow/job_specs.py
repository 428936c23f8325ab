"""Specifications of jobs as files, so that commands in logs are short and can be run again by hand.

A job's parameter ``spec`` decides whether the job is stale; the file holds the same value. So files are
written when a run starts, for the jobs that it will run, and Snakemake does not track them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cdgm.utils.files import write_text


def spec_path(log: str) -> Path:
    """File of the specification that belongs to a job's log: ``results/specs/<rule>/<job>.json``."""
    return Path("results/specs", *Path(log).parts[2:]).with_suffix(".json")


def write_spec(log: str, spec: str) -> None:
    """Write the JSON text of a specification, indented, unless its file holds the same already.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path, text = spec_path(log), json.dumps(json.loads(spec), indent=2) + "\n"
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeError):
        pass
    write_text(path, text)


def write_specs(jobs: Any) -> None:
    """Write the specifications of Snakemake's ``jobs``, those that have one."""
    for job in jobs:
        if "spec" in job.params.keys():
            write_spec(job.log[0], job.params.spec)
