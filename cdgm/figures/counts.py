"""Figure ``counts``: recovery and leakage over a swept number, beside those of the true model's posterior."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import BASELINES, Arm, Tables, median_of, need, order_of, pick, rows_of
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import letters, number_groups, panel_title
from cdgm.plotting.labels import UNITS, missing_fits, number, setting_label, variant_label
from cdgm.plotting.legends import legend, line_handle, strip_handle, strip_handles
from cdgm.plotting.scales import leakage_scale
from cdgm.plotting.series import Series, scored_on
from cdgm.plotting.strips import null_band, strips
from cdgm.plotting.sweeps import swept_columns
from cdgm.plotting.theme import REFERENCE_COLOUR, Look, looks, new_figure, theme

CEILING = "ceiling"
DASHES = (0, (4, 2))
SWEPT_TITLES = {"n_features": "number of features"}
METRICS = ("recovery_cc", "leakage_r2")


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A panel a block's recovery and a direction of leakage; a line a setting, hollow and dashed its ceiling.

    Raises
    ------
    UserError
        If settings do not sweep exactly one number, or recovery or linear leakage was not scored.
    """
    scores = rows_of(tables, "scores", study)
    for metric in METRICS:
        need(scores, study, metric=metric)
    (key,), scores = swept_columns(scores, study, ("number",), "poisson@n_features=30")
    numbers = sorted(scores["number"].unique())
    blocks = order_of(tables, study)[1]
    fits = scores[~scores["variant"].isin(BASELINES)]
    panels = [(metric, *place) for metric in METRICS for place in scored_on(fits, metric, blocks)]
    arms = looks(fits[["base", "variant"]].drop_duplicates().itertuples(index=False, name=None))
    bases = dict.fromkeys(base for base, _ in arms)

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(9.0, 1.0 + 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    series = []
    for base in bases:
        mine = {variant: look for (name, variant), look in arms.items() if name == base}
        series += [Series({"base": base, "variant": variant}, look) for variant, look in mine.items()]
        first = next(iter(mine.values()))
        ceiling = Look(first.colour, first.marker, hollow=True, line=DASHES)
        series.append(Series({"base": base, "variant": CEILING}, ceiling))
    data = FigureData()
    leaks = []
    for axes, (metric, source, block, truth), letter in zip(grid.flat, panels, letters(), strict=False):
        here = pick(scores, metric=metric, source=source, block=block, truth=truth, twist=0.0)
        groups = [{"number": value} for value in numbers]
        _null(axes, here, len(numbers), letter, data)
        series_here = [one for one in series if len(pick(here, **one.where))]
        join = [""] * len(numbers)
        step = min(0.8 / max(len(series_here), 1), 0.16)
        strips(
            axes, here, groups, series_here, data, letter,
            category="x", step=step, join=join, null=False,
        )  # fmt: skip
        number_groups(axes, [number(value) for value in numbers])
        axes.set_ylabel(UNITS[metric])
        if metric == "recovery_cc":
            panel_title(axes, letter, f"{block} recovered")
            axes.set_ylim(0.0, 1.03)
        else:
            panel_title(axes, letter, f"{truth} truth in {block}")
            leaks.append(axes)
    leakage_scale(leaks, "y")
    for axes in grid[-1]:
        axes.set_xlabel(SWEPT_TITLES.get(key, re.sub("[._]", " ", key)))
    legend(figure, _handles(scores, arms), columns=3)
    return figure, data.table()


def _null(axes: Axes, rows: pd.DataFrame, numbers: int, letter: str, data: FigureData) -> None:
    """One band for the panel: the highest of the fits' nulls over settings."""
    fits = rows[~rows["variant"].isin(BASELINES)]
    high = max((median_of(r["null_high"]) for _, r in fits.groupby("setting")), default=np.nan)
    if np.isfinite(high):
        null_band(axes, high, (-1.0, float(numbers)))
        data.add(letter, "null_high", fits.iloc[:1], seed=None, value=high, setting=None)


def _handles(scores: pd.DataFrame, arms: Mapping[Arm, Look]) -> list[Artist]:
    handles: list[Artist] = []
    several = len({variant for _, variant in arms}) > 1
    for (base, variant), look in arms.items():
        mine = pick(scores, base=base, variant=variant)
        notes = {value: missing_fits(pick(mine, number=value)) for value in sorted(mine["number"].unique())}
        gone = [f"{number(value)}: {note}" for value, note in notes.items() if note]
        label = setting_label(base) + (f", {variant_label(variant)}" if several else "")
        label += f" ({'; '.join(gone)})" if gone else ""
        handles.append(strip_handle(look.colour, label, look.marker))
    if (scores["variant"] == CEILING).any():
        hollow = {"marker": "o", "markersize": 6, "markerfacecolor": "white", "linestyle": DASHES}
        handles.append(line_handle("true model's posterior means", REFERENCE_COLOUR, **hollow))
    return [*handles, *strip_handles()]
