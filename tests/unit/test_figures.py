"""Every figure has a caption, shows every seed, says what is missing, and repeats to the byte."""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cdgm.figures import FIGURES
from cdgm.plotting.theme import theme
from cdgm.utils.errors import UserError
from tests.unit import fake_studies as fake
from tests.unit.fake_studies import simulation

ROOT = Path(__file__).parents[2]
SEEDS = 3


def simulations():
    return simulation(SEEDS)


#: Tables for each figure; ``scaling`` reads costs too and has tests of its own.
TABLES = {
    "assumptions": fake.assumptions,
    "cells": partial(fake.cell_variants, variants=fake.CELL_VARIANTS[:2]),
    "cells_tradeoff": fake.cell_variants,
    "constraints": fake.constrained,
    "counts": fake.counts,
    "dims": fake.dimensions,
    "doses": fake.dosed,
    "multipliers": fake.constrained,
    "objectives": fake.weighed,
    "procedures": fake.procedures,
    "recovery": simulations,
    "schedule_traces": fake.traced,
    "lost_dimensions": fake.scheduled,
    "recovery_limit": fake.limits,
    "screens": fake.cell_variants,
    "sources": fake.many_sources,
    "training": simulations,
    "twist": simulations,
    "two_models": simulations,
    "regrets": fake.regretted,
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
@pytest.mark.parametrize("name", ["cells", "dims", "recovery", "weights"])
def test_same_tables_give_equal_pictures_and_numbers(name):
    (first, numbers), (second, again) = drawn_of(name), draw(name, TABLES[name]())
    pd.testing.assert_frame_equal(numbers, again)
    pictures = [painted(figure) for figure in (first, second)]
    assert np.ptp(pictures[0]) > 0
    np.testing.assert_array_equal(*pictures)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "cells_tradeoff",
        "dims",
        "multipliers",
        "objectives",
        "recovery",
        "screens",
        "training",
        "twist",
        "weights",
    ],
)
def test_one_seed_and_diverged_fits_still_draw(name):
    if name in ("recovery", "training", "twist", "two_models"):
        tables = simulation(1, failed=(("leaky_relu_2", 100),))
    else:
        scores = TABLES[name](seeds=(200,))["scores"]
        setting, variant = scores[scores["variant"] != "ceiling"].iloc[0][["setting", "variant"]]
        tables = TABLES[name](failed=[(setting, variant, 200)], seeds=(200,))
    _, data = draw(name, tables)
    assert data["seed"].dropna().nunique() == 1


@pytest.mark.parametrize("name", ["recovery", "two_models"])
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
        *(("lost_dimensions", m) for m in ("recovery_cc", "leakage_r2", "axis_asymmetry")),
        *(("constraints", m) for m in ("recovery_cc", "leakage_r2", "constraint_value")),
        *(("objectives", m) for m in ("elbo", "recovery_cc", "leakage_r2")),
        *(("recovery_limit", m) for m in ("recovery_cc", "leakage_r2_nonlinear", "elbo")),
        *(("recovery", m) for m in ("recovery_cc", "leakage_cc")),
        *(("twist", m) for m in ("entanglement_r2", "leakage_r2_nonlinear")),
        *(("cells_tradeoff", m) for m in ("knn_accuracy", "source_mixing")),
        *(("doses", m) for m in ("leakage_r2", "leakage_r2_nonlinear")),
        *(("screens", m) for m in ("knn_accuracy", "source_separation")),
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
        draw("cells", {k: v for k, v in fake.cell_variants().items() if k != "maps"})
    with pytest.raises(UserError, match="null_high"):
        draw("recovery", tables | {"scores": tables["scores"].drop(columns="null_high")})
    with pytest.raises(UserError, match="elsewhere"):
        FIGURES.load("recovery")(tables, "elsewhere")


def gone(tables, **where):
    """The tables without the rows that have all of these values."""

    def keep(table):
        return ~np.logical_and.reduce([table[column] == value for column, value in where.items()])

    return {
        name: table[keep(table)] if where.keys() <= set(table) else table for name, table in tables.items()
    }


def of_all(setting, variant):
    return [(setting, variant, seed) for seed in fake.SEEDS]


