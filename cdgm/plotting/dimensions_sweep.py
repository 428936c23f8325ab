"""Figure of a sweep over the sizes of both blocks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cdgm.plotting import style

PANELS = (
    ("elbo", "held-out ELBO\n(nats a row)"),
    ("agreement_background", "agreement of members,\nbackground block (R²)"),
    ("agreement_salient", "agreement of members,\nsalient block (R²)"),
    ("traces", "share of members\nwith a trace"),
)


@style.style()
def sweep_figure(table: pd.DataFrame, agree: float, traces: float) -> Figure:
    """ELBO, agreement and traces against the salient size, a line a background size.

    Parameters
    ----------
    table
        ``Dimensions.table``.
    agree, traces
        Limits of the rule, drawn as dotted lines.
    """
    figure = style.new_figure(11.0, 3.0)
    panels = figure.subplots(1, len(PANELS))
    sizes = sorted(table["n_background"].unique())
    colours = style.colours(sizes, style.LABEL_COLOURS)
    for i, (axes, (column, title)) in enumerate(zip(panels, PANELS, strict=True)):
        for size in sizes:
            line = table[table["n_background"] == size].sort_values("n_salient")
            axes.plot(
                line["n_salient"], line[column], color=colours[size], marker="o", markersize=4, zorder=3
            )
            if column == "elbo":
                half = line["elbo_range"] / 2
                axes.errorbar(line["n_salient"], line[column], half, color=colours[size], linestyle="none")
        _finish(axes, table, column)
        style.panel_title(axes, "abcd"[i], title)
    limits = (None, agree, agree, traces)
    for axes, limit in zip(panels, limits, strict=True):
        if limit is not None:
            axes.axhline(limit, color="black", linewidth=0.9, linestyle=":", zorder=1.8)
            axes.set_ylim(-0.1, 1.1)
    handles = [style.dot_handle(colour, f"{size} background dimensions") for size, colour in colours.items()]
    ring = Line2D([], [], linestyle="none", marker="o", markersize=11, markerfacecolor="none", color="black")
    figure.legend([*handles, ring], [h.get_label() for h in handles] + ["recommended"],
                  loc="outside upper center", ncols=5)  # fmt: skip
    return figure


def _finish(axes: Axes, table: pd.DataFrame, column: str) -> None:
    chosen = table[table["recommended"]]
    axes.scatter(
        chosen["n_salient"],
        chosen[column],
        s=130,
        facecolors="none",
        edgecolors="black",
        linewidths=1.3,
        zorder=5,
    )
    axes.set_xticks(sorted(table["n_salient"].unique()))
    axes.set_xlabel("salient dimensions")
