"""What jobs cost, from the benchmark files that Snakemake writes beside each job's results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cdgm.errors import UserError

COST_COLUMNS = [
    "study",
    "setting",
    "variant",
    "stage",
    "job",
    "members",
    "steps",
    "seconds",
    "cpu_seconds",
    "memory_mb",
]


def costs_table(study: str, rows: Sequence[Sequence[str]], results: Path) -> pd.DataFrame:
    """One row a job: wall and processor seconds, peak memory, members and steps of its stack.

    Parameters
    ----------
    study
        Name of the study.
    rows
        Setting, variant, fit and evaluation of each stack.
    results
        Folder of all results.

    Raises
    ------
    UserError
        If a fit has no readable ``spec.json`` or benchmark.
    """
    table = []
    for setting, variant, fit, evaluation in rows:
        spec = _json(results / "fits" / fit / "spec.json")
        members = len(spec["seeds"])
        for stage, job in (("fit", fit), ("evaluate", evaluation)):
            cost = read_benchmark(results / "benchmarks" / stage / f"{job}.tsv")
            place = {"study": study, "setting": setting, "variant": variant, "stage": stage, "job": job}
            table.append(place | {"members": members, "steps": spec["training"]["steps"]} | cost)
    return pd.DataFrame(table, columns=COST_COLUMNS)


def read_benchmark(path: Path) -> dict[str, float]:
    """Wall seconds, processor seconds and peak memory (MB) of a job.

    Jobs under a second are over before Snakemake looks at them: their memory and processor time read 0.

    Raises
    ------
    UserError
        If the file is missing or is none of Snakemake's.
    """
    try:
        last = pd.read_csv(path, sep="\t", na_values=["-"]).iloc[-1]
        columns = {"seconds": "s", "cpu_seconds": "cpu_time", "memory_mb": "max_rss"}
        return {name: round(float(last.get(column, 0.0)), 2) for name, column in columns.items()}
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{path}: expected a benchmark file of Snakemake, got: {error}") from None


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected the spec of a fit, got: {error}") from None
