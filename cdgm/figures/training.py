"""Figure ``training``: what happened during training, for every fit of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from cdgm.evaluation.table_slices import Tables, arms_of, finished, of_arm, pick, rows_of, seeds_of
from cdgm.plotting.curves import draw_curves, running_means
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.labels import arm_label, number, wrapped
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
        quantities.remove("weight")  # constant weights are the study's, and tell nothing of training
    arms = arms_of(history)
    scores = rows_of(tables, "scores", study) if "scores" in tables else None
    looks = _looks(history, *colours_of(tables, study))

    columns = min(len(arms), PER_BAND)
    bands = math.ceil(len(arms) / PER_BAND)
    panel = 4.6 if columns == 1 else 1.42
    figure = new_figure(2.5 + panel * columns, 0.5 + bands * (0.5 + 1.55 * len(quantities)))
    grid = figure.subplots(bands * len(quantities), columns, sharex=True, squeeze=False)
    data = FigureData()
    for i, arm in enumerate(arms):
        band, column = divmod(i, PER_BAND)
        mine, note = of_arm(history, arm), ""
        if scores is not None and not of_arm(scores, arm).empty:
            good, every = seeds_of(of_arm(scores, arm))
            mine = mine[~mine["seed"].isin(every - good)]
            note = finished(of_arm(scores, arm))
        for j, quantity in enumerate(quantities):
            axes = grid[band * len(quantities) + j, column]
            _curves(axes, pick(mine, quantity=quantity), quantity, looks, data)
        title = arm_label(arm, arms, width=19 if columns > 1 else None)
        if note:
            title += "\n" + wrapped(f"({note})", 19)
        grid[band * len(quantities), column].set_title(title, fontsize=8.5, loc="center")
    for axes in grid.flat:
        if not axes.lines:
            axes.set_axis_off()
    for j, quantity in enumerate(quantities):
        # A setting without a finished fit leaves its place empty: the first panel drawn takes the labels.
        rows = [[axes for axes in grid[b * len(quantities) + j] if axes.lines] for b in range(bands)]
        _scale([axes for row in rows for axes in row], [row[0] for row in rows if row], quantity)
        for row in rows:
            _legend(row, quantity, looks)
    _number_steps(grid[-1], int(history["step"].max()), panel)
    figure.supxlabel("optimisation step", fontsize=9)
    return figure, data.table()


def _looks(
    history: pd.DataFrame, sources: Mapping[str, str], blocks: Mapping[str, str]
) -> dict[tuple[str, str], Line2D]:
    """The line of each (source, block), as legends show it; a quantity of all sources has ("", "")."""
    dashes = dict(zip(reversed(sources), ["-", "--", ":", "-."] * len(sources), strict=False))
    placed = pick(history, quantity="kl")[["source", "block"]].drop_duplicates()
    pairs = sorted(placed.itertuples(index=False, name=None), key=lambda p: (list(blocks).index(p[1]), p[0]))
    found = {("", ""): line_handle("mean of sources", "black", linewidth=1.8)}
    found |= {(s, ""): line_handle(f"{s} source", colour, linewidth=1.8) for s, colour in sources.items()}
    for source, block in pairs:
        look = {"linewidth": 1.8, "linestyle": dashes[source]}
        found[source, block] = line_handle(f"{block} block,\n{source} points", blocks[block], **look)
    return found


def _curves(
    axes: Axes, rows: pd.DataFrame, quantity: str, looks: dict[tuple[str, str], Line2D], data: FigureData
) -> None:
    for key, curve in rows.groupby(["source", "block"], sort=False):
        look = looks[key]
        draw_curves(axes, curve, look.get_color(), data, quantity, width=1.5, dash=look.get_linestyle())
        if quantity == "elbo_validation":
            # Early stopping keeps a member's best parameters.
            kept = running_means(curve).dropna(axis=1, how="all")
            axes.plot(kept.idxmax(), kept.max(), "o", color="black", markersize=3.5, zorder=5, clip_on=False)
    if quantity == "gradient_norm":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.yaxis.set_minor_locator(NullLocator())


def _legend(row: list[Axes], quantity: str, looks: dict[tuple[str, str], Line2D]) -> None:
    """What the lines of a row of panels are, right of its last panel."""
    handles = [
        handle
        for (source, block), handle in looks.items()
        if bool(block) == (quantity == "kl") and bool(source) == (quantity in ("elbo", "kl", "weight"))
    ]
    if quantity == "elbo_validation":
        handles.append(line_handle("kept parameters", "black", marker="o", markersize=3.5, linestyle="none"))
    if row and quantity != "gradient_norm":
        row[-1].legend(handles=handles, loc="center left", bbox_to_anchor=(1.03, 0.5), borderaxespad=0.0)


def _number_steps(row: np.ndarray, last: int, width: float) -> None:
    """Round ticks; numbers at the ends stay within their panel, and so apart from its neighbour's."""
    count = max(2, int(width / 0.7))
    ticks = MaxNLocator(count, steps=[1, 1.5, 2, 2.5, 3, 5, 10], integer=True).tick_values(0, last)
    ticks = [tick for tick in ticks if 0 <= tick <= last]
    for axes in row:
        axes.set_xlim(0, last)
        axes.set_xticks(ticks, [number(tick) for tick in ticks])
        labels = axes.get_xticklabels()
        labels[0].set_horizontalalignment("left")
        if ticks[-1] > 0.9 * last:
            labels[-1].set_horizontalalignment("right")


def _scale(panels: list[Axes], first: list[Axes], quantity: str) -> None:
    """One scale for the panels of a quantity if the ranges of their values are similar, else one a panel."""
    if not panels:
        return
    for axes in first:
        axes.set_ylabel(ROWS[quantity])
    last = max(line.get_xdata().max() for axes in panels for line in axes.lines)
    ranges = [_settled_range(axes, SETTLED * last) for axes in panels]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    if quantity == "gradient_norm":
        shared = True
        low, high = low / 1.3, high * 1.3
    else:
        # Below a tenth of the common range a panel's curve would look flat whatever it does.
        shared = all(r[1] - r[0] >= 0.1 * (high - low) for r in ranges)
    for axes, (own_low, own_high) in zip(panels, ranges, strict=True):
        bottom, top = (low, high) if shared else (own_low, own_high)
        margin = 0.0 if quantity == "gradient_norm" else 0.08 * (top - bottom)
        if quantity in ("kl", "weight"):
            bottom, margin = min(bottom, 0.0), 0.08 * top
        if top > bottom:
            axes.set_ylim(bottom - (margin if bottom else 0.0), top + margin)
        if shared and axes not in first:
            axes.tick_params(labelleft=False)


def _settled_range(axes: Axes, start: float) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for line in axes.lines:
        steps, values = (np.asarray(v, dtype=float) for v in line.get_data())
        values = values[(steps >= start) & np.isfinite(values)]
        if len(values):
            low, high = min(low, values.min()), max(high, values.max())
    return (low, high) if low <= high else (0.0, 1.0)