#: Figure, tables with fits that diverged or are missing, and what the figure says about them.
GAPS = {
    "constraints": (
        lambda: gone(fake.constrained([("d5x10", "held", 201)]), setting="d5x10", variant="grid"),
        ["held (1 of 3 diverged)", "(not fitted)"],
    ),
    "weights": (
        lambda: gone(
            fake.penalised([("d10x3", "hsic-weights", 201), *of_all("d5x10", "mm-cvae")]),
            setting="d5x10", point="hsic.weight=100",
        ),
        ["1 lost", "3 lost", "not fitted"],
    ),
    "objectives": (
        lambda: fake.weighed([("equal", "plain", 201), *of_all("small", "mgda")]), ["3 of 3 diverged"],
    ),
    "objectives along a sweep": (
        lambda: gone(
            fake.rates(of_all("equal@learning_rate=0.002", "mgda"), bases=("equal", "other")),
            setting="other@learning_rate=0.001", variant="mgda",
        ),
        ["mgda: 3 of 3 diverged", "mgda: not fitted"],
    ),
    "sources": (
        lambda: gone(fake.many_sources([("two", "mgda", 201)]), setting="three", seed=201, metric="elbo"),
        ["two (2 sources); mgda: 1 of 3 diverged"],
    ),
    "counts": (
        lambda: fake.counts(of_all("bernoulli@n_features=10", "cvae"), ceiling=False),
        ["10: 3 of 3 diverged"],
    ),
    "dims": (
        lambda: gone(
            fake.dimensions([("dims@background=3,salient=1", "cvae", 200)]),
            setting="dims@background=10,salient=1",
        ),
        ["2/3"],
    ),
    "weight_traces": (
        lambda: gone(
            fake.weighed([("equal", "mgda", 201), *of_all("small", "sized")]), setting="equal", variant="grid"
        ),
        ["1 diverged", "3 diverged", "no fit finished", "not fitted"],
    ),
    "cells_tradeoff": (
        lambda: fake.cell_variants([f for v in fake.CELL_VARIANTS for f in of_all("s", v)], baselines=False),
        ["held (3 of 3 diverged)"],
    ),
    "recovery_limit": (
        lambda: fake.limits([("mean_field+truth@steps=3000", "cvae", 201)]),
        ["mean-field", "(true decoder, then free: 1 of 3 diverged)"],
    ),
    "assumptions": (
        lambda: fake.assumptions([("matched", "cvae", 202)], learned=""), ["matched (1 of 3 diverged)"],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", GAPS)
def test_fits_that_diverged_or_are_missing_are_said(case):
    tables, notes = GAPS[case]
    figure, data = draw(case.split(" ")[0], tables())
    figure.draw_without_rendering()
    assert len(data)
    for note in notes:
        assert note in texts_of(figure)


#: Figure, tables that it cannot draw, and what the error names.
REFUSED = {
    "one swept dimension": (
        "dims", lambda: {"scores": fake.dimensions()["scores"].assign(setting="dims@background=3")},
        "two swept",
    ),
    "no swept number": (
        "counts", lambda: {"scores": fake.counts()["scores"].assign(setting="poisson")}, "one swept number",
    ),
    "one source": (
        "objectives", lambda: {"scores": fake.weighed()["scores"].query("source == 'target'")}, "two sources",
    ),
    "a sweep alone": (
        "objectives", lambda: {"scores": fake.weighed()["scores"].query("variant == 'grid'")},
        "without a sweep",
    ),
    "no constraints": (
        "multipliers", lambda: gone(fake.constrained(), variant="held"),
        "constraint/<name>",
    ),
    "no weights": (
        "weight_traces", lambda: {"scores": fake.weighed()["scores"]}, "history",
    ),
    "no shared block": (
        "cells_tradeoff", lambda: gone(fake.cell_variants(), metric="knn_accuracy", block="z"),
        "a shared and a private block",
    ),
    "one model": ("two_models", lambda: gone(simulations(), setting="leaky_relu_2"), "leaky_relu_2"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_figure_cannot_draw_is_named_in_one_line(case):
    name, tables, part = REFUSED[case]
    with pytest.raises(UserError, match=part) as caught:
        draw(name, tables())
    assert "\n" not in str(caught.value)
