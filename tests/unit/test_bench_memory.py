"""The memory benchmark checks its promises, and docs/data.md shows what was measured."""

import csv
from pathlib import Path

from benchmarks.memory import HEAD, broken_promises, line

ROOT = Path(__file__).parents[2]


def row(cells: float, **changes: float) -> dict[str, float]:
    numbers = {
        "cells": cells,
        "prepare_peak": 1e9,
        "fit_peak": 5e8,
        "bundle": 4e3 * cells,
        "epoch": 1e-4 * cells,
    }
    return numbers | changes


def test_promises_are_checked():
    rows = [row(10_000), row(100_000), row(310_000)]
    assert broken_promises(rows) == []
    assert broken_promises([row(310_000, fit_peak=7e9)]) == [
        "310,000 cells: a peak of 7.0 GB, 6 GB are promised"
    ]
    # Nothing is promised beyond.
    assert broken_promises([row(1_000_000, fit_peak=7e9)]) == []
    (said,) = broken_promises([row(n, epoch=1e-9 * n**1.5) for n in (1e4, 1e5)])
    assert said == "epoch: grows with the number of cells to the power of 1.50"


def test_the_documentation_shows_what_was_measured():
    with (ROOT / "docs/memory.csv").open(encoding="utf-8") as handle:
        rows = [{name: float(value) for name, value in found.items()} for found in csv.DictReader(handle)]
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert "\n".join([*HEAD, *map(line, rows)]) in page
    assert "](memory.png)" in page
    assert (ROOT / "docs/memory.png").read_bytes().startswith(b"\x89PNG")
    # What is promised was measured, and is kept.
    assert rows[-1]["cells"] == 310_000
    assert broken_promises(rows) == []
