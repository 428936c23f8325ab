"""Which records of cost the jobs of a plan leave; apart from reading them, which no plan has a part in."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from cdgm.config.study import Config
from cdgm.utils.files import atomic
from cdgm.workflow.benchmarks import COLUMNS, timings
from cdgm.workflow.plan import Plan


def benchmarks(config: Config, plan: Plan, folder: Path) -> Iterator[tuple[str, Path]]:
    """Rule and benchmark file of every job of a plan, also of those that were never run.

    Files in the folder that no job of the plan has belong to earlier configurations.
    """
    cells = {
        row.evaluation for rows in plan.studies.values() for row in rows if row.dataset in config.datasets
    }
    jobs = {
        "fetch": config.downloads,
        "preprocess": config.datasets,
        "simulate": plan.simulations,
        "fit": plan.fits,
        "evaluate": plan.evaluations,
        "baselines": cells,
        "ceiling": plan.ceilings,
        "map_cells": cells,
        "summarise": config.studies,
        "costs": config.studies,
        "draw": [f"{name}-{figure}" for name, study in config.studies.items() for figure in study.figures],
    }
    endings = ["", *(f"_{target}" for target in sorted({study.target for study in config.studies.values()}))]
    pages = {"write_claims": "claims", "judge": "claims", "index": "index"}
    jobs |= {rule: [f"{name}{ending}" for ending in endings] for rule, name in pages.items()}
    jobs["judge"] += [f"claims/{study}" for study in config.studies]
    jobs["write_claims"] += [f"claims/{study}" for study in config.studies]
    for rule, names in jobs.items():
        for name in sorted(names):
            yield rule, folder / rule / f"{name}.tsv"


def write_timings(path: Path, config: Config, plan: Plan, folder: Path) -> None:
    """Write :func:`cdgm.workflow.benchmarks.timings` of the jobs that left a record in ``folder``."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(timings(benchmarks(config, plan, folder)))
