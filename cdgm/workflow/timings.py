"""Costs of each kind of job of a plan: ``results/timings.csv``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cdgm.config.study import Config
from cdgm.utils.errors import UserError
from cdgm.utils.files import write_csv
from cdgm.workflow.plan import Plan

#: Columns of the table: numbers of jobs, sums of wall and processor seconds, the largest job's memory in MB.
COLUMNS = ("rule", "jobs", "wall_seconds", "cpu_seconds", "max_memory_mb")


def write_timings(path: Path, config: Config, plan: Plan, benchmarks: Path) -> None:
    """Write one row a rule, over the jobs of a plan that have left a record in the folder ``benchmarks``.

    A number is empty where no job ran long enough for Snakemake to measure it.
    """
    import pandas as pd

    from cdgm.workflow.costs import read_benchmark

    jobs = pd.DataFrame(
        [
            {"rule": rule, **read_benchmark(file)}
            for rule, file in records(config, plan, benchmarks)
            if file.is_file()
        ],
        columns=["rule", "s", "cpu_time", "max_rss"],
    )
    rules = jobs.groupby("rule", sort=False)
    table = pd.DataFrame(
        {
            "jobs": rules.size(),
            "wall_seconds": rules["s"].sum(min_count=1),
            "cpu_seconds": rules["cpu_time"].sum(min_count=1),
            "max_memory_mb": rules["max_rss"].max(),
        }
    )
    write_csv(path, table.round(1).reset_index(), digits=None)


def seconds_of_a_fit(path: Path) -> float | None:
    """Seconds that a stack has taken by a table of timings, its scores included; None where none tells."""
    from cdgm.evaluation.table_files import read_table

    try:
        rows = read_table(path)
        rows = rows[rows["rule"].isin(["fit", "evaluate"])]
        seconds = float((rows["wall_seconds"] / rows["jobs"]).sum())
    except (UserError, KeyError, TypeError):  # no result: a damaged table is none
        return None
    return seconds if 0 < seconds < float("inf") else None


def records(config: Config, plan: Plan, benchmarks: Path) -> Iterator[tuple[str, Path]]:
    """Rule and benchmark file of every job of a plan, whether it was run or not.

    Other files in the folder belong to earlier configurations.
    """
    on_cells = {
        row.evaluation for rows in plan.studies.values() for row in rows if row.dataset in config.datasets
    }
    targets = ["", *(f"_{target}" for target in sorted({study.target for study in config.studies.values()}))]
    jobs = {
        "plan": [f"plan{target}" for target in targets],
        "fetch": config.downloads,
        "preprocess": config.datasets,
        "simulate": plan.simulations,
        "fit": plan.fits,
        "evaluate": plan.evaluations,
        "trace": plan.fits,
        "baselines": on_cells,
        "ceiling": plan.ceilings,
        "map_cells": on_cells,
        "summarise": config.studies,
        "costs": config.studies,
        "draw": [f"{name}-{figure}" for name, study in config.studies.items() for figure in study.figures],
        "judge": [*(f"claims{target}" for target in targets), *(f"claims/{name}" for name in config.studies)],
        "index": [f"index{target}" for target in targets],
    }
    for rule, names in jobs.items():
        for name in sorted(names):
            yield rule, benchmarks / rule / f"{name}.tsv"
