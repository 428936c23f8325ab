"""Figure ``training``: what happened during training, for every fit of a study."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from cdgm.evaluation.table_slices import Tables, arms_of, finished, of_arm, order_of, pick, rows_of, seeds_of
from cdgm.plotting import style
from cdgm.plotting.source_data import SourceData
from cdgm.utils.errors import bad_input

ROWS = {
    "elbo": "ELBO\n(nats per point)",
    "elbo_validation": "validation ELBO\n(nats per point)",
    "kl": "KL of a block\n(nats per point)",
    "weight": "weight of a source",
    "gradient_norm": "gradient norm",
}
#: Settings beside each other; more start a new band of panels below.
PER_BAND = 8
#: The first steps climb from far below; axes are fitted to what follows.
SETTLED = 0.2


@dataclass(frozen=True)
class _Looks:
    sources: dict[str, str]
    blocks: dict[str, str]
    line_of_source: dict[str, str]


@style.style()
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
        quantities.remove("weight")  # fixed weights are no news
    arms = arms_of(history)
    scores = rows_of(tables, "scores", study) if "scores" in tables else None
    sources, blocks = order_of(tables, study)
    lines = dict(zip(reversed(sources), ["-", "--", ":", "-."] * len(sources), strict=False))
    looks = _Looks(
        style.colours(sources, style.SOURCE_COLOURS), style.colours(blocks, style.BLOCK_COLOURS), lines
    )

    columns = min(len(arms), PER_BAND)
    bands = math.ceil(len(arms) / PER_BAND)
    figure = style.new_figure(max(6.4, 1.3 + 1.42 * columns), 0.9 + bands * (0.5 + 1.55 * len(quantities)))
    grid = figure.subplots(bands * len(quantities), columns, sharex=True, squeeze=False)
    data = SourceData()
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
        title = style.arm_label(arm, arms, width=19)
        if note:
            title += "\n" + style.wrapped(f"({note})", 19)
        grid[band * len(quantities), column].set_title(title, fontsize=8.5, loc="center")
    for axes in grid.flat:
        if not axes.lines:
            axes.set_axis_off()
    for j, quantity in enumerate(quantities):
        # A setting without a finished fit leaves its place empty: the first panel drawn takes the labels.
        rows = [[axes for axes in grid[b * len(quantities) + j] if axes.lines] for b in range(bands)]
        _scale([axes for row in rows for axes in row], [row[0] for row in rows if row], quantity)
    last = int(history["step"].max())
    for axes in grid[-1]:
        axes.set_xlim(0, last)
        axes.set_xticks([0, last], ["0", f"{last:,}"])
        axes.get_xticklabels()[0].set_horizontalalignment("left")
        axes.get_xticklabels()[1].set_horizontalalignment("right")
    figure.supxlabel("optimisation step", fontsize=9)
    figure.legend(handles=_handles(history, looks), loc="outside upper center", ncols=4 if columns > 4 else 2)
    return figure, data.table()


def _curves(axes: Axes, rows: pd.DataFrame, quantity: str, looks: _Looks, data: SourceData) -> None:
    for (source, block), lane in rows.groupby(["source", "block"], sort=False):
        colour = looks.blocks.get(block) or looks.sources.get(source) or "black"
        dash = looks.line_of_source.get(source, "-") if block else "-"
        table = lane.pivot_table(index="step", columns="seed", values="value", dropna=False)
        axes.plot(table.index, table.to_numpy(), color=colour, linewidth=0.6, alpha=0.35, zorder=2)
        median = table.median(axis=1)
        axes.plot(median.index, median, color=colour, linewidth=1.5, linestyle=dash, zorder=3)
        if quantity == "elbo_validation":
            # Early stopping keeps a member's best parameters.
            kept = table.dropna(axis=1, how="all")
            axes.plot(kept.idxmax(), kept.max(), "o", color=colour, markersize=3.5, zorder=4, clip_on=False)
        data.add(quantity, "seed", lane)
        frame = pd.DataFrame({"step": median.index, "value": median.to_numpy()})
        data.add(
            quantity,
            "median",
            frame,
            **{c: lane[c].iloc[0] for c in ("setting", "variant", "source", "block", "quantity")},
        )
    if quantity == "gradient_norm":
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _scale(panels: list[Axes], first: list[Axes], quantity: str) -> None:
    """One scale for the panels of a quantity where their values are of one size, else one a panel."""
    if not panels:
        return
    for axes in first:
        axes.set_ylabel(ROWS[quantity])
    ranges = [_settled_range(axes) for axes in panels]
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


def _settled_range(axes: Axes) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for line in axes.lines:
        steps, values = (np.asarray(v, dtype=float) for v in line.get_data())
        values = values[(steps >= SETTLED * steps.max()) & np.isfinite(values)]
        if len(values):
            low, high = min(low, values.min()), max(high, values.max())
    return (low, high) if low <= high else (0.0, 1.0)


def _handles(history: pd.DataFrame, looks: _Looks) -> list[Line2D]:
    handles = [Line2D([], [], color=c, linewidth=2, label=f"{s} source") for s, c in looks.sources.items()]
    pairs = pick(history, quantity="kl")[["source", "block"]].drop_duplicates()
    handles += [
        Line2D(
            *([], []),
            color=looks.blocks[block],
            linewidth=2,
            linestyle=looks.line_of_source[source],
            label=f"{block} block, {source} points",
        )
        for source, block in sorted(
            pairs.itertuples(index=False, name=None), key=lambda p: (list(looks.blocks).index(p[1]), p[0])
        )
    ]
    handles.append(Line2D([], [], color="black", linewidth=2, label="all parameters"))
    if (history["quantity"] == "elbo_validation").any():
        handles[-1].set_label("all parameters, mean of sources")
        dot = Line2D([], [], color="black", marker="o", markersize=3.5, linestyle="", label="kept parameters")
        handles.append(dot)
    return handles
