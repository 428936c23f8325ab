"""The benchmark files that Snakemake writes of each job."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_benchmark(file: Path) -> dict[str, float]:
    """Wall seconds ``s``, processor seconds ``cpu_time`` and memory ``max_rss`` (MB) of a job.

    Jobs that end within a second or so are not measured: their numbers are NaN.
    """
    columns = ["s", "cpu_time", "max_rss"]
    table = pd.read_csv(file, sep="\t", na_values=["NA", "-"]).reindex(columns=columns)
    first = table.apply(pd.to_numeric, errors="coerce").iloc[0]
    return {column: float(first[column]) for column in columns}
