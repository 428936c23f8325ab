"""Figure ``weight_traces``: the weights that combiners gave the sources' ELBOs, over training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cdgm.evaluation.table_slices import Tables, order_of, pick, rows_of
from cdgm.plotting import style
from cdgm.plotting.curves import draw_curves, running_means
from cdgm.plotting.lanes import short_label
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import lines_of, of_line
from cdgm.utils.errors import bad_input

#: Records over which each seed's weights are averaged: single minibatches swing too far to see a course.
WINDOW = 9
#: The band holds this share of the recorded weights of all seeds.
SHARE = 0.9


@style.style()
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
    present = set(weights["source"])
    sources = [s for s in order_of(tables, study)[0] if s in present]
    colours = style.colours(order_of(tables, study)[0], style.SOURCE_COLOURS)
    settings, lines = list(dict.fromkeys(weights["setting"])), lines_of(weights)
    figure = style.new_figure(max(8.0, 1.8 + 2.6 * len(settings)), 1.1 + 1.05 * len(lines))
    grid = figure.subplots(len(lines), len(settings), sharex=True, sharey=True, squeeze=False)
    bad = _diverged(tables, study)
    data = SourceData()
    letters = "abcdefghijklmnopqrstuvwxyz"
    for row, line in zip(grid, lines, strict=True):
        for axes, setting, letter in zip(row, settings, letters, strict=False):
            mine = of_line(pick(weights, setting=setting), line)
            # A member that diverged is frozen, and its recorded weights say nothing.
            good = np.array([(setting, *line, seed) not in bad for seed in mine["seed"]], dtype=bool)
            lost = sum(fit[:3] == (setting, *line) for fit in bad)
            _panel(axes, mine[good], sources, colours, data, letter, lost)
            axes.axhline(1.0, color="#333333", linewidth=0.9, linestyle=":", zorder=4)
        row[0].set_ylabel(
            style.wrapped(short_label(line), 18), rotation=0, ha="right", va="center", labelpad=8
        )
    for axes, setting, letter in zip(grid[0], settings, letters, strict=False):
        style.panel_title(axes, letter, style.setting_label(setting))
    for axes in grid[-1]:
        axes.set_xlabel("training step")
    grid[0, 0].set_ylim(*_range(weights["value"]))
    figure.supylabel("weight of a source's ELBO", fontsize=9)
    handles = [Line2D([], [], color=colours[s], linewidth=2.2, label=f"{s}, median") for s in sources]
    handles.append(Line2D([], [], color="#555555", linewidth=0.6, label=f"a seed, mean of {WINDOW} records"))
    handles.append(
        Patch(
            facecolor="#999999", alpha=0.3, linewidth=0, label=f"{100 * SHARE:g} % of a seed's single records"
        )
    )
    handles.append(Line2D([], [], color="#333333", linewidth=0.9, linestyle=":", label="equal weights"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure, data.table()


def _diverged(tables: Tables, study: str) -> set[tuple[str, str, str, int]]:
    """(setting, variant, point, seed) of fits without a finite score; only the scores tell."""
    if "scores" not in tables:
        return set()
    scores = rows_of(tables, "scores", study)
    finite = scores.groupby(["setting", "variant", "point", "seed"])["finite"].any()
    return set(finite.index[~finite])


def _panel(
    axes: Axes,
    rows: pd.DataFrame,
    sources: Sequence[str],
    colours: dict[str, str],
    data: SourceData,
    letter: str,
    lost: int,
) -> None:
    if lost:
        place = {"transform": axes.transAxes, "ha": "right", "fontsize": 7.5, "zorder": 6}
        axes.text(0.98, 0.06, f"{lost} diverged", **place)
    if not np.isfinite(rows["value"]).any():
        text = "no fit finished" if lost else "not fitted"
        axes.text(0.5, 0.8, text, transform=axes.transAxes, ha="center", va="center", fontsize=8)
        return
    for i, source in enumerate(sources):
        mine = pick(rows, source=source)
        if not np.isfinite(mine["value"]).any():
            continue
        spread = running_means(mine).rolling(WINDOW, center=True, min_periods=1)
        low, high = (spread.quantile(q).median(axis=1) for q in ((1 - SHARE) / 2, (1 + SHARE) / 2))
        axes.fill_between(low.index, low, high, color=colours[source], alpha=0.25, linewidth=0, zorder=1.5)
        # Where weights are equal, the wider line shows on both sides of the narrower one.
        width = max(3.6 - 1.6 * i, 1.2)
        draw_curves(
            axes, mine, colours[source], data, letter, window=WINDOW, center=True, width=width, alpha=0.7
        )


def _range(values: pd.Series) -> tuple[float, float]:
    """Limits that hold every weight; never narrower than those of the simplex of two sources."""
    low, high = min(0.0, float(values.min())), max(2.0, float(values.max()))
    margin = 0.04 * (high - low)
    return low - margin, high + margin
