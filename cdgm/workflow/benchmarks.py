"""What each kind of job cost, from the records that the workflow keeps of every job."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable
from pathlib import Path

COLUMNS = ["rule", "jobs", "wall_seconds", "cpu_seconds", "max_memory_mb"]


def timings(records: Iterable[tuple[str, Path]]) -> list[dict[str, str | int]]:
    """Sums over the jobs of each rule, in the order of first appearance.

    Parameters
    ----------
    records
        Rule and benchmark file of each job. Files that are missing belong to jobs that were not run.

    Returns
    -------
    list of dict
        ``COLUMNS``: number of jobs, sums of wall and processor time, the largest resident memory of a job.
        A number is empty where no job lived long enough to be measured.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for rule, file in records:
        if file.is_file():
            found.setdefault(rule, []).append(read_benchmark(file))
    return [
        {
            "rule": rule,
            "jobs": len(jobs),
            "wall_seconds": _text(sum, jobs, "s"),
            "cpu_seconds": _text(sum, jobs, "cpu_time"),
            "max_memory_mb": _text(max, jobs, "max_rss"),
        }
        for rule, jobs in found.items()
    ]


def read_benchmark(file: Path) -> dict[str, float]:
    """``s``, ``cpu_time`` and ``max_rss`` (MB) of a benchmark file; NaN for what could not be measured."""
    with file.open(encoding="utf-8", newline="") as handle:
        row = next(csv.DictReader(handle, delimiter="\t"), {})
    numbers = {}
    for name in ("s", "cpu_time", "max_rss"):
        try:
            numbers[name] = float(row.get(name) or "nan")
        except ValueError:
            numbers[name] = math.nan
    return numbers


def _text(combine: Callable[[list[float]], float], jobs: list[dict[str, float]], name: str) -> str:
    values = [job[name] for job in jobs if math.isfinite(job[name])]
    return f"{combine(values):.1f}" if values else ""
