"""Figure ``weight_traces``: the weights that combiners gave the sources' ELBOs, over training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import Tables, pick, rows_of, seeds_of
from cdgm.plotting.curves import draw_curves, running_means
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import NOTE, letters, panel_title, zero_line
from cdgm.plotting.labels import setting_label, short_label, wrapped
from cdgm.plotting.legends import legend, line_handle, tint_handle
from cdgm.plotting.scales import share_range
from cdgm.plotting.series import colours_of
from cdgm.plotting.sweeps import of_swept, swept_variants
from cdgm.plotting.theme import new_figure, theme
from cdgm.utils.errors import bad_input

#: Records over which each seed's weights are averaged: single minibatches swing too far to see a course.
WINDOW = 9
#: The band holds this share of the recorded weights of all seeds.
SHARE = 0.9


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A row of panels a variant, a column a setting; every seed thin, their median thick.

    Raises
    ------
    UserError
        If the history has no weights.
    """
    history = rows_of(tables, "history", study)
    weights = pick(history, quantity="weight")
    if weights.empty:
        found = list(history["quantity"].unique())
        raise bad_input(f"history of study {study!r}", "quantity", found, "rows of 'weight'")
    colours = {s: c for s, c in colours_of(tables, study)[0].items() if (weights["source"] == s).any()}
    settings, variants = list(dict.fromkeys(weights["setting"])), swept_variants(weights)
    figure = new_figure(max(8.0, 1.8 + 2.6 * len(settings)), 1.1 + 1.05 * len(variants))
    grid = figure.subplots(len(variants), len(settings), sharex=True, sharey=True, squeeze=False)
    scores = rows_of(tables, "scores", study) if "scores" in tables else weights.assign(finite=True)
    data = FigureData()
    for row, variant in zip(grid, variants, strict=True):
        for axes, setting, letter in zip(row, settings, letters(), strict=False):
            mine = of_swept(pick(weights, setting=setting), variant)
            good, every = seeds_of(of_swept(pick(scores, setting=setting), variant))
            # A member that diverged is frozen, and its recorded weights mean nothing.
            mine = mine[~mine["seed"].isin(every - good)]
            _panel(axes, mine, colours, data, letter, len(every - good))
            zero_line(axes, "y", 1.0, zorder=4.5)
        name = wrapped(short_label(variant), 18)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    for axes, setting, letter in zip(grid[0], settings, letters(), strict=False):
        panel_title(axes, letter, setting_label(setting))
    for axes in grid[-1]:
        axes.set_xlabel("training step")
    # Never narrower than the weights that two sources can have.
    share_range([grid[0, 0]], "y", min(0.0, weights["value"].min()), max(2.0, weights["value"].max()))
    figure.supylabel("weight of a source's ELBO", fontsize=9)
    handles = [line_handle(f"{s}, median", colour, linewidth=2.2) for s, colour in colours.items()]
    handles += [
        line_handle(f"a seed, mean of {WINDOW} records", linewidth=0.6),
        tint_handle("#DDDDDD", f"{100 * SHARE:g} % of a seed's single records"),
        line_handle("equal weights", "#333333", linestyle=":"),
    ]
    legend(figure, handles, columns=3)
    return figure, data.table()


def _panel(
    axes: Axes,
    rows: pd.DataFrame,
    colours: Mapping[str, str],
    data: FigureData,
    letter: str,
    lost: int,
) -> None:
    if lost:
        axes.text(0.98, 0.06, f"{lost} diverged", transform=axes.transAxes, ha="right", **NOTE)
    if not np.isfinite(rows["value"]).any():
        text = "no fit finished" if lost else "not fitted"
        axes.text(0.5, 0.8, text, transform=axes.transAxes, ha="center", va="center", **NOTE)
        return
    for i, (source, colour) in enumerate(colours.items()):
        mine = pick(rows, source=source)
        if not np.isfinite(mine["value"]).any():
            continue
        spread = running_means(mine).rolling(WINDOW, center=True, min_periods=1)
        low, high = (spread.quantile(q).median(axis=1) for q in ((1 - SHARE) / 2, (1 + SHARE) / 2))
        axes.fill_between(low.index, low, high, color=colour, alpha=0.25, linewidth=0, zorder=1.5)
        # Where weights are equal, the wider line shows on both sides of the narrower one.
        width = max(3.6 - 1.6 * i, 1.2)
        draw_curves(axes, mine, colour, data, letter, window=WINDOW, center=True, width=width, alpha=0.7)
