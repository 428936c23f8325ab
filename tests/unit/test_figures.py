"""What holds for every figure: it is listed and explained, shows every seed, and repeats to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cdgm.figures import FIGURES
from cdgm.plotting.saving import save
from cdgm.plotting.theme import theme
from cdgm.utils.errors import UserError
from tests.unit import fake_studies as fake
from tests.unit.fake_tables import cells, simulation

ROOT = Path(__file__).parents[2]
SEEDS = 3


def simulations():
    return simulation(SEEDS)


def two_cell_studies():
    return cells(seeds=SEEDS, cells=200)


#: Tables for each figure; ``scaling`` reads costs too and has tests of its own.
TABLES = {
    "assumptions": fake.assumptions,
    "cells": two_cell_studies,
    "cells_tradeoff": fake.cell_variants,
    "constraints": fake.constrained,
    "counts": fake.counts,
    "dims": fake.dimensions,
    "multipliers": fake.constrained,
    "objectives": fake.weighed,
    "recovery": simulations,
    "sources": fake.many_sources,
    "training": simulations,
    "twist": simulations,
    "two_models": simulations,
    "weight_traces": fake.weighed,
    "weights": fake.penalised,
}
KEYS = (
    *("panel", "setting", "variant", "point", "source", "block", "truth", "twist", "metric", "quantity"),
    "step",
)


@cache
def drawn_of(name):
    """The figure of its usual tables, and its numbers; drawn once for all tests that only look."""
    return draw(name, TABLES[name]())


def draw(name, tables):
    return FIGURES.load(name)(tables, tables["scores"]["study"].iloc[0])


def texts_of(figure):
    found = figure.findobj(match=lambda artist: hasattr(artist, "get_text"))
    return " ".join(t.get_text().replace("\n", " ") for t in found)


def painted(figure):
    """The figure's pixels, coarsely."""
    figure.set_dpi(40)
    with theme():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def points_of(axes):
    """All points of the scatters of an axes."""
    return np.concatenate([c.get_offsets() for c in axes.collections if hasattr(c, "get_sizes")])


def test_every_figure_has_a_case():
    assert set(TABLES) | {"scaling"} == set(FIGURES)


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_its_caption_says_what_to_conclude(name):
    assert "*What to conclude.*" in (ROOT / "report" / f"{name}.rst").read_text()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_it_shows_every_seed_and_their_median(name):
    _, data = drawn_of(name)
    keys = [key for key in KEYS if key in data]
    data = data.fillna({key: "" for key in keys})
    seeds = data[data["kind"] == "seed"].groupby(keys)
    assert (seeds["seed"].nunique() == SEEDS).all()
    medians = data[data["kind"] == "median"].dropna(subset="value").set_index(keys)["value"].sort_index()
    assert len(medians)
    columns = [c for c in ("x", "y") if c in data and name == "cells_tradeoff"]
    if not columns:  # trade-offs have two values a median: tested with that figure
        pd.testing.assert_series_equal(medians, seeds["value"].median().sort_index(), check_names=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TABLES))
def test_same_tables_give_equal_pictures_and_numbers(name):
    (first, numbers), (second, again) = drawn_of(name), draw(name, TABLES[name]())
    pd.testing.assert_frame_equal(numbers, again)
    pictures = [painted(figure) for figure in (first, second)]
    assert np.ptp(pictures[0]) > 0
    np.testing.assert_array_equal(*pictures)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*TABLES} - {"cells"}))
def test_one_seed_and_diverged_fits_still_draw(name):
    if name in ("recovery", "training", "twist", "two_models"):
        tables = simulation(1, failed=(("leaky_relu_2", 100),))
    else:
        scores = TABLES[name](seeds=(200,))["scores"]
        setting, variant = scores[scores["variant"] != "ceiling"].iloc[0][["setting", "variant"]]
        tables = TABLES[name](failed=[(setting, variant, 200)], seeds=(200,))
    _, data = draw(name, tables)
    assert data["seed"].dropna().nunique() == 1


@pytest.mark.parametrize("name", ["recovery", "twist", "two_models", "training"])
def test_diverged_fits_are_left_out_and_counted(name):
    figure, data = draw(name, simulation(SEEDS, failed=(("leaky_relu_2", 101),)))
    drawn = data[(data["kind"] == "seed") & (data["setting"] == "leaky_relu_2")]
    assert set(drawn["seed"]) == {100, 102}
    assert "1 of 3 diverged" in texts_of(figure)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        *((name, m) for name in ("assumptions", "counts", "dims", "sources", "weights") for m in
          ("recovery_cc", "leakage_r2")),
        *(("constraints", m) for m in ("recovery_cc", "leakage_r2", "constraint_value")),
        *(("objectives", m) for m in ("elbo", "recovery_cc", "leakage_r2")),
        *(("recovery", m) for m in ("recovery_cc", "leakage_cc")),
        *(("twist", m) for m in ("entanglement_r2", "leakage_r2_nonlinear")),
        *(("cells_tradeoff", m) for m in ("knn_accuracy", "source_mixing")),
        ("two_models", "elbo"),
        ("cells", "knn_accuracy"),
    ],
)  # fmt: skip
def test_a_missing_metric_is_named_in_one_line(name, metric):
    tables = TABLES[name]()
    scores = tables["scores"]
    with pytest.raises(UserError, match=metric) as caught:
        draw(name, tables | {"scores": scores[scores["metric"] != metric]})
    assert "\n" not in str(caught.value)


def test_missing_tables_columns_and_studies_are_named():
    tables = simulations()
    with pytest.raises(UserError, match="maps"):
        draw("cells", {k: v for k, v in two_cell_studies().items() if k != "maps"})
    with pytest.raises(UserError, match="null_high"):
        draw("recovery", tables | {"scores": tables["scores"].drop(columns="null_high")})
    with pytest.raises(UserError, match="elsewhere"):
        FIGURES.load("recovery")(tables, "elsewhere")


@pytest.mark.slow
def test_command_line(tmp_path):
    tables, paths = fake.weighed(seeds=(200,)), []
    for name, table in tables.items():
        path = tmp_path / (f"{name}.parquet" if name == "history" else f"{name}.csv")
        table.to_parquet(path) if name == "history" else table.to_csv(path, index=False)
        paths += [f"--{name}", str(path)]
    out = tmp_path / "figures" / "objectives"

    def run(name):
        command = [sys.executable, "workflow_scripts/draw.py", "--figure", name, "--study", "weighed", *paths]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command += ["--out-prefix", str(out)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)

    done = run("objectives")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in out.parent.iterdir()) == [
        "objectives.csv",
        "objectives.pdf",
        "objectives.png",
    ]
    save(*draw("objectives", tables), tmp_path / "direct")
    assert (tmp_path / "direct.png").read_bytes() == out.with_suffix(".png").read_bytes()
    done = run("objective")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "objectives" in done.stderr
