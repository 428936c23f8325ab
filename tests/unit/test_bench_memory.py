"""The benchmark of memory: what it promises, and that the documentation shows what was measured."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.memory import HEAD, broken_promises, draw, line, steepness, write

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


def test_steepness_is_the_power_of_a_power_law():
    cells = [10_000, 30_000, 100_000, 310_000]
    for power in (0.5, 1.0, 1.7):
        assert steepness(cells, [3 * n**power for n in cells]) == pytest.approx(power)


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


def test_the_table_and_the_curves_are_kept(tmp_path):
    rows = [row(10_000), row(310_000)]
    write(rows, tmp_path / "deep" / "memory")
    draw(rows, tmp_path / "deep" / "memory")
    with (tmp_path / "deep/memory.csv").open(encoding="utf-8") as handle:
        assert [float(found["epoch"]) for found in csv.DictReader(handle)] == [1.0, 31.0]
    assert (tmp_path / "deep/memory.png").read_bytes().startswith(b"\x89PNG")
