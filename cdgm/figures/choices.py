"""Figures of sweeps that a choice is made from: sizes of both blocks, levels of a variant."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cdgm.plotting import style
from cdgm.plotting.lanes import number

#: Column, title and the limit of chance or of the rule, if there is one; NaN stands for the caller's.
PANELS = {
    "elbo": "held-out ELBO\n(nats a row)",
    "agreement_background": "agreement of members,\nbackground block (R²)",
    "agreement_salient": "agreement of members,\nsalient block (R²)",
    "dependence": "dependence of blocks\n(HSIC over chance)",
    "separation": "sources told apart in the\nbackground block (accuracy)",
}
#: A space that knows nothing of two sources tells them with this accuracy.
MIXED = 0.5


@style.style()
def dimensions_figure(table: pd.DataFrame, agree: float) -> Figure:
    """ELBO, agreement and leakage against the salient size, a line a background size.

    Parameters
    ----------
    table
        ``Dimensions.table``.
    agree
        Where members are said to agree.
    """
    sizes = sorted(table["n_background"].unique())
    colours = style.colours(sizes, style.LABEL_COLOURS)
    lines = {
        f"{size} background dimensions": (table[table["n_background"] == size], colours[size])
        for size in sizes
    }
    figure = _figure(lines, "n_salient", agree)
    for axes in figure.axes:
        axes.set_xticks(sorted(table["n_salient"].unique()))
        axes.set_xlabel("salient dimensions")
    return figure


@style.style()
def level_figure(table: pd.DataFrame, title: str, agree: float) -> Figure:
    """ELBO, agreement and leakage against the level, the fit without at the left.

    Parameters
    ----------
    table
        ``Level.table``.
    title
        What the level is.
    agree
        Where members are said to agree.
    """
    figure = _figure({"levels": (table, style.BLOCK_COLOURS[0])}, "strength", agree)
    names = [
        "none" if rank == 0 else number(level)
        for level, rank in zip(table["level"], table["strength"], strict=True)
    ]
    for axes in figure.axes:
        axes.set_xticks(table["strength"], names)
        axes.set_xlabel(title)
    return figure


def _figure(lines: Mapping[str, tuple[pd.DataFrame, str]], x: str, agree: float) -> Figure:
    figure = style.new_figure(12.5, 3.1)
    panels = figure.subplots(1, len(PANELS))
    limits = {
        "agreement_background": agree,
        "agreement_salient": agree,
        "dependence": 1.0,
        "separation": MIXED,
    }
    for letter, axes, (column, title) in zip("abcde", panels, PANELS.items(), strict=True):
        for rows, colour in lines.values():
            _line(axes, rows.sort_values(x), x, column, colour)
        if column in limits:
            axes.axhline(limits[column], color="black", linewidth=0.9, linestyle=":", zorder=1.8)
        style.panel_title(axes, letter, title)
    for axes in panels[1:3]:
        axes.set_ylim(-0.1, 1.1)
    hollow = Line2D(
        [], [], linestyle="none", marker="o", markersize=5, markerfacecolor="white", color="black"
    )
    ring = Line2D([], [], linestyle="none", marker="o", markersize=11, markerfacecolor="none", color="black")
    named = [] if len(lines) == 1 else [style.dot_handle(colour, name) for name, (_, colour) in lines.items()]
    labels = [*(handle.get_label() for handle in named), "ELBO below the best", "recommended"]
    figure.legend([*named, hollow, ring], labels, loc="outside upper center", ncols=6)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, x: str, column: str, colour: str) -> None:
    """A line, with hollow points where the ELBO is not within the best, and a ring at the recommendation."""
    axes.plot(rows[x], rows[column], color=colour, zorder=3)
    if column == "elbo":
        half = rows["elbo_range"] / 2
        axes.errorbar(rows[x], rows[column], half, color=colour, linestyle="none", zorder=3)
    for inside, part in rows.groupby("within"):
        axes.scatter(
            part[x], part[column], s=26, facecolors=colour if inside else "white", edgecolors=colour,
            linewidths=1.2, zorder=4,
        )  # fmt: skip
    chosen = rows[rows["recommended"]]
    axes.scatter(
        chosen[x], chosen[column], s=130, facecolors="none", edgecolors="black", linewidths=1.3, zorder=5
    )
