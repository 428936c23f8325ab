"""Figures of sweeps that a choice is made from: sizes of both blocks, levels of a variant."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.plotting.frames import panel_title, zero_line
from cdgm.plotting.labels import number
from cdgm.plotting.legends import legend, line_handle, point_handle
from cdgm.plotting.theme import BLOCK_COLOURS, new_figure, theme

#: Titles of panels, by the column that they show.
PANELS = {
    "elbo": "held-out ELBO\n(nats a row)",
    "agreement_background": "agreement of members,\nbackground block (R²)",
    "agreement_salient": "agreement of members,\nsalient block (R²)",
    "dependence": "dependence of blocks\n(HSIC over chance)",
    "separation": "sources told apart in the\nbackground block (accuracy)",
}
#: Ticks of asymmetries, of which 21 is the largest that there can be.
ASYMMETRIES = (1, 2, 5, 10, 20)
#: Dependence by chance, and the accuracy at which a space without information tells two sources apart.
CHANCE = {"dependence": 1.0, "separation": 0.5}


@theme()
def dimensions_figure(table: pd.DataFrame, agree: float) -> Figure:
    """ELBO, agreement and leakage against the salient size, a line a background size.

    Parameters
    ----------
    table
        ``Dimensions.table``.
    agree
        Agreement from which on members are said to agree.
    """
    sizes = sorted(table["n_background"].unique())
    shades = sns.color_palette("plasma", len(sizes) + 1).as_hex()[:-1]
    lines = {
        f"{size} background dimensions": (table[table["n_background"] == size], shade)
        for size, shade in zip(sizes, shades, strict=True)
    }
    figure = _figure(lines, "n_salient", agree)
    for axes in figure.axes:
        axes.set_xticks(sorted(table["n_salient"].unique()))
        axes.set_xlabel("salient dimensions")
    return figure


@theme()
def level_figure(table: pd.DataFrame, title: str, agree: float) -> Figure:
    """ELBO, agreement and leakage against the level, with the fit without penalty or constraint at the left.

    Parameters
    ----------
    table
        ``Level.table``.
    title
        What the level is.
    agree
        Agreement from which on members are said to agree.
    """
    figure = _figure({"levels": (table, BLOCK_COLOURS[0])}, "strength", agree)
    names = [
        "none" if rank == 0 else number(level)
        for level, rank in zip(table["level"], table["strength"], strict=True)
    ]
    for axes in figure.axes:
        axes.set_xticks(table["strength"], names)
        axes.set_xlabel(title)
    return figure


def _figure(lines: Mapping[str, tuple[pd.DataFrame, str]], x: str, agree: float) -> Figure:
    figure = new_figure(12.5, 3.1)
    panels = figure.subplots(1, len(PANELS))
    limits = CHANCE | {"agreement_background": agree, "agreement_salient": agree}
    for letter, axes, (column, title) in zip("abcde", panels, PANELS.items(), strict=True):
        for rows, colour in lines.values():
            _line(axes, rows.sort_values(x), x, column, colour)
        if column in limits:
            zero_line(axes, "y", limits[column])
        panel_title(axes, letter, title)
        axes.set_ylabel("")
    for axes in panels[1:3]:
        axes.set_ylim(-0.1, 1.1)
    named = [point_handle(colour, name) for name, (_, colour) in lines.items() if len(lines) > 1]
    ring = {"colour": "black", "linestyle": "none", "marker": "o", "markerfacecolor": "none"}
    hollow = line_handle("ELBO below the best", markersize=5, **ring)
    chosen = line_handle("recommended", markersize=11, **ring)
    legend(figure, [*named, hollow, chosen], columns=6)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, x: str, column: str, colour: str) -> None:
    """A line, with hollow points where the ELBO is not within the best, and a ring at the recommendation."""
    mark = {"x": x, "y": column, "ax": axes, "legend": False}
    sns.lineplot(rows, **mark, color=colour, zorder=3)
    if column == "elbo":
        half = rows["elbo_range"] / 2
        axes.errorbar(rows[x], rows[column], half, color=colour, linestyle="none", zorder=3)
    for part, face, size, edge in (
        (rows[rows["within"]], colour, 26, colour),
        (rows[~rows["within"]], "white", 26, colour),
        (rows[rows["recommended"]], "none", 130, "black"),
    ):
        sns.scatterplot(part, **mark, color=face, s=size, edgecolor=edge, linewidth=1.3, zorder=4)


@theme()
def path_figure(table: pd.DataFrame, limit: float) -> Figure:
    """Held-out ELBO and largest asymmetry of an axis over the fits of a pruning, a point a member.

    Parameters
    ----------
    table
        ``Pruned.table``.
    limit
        Asymmetry above which an axis counts as moved.
    """
    figure = new_figure(7.5, 3.1)
    panels = figure.subplots(1, 2)
    titles = {
        "elbo": PANELS["elbo"],
        "axis_asymmetry": "most asymmetric background axis\n(variance over variance)",
    }
    sizes = table.drop_duplicates("fit").set_index("fit")["n_background"]
    for letter, axes, (column, title) in zip("ab", panels, titles.items(), strict=True):
        place = {"x": "fit", "y": column, "ax": axes, "color": BLOCK_COLOURS[0]}
        sns.scatterplot(table, **place, s=26, alpha=0.8, zorder=3)
        medians = table.groupby("fit")[[column]].median().reset_index()
        sns.lineplot(medians, **place, zorder=2)
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axes.set_xlabel("background dimensions, fit after fit")
        panel_title(axes, letter, title)
        axes.set_ylabel("")
    panels[1].set_yscale("log")
    low, high = panels[1].get_ylim()
    panels[1].minorticks_off()
    panels[1].set_yticks(ASYMMETRIES, [number(value) for value in ASYMMETRIES])
    panels[1].set_ylim(min(low, 0.9), max(high, 1.2 * limit))
    zero_line(panels[1], "y", limit)
    named = point_handle(BLOCK_COLOURS[0], "member")
    legend(
        figure,
        [named, line_handle("median", BLOCK_COLOURS[0]), line_handle("moved above", "black", linestyle=":")],
    )
    return figure
