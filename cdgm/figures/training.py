"""Figure ``training``: what happened during training, for every fit of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from cdgm.evaluation.table_slices import Tables, arms_of, of_arm, pick, rows_of, seeds_of
from cdgm.plotting.curves import draw_curves, running_means
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.labels import arm_label, missing_fits, number, wrapped
from cdgm.plotting.legends import line_handle
from cdgm.plotting.series import colours_of
from cdgm.plotting.theme import new_figure, theme
from cdgm.utils.errors import bad_input

ROWS = {
    "elbo": "ELBO\n(nats per point)",
    "elbo_validation": "validation ELBO\n(nats per point)",
    "kl": "KL of a block\n(nats per point)",
    "weight": "weight of a source",
    "gradient_norm": "gradient norm\n(all parameters)",
}
#: Settings beside each other; more start a new band of panels below.
PER_BAND = 8
#: The first steps climb from far below; axes are fitted to what follows.
SETTLED = 0.2
#: Lines of quantities by (source, block); one that is no source's and no block's has ("", "").
Looks = Mapping[tuple[str, str], Line2D]


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Objective of each source, KL of each block and gradient norm against the step.

    Raises
    ------
    UserError
        If the history holds no ELBO.
    """
    history = rows_of(tables, "history", study)
    quantities = [q for q in ROWS if (history["quantity"] == q).any()]
    if "elbo" not in quantities:
        found = sorted(history["quantity"].unique())
        raise bad_input(f"history of study {study!r}", "quantity", found, "rows of 'elbo'")
    weights = pick(history, quantity="weight")["value"].dropna()
    if "weight" in quantities and np.allclose(weights, weights.iloc[0]):
        quantities.remove("weight")  # constant weights are set by the study and not by training
    last = int(history["step"].max())
    arms = arms_of(history)
    looks = _looks(history, *colours_of(tables, study))

    columns, bands = min(len(arms), PER_BAND), math.ceil(len(arms) / PER_BAND)
    width = 4.6 if columns == 1 else 1.42
    figure = new_figure(2.5 + width * columns, 0.5 + bands * (0.5 + 1.55 * len(quantities)))
    grid = figure.subplots(bands * len(quantities), columns, sharex=True, squeeze=False)
    grid = grid.reshape(bands, len(quantities), columns)
    data = FigureData()
    for i, arm in enumerate(arms):
        panels = grid[i // PER_BAND, :, i % PER_BAND]
        mine, title = of_arm(history, arm), arm_label(arm, arms, width=19 if columns > 1 else None)
        if "scores" in tables:
            scores = of_arm(rows_of(tables, "scores", study), arm)
            good, every = seeds_of(scores)
            mine = mine[~mine["seed"].isin(every - good)]
            title += f"\n{wrapped(f'({missing_fits(scores)})', 19)}" if good != every else ""
        panels[0].set_title(title, fontsize=8.5, loc="center")
        for axes, quantity in zip(panels, quantities, strict=True):
            curves = pick(mine, quantity=quantity).groupby(["source", "block"], sort=False)
            for (source, block), curve in curves:
                _draw_curve(axes, curve, quantity, looks[str(source), str(block)], data)
    for axes in grid.flat:
        if not axes.lines:
            axes.set_axis_off()
    for j, quantity in enumerate(quantities):
        # A setting without a finished fit leaves its place empty: the first panel drawn takes the labels.
        rows = [[axes for axes in row if axes.lines] for row in grid[:, j]]
        rows = [row for row in rows if row]
        if rows:
            _scale(rows, quantity, SETTLED * last)
        for row in rows:
            row[0].set_ylabel(ROWS[quantity])
        _explain(grid[0, j, -1], quantity, looks)
    for axes in grid[:, -1].flat:
        _number_steps(axes, last, count=max(2, int(width / 0.7)))
    figure.supxlabel("optimisation step", fontsize=9)
    return figure, data.table()


def _looks(history: pd.DataFrame, sources: Mapping[str, str], blocks: Mapping[str, str]) -> Looks:
    dashes = dict(zip(reversed(list(sources)), ["-", "--", ":", "-."] * len(sources), strict=False))
    placed = pick(history, quantity="kl")[["source", "block"]].drop_duplicates()
    pairs = sorted(placed.itertuples(index=False, name=None), key=lambda p: (list(blocks).index(p[1]), p[0]))
    found = {("", ""): line_handle("mean of sources", "black", linewidth=1.8)}
    found |= {(s, ""): line_handle(f"{s} source", colour, linewidth=1.8) for s, colour in sources.items()}
    for source, block in pairs:
        look = {"linewidth": 1.8, "linestyle": dashes[source]}
        found[source, block] = line_handle(f"{block} block,\n{source} points", blocks[block], **look)
    return found


def _draw_curve(axes: Axes, rows: pd.DataFrame, quantity: str, look: Line2D, data: FigureData) -> None:
    draw_curves(axes, rows, look.get_color(), data, quantity, width=1.5, dash=look.get_linestyle())
    if quantity == "elbo_validation":
        # Early stopping keeps a member's best parameters.
        kept = running_means(rows).dropna(axis=1, how="all")
        mark: dict[str, Any] = {"marker": "o", "markersize": 3.5, "markeredgecolor": "black"}
        mark |= {"linestyle": "none", "color": "black", "zorder": 5, "clip_on": False}
        ends = {"x": kept.idxmax().to_numpy(), "y": kept.max().to_numpy()}
        sns.lineplot(**ends, estimator=None, sort=False, ax=axes, **mark)


def _explain(axes: Axes, quantity: str, looks: Looks) -> None:
    """What the lines of a row of panels are, right of ``axes``."""
    if quantity == "gradient_norm":
        return
    kind = (quantity != "elbo_validation", quantity == "kl")
    handles = [handle for (source, block), handle in looks.items() if (bool(source), bool(block)) == kind]
    if quantity == "elbo_validation":
        handles.append(line_handle("kept parameters", "black", marker="o", markersize=3.5, linestyle="none"))
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.03, 0.5), borderaxespad=0.0)


