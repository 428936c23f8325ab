"""Costs of a study's jobs, from the benchmark files that Snakemake writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cdgm.config.fit import FitSpec
from cdgm.config.validation import validated
from cdgm.utils.errors import bad_input
from cdgm.utils.files import read_json

COST_COLUMNS = [
    "study", "setting", "variant", "stage", "job", "members", "steps", "seconds", "cpu_seconds", "memory_mb",
]  # fmt: skip


def costs_table(study: str, rows: Sequence[Mapping[str, str]], results: Path) -> pd.DataFrame:
    """Return one row a job: wall and processor seconds, peak memory, members and steps of its stack.

    Parameters
    ----------
    study
        Name of the study.
    rows
        ``setting``, ``variant``, ``fit`` and ``evaluation`` of each stack.
    results
        Folder of all results.

    Returns
    -------
    DataFrame
        ``COST_COLUMNS``. Jobs of less than a second are over before Snakemake looks at them: NaN.

    Raises
    ------
    UserError
        If a fit has no readable ``spec.json``, or a job no benchmark.
    """
    table = []
    for row in rows:
        path = results / "fits" / row["fit"] / "spec.json"
        spec = validated(FitSpec, read_json(path), str(path))
        for stage, job in (("fit", row["fit"]), ("evaluate", row["evaluation"])):
            file = results / "benchmarks" / stage / f"{job}.tsv"
            if not file.is_file():
                raise bad_input(str(file), "", "no file", "the benchmark file that Snakemake writes")
            cost = read_benchmark(file)
            table.append(
                {
                    "study": study, "setting": row["setting"], "variant": row["variant"],
                    "stage": stage, "job": job,
                    "members": len(spec.members), "steps": spec.training.steps,
                    "seconds": cost["s"], "cpu_seconds": cost["cpu_time"], "memory_mb": cost["max_rss"],
                }
            )  # fmt: skip
    return pd.DataFrame(table, columns=COST_COLUMNS)


def read_benchmark(file: Path) -> dict[str, float]:
    """Wall seconds ``s``, processor seconds ``cpu_time`` and memory ``max_rss`` (MB) of a job.

    Jobs that end within a second or so are not measured: their numbers are NaN.
    """
    columns = ["s", "cpu_time", "max_rss"]
    table = pd.read_csv(file, sep="\t", na_values=["NA", "-"]).reindex(columns=columns)
    first = table.apply(pd.to_numeric, errors="coerce").iloc[0]
    return {column: float(first[column]) for column in columns}