def _number_steps(axes: Axes, last: int, count: int) -> None:
    """Round ticks; numbers at the ends stay within their panel, apart from its neighbour's."""
    ticks = MaxNLocator(count, steps=[1, 1.5, 2, 2.5, 3, 5, 10], integer=True).tick_values(0, last)
    ticks = [tick for tick in ticks if 0 <= tick <= last]
    axes.set_xlim(0, last)
    axes.set_xticks(ticks, [number(tick) for tick in ticks])
    axes.tick_params(labelbottom=True)
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    if ticks[-1] > 0.9 * last:
        labels[-1].set_horizontalalignment("right")


def _scale(rows: Sequence[Sequence[Axes]], quantity: str, start: float) -> None:
    """One scale for the panels of a quantity if the ranges of their values are similar, else one a panel.

    Values before the step ``start`` are not counted.
    """
    ends = {axes: _ends(axes, start) for row in rows for axes in row}
    low, high = min(e[0] for e in ends.values()), max(e[1] for e in ends.values())
    log = quantity == "gradient_norm"
    # Below a tenth of the common range a panel's curve would look flat whatever it does.
    shared = log or all(top - bottom >= 0.1 * (high - low) for bottom, top in ends.values())
    for axes, own in ends.items():
        bottom, top = (low, high) if shared else own
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
            axes.yaxis.set_minor_locator(NullLocator())
            bottom, top = bottom / 1.3, top * 1.3
        elif quantity in ("kl", "weight"):
            bottom, top = min(1.08 * bottom, 0.0), 1.08 * top
        else:
            bottom, top = bottom - 0.08 * (top - bottom), top + 0.08 * (top - bottom)
        if top > bottom:
            axes.set_ylim(bottom, top)
        if shared and all(axes is not row[0] for row in rows):
            axes.tick_params(labelleft=False)


def _ends(axes: Axes, start: float) -> tuple[float, float]:
    """Smallest and largest value of a panel's lines from step ``start`` on."""
    lines = [np.asarray(line.get_data(), dtype=float) for line in axes.lines]
    values = np.concatenate([values[(steps >= start) & np.isfinite(values)] for steps, values in lines])
    return (values.min(), values.max()) if len(values) else (0.0, 1.0)
