"""Figure ``dims``: recovery and leakage over a grid of fitted dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from cdgm.evaluation.table_slices import (
    Tables,
    main_source,
    median_of,
    need,
    order_of,
    pick,
    rows_of,
    seeds_of,
)
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import bands, letters, panel_title
from cdgm.plotting.labels import UNITS, arm_label
from cdgm.plotting.legends import legend, point_handle
from cdgm.plotting.series import scored_on
from cdgm.plotting.sweeps import swept_columns
from cdgm.plotting.theme import new_figure, theme

COLUMNS = 4
#: A seed that leaks more than this marks its cell.
LEAKS = 0.2
MAPS = {"recovery_cc": "Blues", "leakage_r2": "Oranges", "elbo": "Greens", "active_dims": "Purples"}
TRUE_DIMS: dict[str, Any] = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.8}
NO_FIT: dict[str, Any] = {"facecolor": "white", "edgecolor": "#999999", "hatch": "////"}


@dataclass(frozen=True)
class _Panel:
    metric: str
    source: str
    block: str
    truth: str
    title: str


@dataclass(frozen=True)
class _Grid:
    """Swept dimensions: their names, and the values in rows and columns of a panel."""

    keys: tuple[str, str]
    rows: list[float]
    columns: list[float]


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Heat maps over two swept dimensions: a number for the median, a dot for every seed.

    Raises
    ------
    UserError
        If settings do not sweep exactly two numbers, or recovery or linear leakage was not scored.
    """
    scores = rows_of(tables, "scores", study)
    need(scores, study, metric="recovery_cc")
    need(scores, study, metric="leakage_r2")
    keys, scores = swept_columns(scores, study, ("row", "column"), "dims@background=5,salient=3")
    grid = _Grid((keys[0], keys[1]), sorted(scores["row"].unique()), sorted(scores["column"].unique()))
    panels = _panels(scores, *order_of(tables, study))
    groups = list(scores[["base", "variant", "point"]].drop_duplicates().itertuples(index=False, name=None))
    arms = [group[:2] for group in groups]
    titles = [", ".join(filter(None, [arm_label(g[:2], arms), g[2]])) for g in groups]
    # Names of axes need room, however small the grid.
    height = -(-len(panels) // COLUMNS) * (1.0 + max(0.42 * len(grid.rows), 1.7))
    width = COLUMNS * (1.0 + max(0.38 * len(grid.columns), 1.7))
    figure = new_figure(width, 0.5 + height * len(groups))
    data = FigureData()
    parts = bands(figure, titles if len(groups) > 1 else [""])
    for part, (base, variant, point) in zip(parts, groups, strict=True):
        _group(part, pick(scores, base=base, variant=variant, point=point), panels, grid, data)
    handles = [
        point_handle("#333333", "one seed, from the left to the right end of the colour scale"),
        point_handle("#333333", f"a seed leaks more than {LEAKS} (R²)", "^"),
        Rectangle((0, 0), 1, 1, **TRUE_DIMS, label="true dimensions"),
        Rectangle((0, 0), 1, 1, **NO_FIT, label="no finished fit"),
    ]
    legend(figure, handles)
    return figure, data.table()


def _panels(scores: pd.DataFrame, sources: list[str], blocks: list[str]) -> list[_Panel]:
    """Recovery of every block, leakage in every direction, then evidence and active dimensions."""
    elbo, active = pick(scores, metric="elbo"), pick(scores, metric="active_dims")
    return [
        *(
            _Panel("recovery_cc", s, b, t, f"{b} recovered")
            for s, b, t in scored_on(scores, "recovery_cc", blocks)
        ),
        *(
            _Panel("leakage_r2", s, b, t, f"{t} truth in the\n{b} block")
            for s, b, t in scored_on(scores, "leakage_r2", blocks)
        ),
        *(
            _Panel("elbo", s, "", "", f"evidence on {s},\nbelow the best cell")
            for s in sources
            if (elbo["source"] == s).any()
        ),
        *(
            _Panel("active_dims", main_source(active, b), b, "", f"active {b}\ndimensions")
            for b in blocks
            if (active["block"] == b).any()
        ),
    ]


def _group(part: SubFigure, rows: pd.DataFrame, panels: list[_Panel], grid: _Grid, data: FigureData) -> None:
    """All panels of one variant."""
    found = part.subplots(-(-len(panels) // COLUMNS), min(COLUMNS, len(panels)), squeeze=False)
    for axes in found.flat[len(panels) :]:
        axes.set_axis_off()
    true_dims = pick(rows, metric="true_dims").groupby("block")["value"].max()
    y, x = (true_dims.get(key, np.nan) for key in grid.keys)
    for i, (axes, panel, letter) in enumerate(zip(found.flat, panels, letters(), strict=False)):
        place = {"source": panel.source, "block": panel.block, "truth": panel.truth, "twist": 0.0}
        mine = pick(rows, metric=panel.metric, **place)
        if panel.metric == "elbo":
            best = mine[mine["finite"]].groupby("setting")["value"].median().max()
            mine = mine.assign(value=mine["value"] - best, metric="elbo_below_best")
        scale = _scale(mine, panel.metric)
        cells = _cells(mine, panel.metric, scale, grid)
        _heat(axes, cells, panel.metric, scale, grid)
        _numbers(axes, cells, rows, panel.metric)
        _seeds(axes, mine[mine["finite"]], cells, panel.metric, scale)
        data.add(letter, "seed", mine[mine["finite"]])
        data.add(letter, "left out", mine[~mine["finite"]])
        data.add(letter, "median", cells.drop(columns=["x", "y"]), seed=None)
        _colour_bar(axes, scale, median_of(mine["null_high"]), panel, letter, data)
        panel_title(axes, letter, panel.title)
        axes.set_xlabel(f"fitted {grid.keys[1].replace('_', ' ')} dimensions")
        axes.set_ylabel("" if i % COLUMNS else f"fitted {grid.keys[0].replace('_', ' ')} dimensions")
        if x in grid.columns and y in grid.rows:
            corner = grid.columns.index(x), grid.rows.index(y)
            axes.add_patch(Rectangle(corner, 1, 1, **TRUE_DIMS, clip_on=False, zorder=6))
            data.add(letter, "true_dims", x=x, y=y)


def _cells(rows: pd.DataFrame, metric: str, scale: Normalize, grid: _Grid) -> pd.DataFrame:
    """A row a setting: its place (x, y), the median over seeds, and a legible colour of text."""
    cells = rows.drop_duplicates("setting").set_index("setting", drop=False)
    cells = cells.assign(
        value=rows[rows["finite"]].groupby("setting")["value"].median(),
        x=cells["column"].map(grid.columns.index),
        y=cells["row"].map(grid.rows.index),
    )
    light = _tones(metric)(scale(cells["value"].to_numpy(), clip=True))[:, :3] @ (0.299, 0.587, 0.114)
    return cells.assign(ink=np.where(light < 0.55, "white", "#222222"))


def _heat(axes: Axes, cells: pd.DataFrame, metric: str, scale: Normalize, grid: _Grid) -> None:
    """Coloured cells; hatched are those without a finished fit."""
    table = cells.pivot(index="y", columns="x", values="value")
    table = table.reindex(index=range(len(grid.rows)), columns=range(len(grid.columns)))
    axes.add_patch(Rectangle((0, 0), *table.shape[::-1], **NO_FIT, linewidth=0, zorder=0.5))
    white: dict[str, Any] = {"linewidths": 1.0, "linecolor": "white", "zorder": 1}
    bare: dict[str, Any] = {"cbar": False, "xticklabels": False, "yticklabels": False}
    sns.heatmap(table, cmap=_tones(metric), norm=scale, ax=axes, **white, **bare)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(grid.columns)) + 0.5, [f"{v:g}" for v in grid.columns])
    axes.set_yticks(np.arange(len(grid.rows)) + 0.5, [f"{v:g}" for v in grid.rows])
    axes.tick_params(length=0)
    axes.grid(visible=False)


def _numbers(axes: Axes, cells: pd.DataFrame, rows: pd.DataFrame, metric: str) -> None:
    """Medians in the cells, and in a corner how many fits finished, where some did not."""
    for setting, cell in cells[np.isfinite(cells["value"])].iterrows():
        text = {"color": cell["ink"], "zorder": 4}
        middle = cell["x"] + 0.5, cell["y"] + 0.64
        axes.text(*middle, _text(cell["value"], metric), ha="center", va="center", fontsize=7.5, **text)
        good, every = seeds_of(pick(rows, setting=setting))
        if good != every:
            corner = cell["x"] + 0.04, cell["y"] + 0.96
            axes.text(*corner, f"{len(good)}/{len(every)}", ha="left", va="top", fontsize=6, **text)


def _seeds(axes: Axes, rows: pd.DataFrame, cells: pd.DataFrame, metric: str, scale: Normalize) -> None:
    """Marks of all seeds in the lower part of a cell, along the scale; arrows are seeds beyond its ends."""
    if rows.empty:
        return
    place = cells.loc[rows["setting"]]
    along = np.asarray(scale(rows["value"].to_numpy(), clip=False))
    marks = pd.DataFrame(
        {
            "x": place["x"].to_numpy() + 0.08 + 0.84 * np.clip(along, 0.0, 1.0),
            "y": place["y"].to_numpy() + 0.23,
            "ink": place["ink"].to_numpy(),
            "marker": np.select([along < -1e-12, along > 1.0 + 1e-12], ["<", ">"], "o"),
        }
    )
    leaky = rows.loc[rows["value"] > LEAKS, "setting"].unique() if metric == "leakage_r2" else []
    if len(leaky):
        corner = cells.loc[leaky, ["x", "y", "ink"]]
        corner = corner.assign(x=corner["x"] + 0.86, y=corner["y"] + 0.86, marker="^")
        marks = pd.concat([marks, corner])
    for (marker, ink), some in marks.groupby(["marker", "ink"]):
        mark = {"marker": marker, "s": 5 if marker == "o" else 10, "alpha": 1.0 if marker == "^" else 0.55}
        sns.scatterplot(some, x="x", y="y", color=ink, ax=axes, linewidth=0, legend=False, zorder=4, **mark)


def _scale(rows: pd.DataFrame, metric: str) -> Normalize:
    """The colour scale of a panel."""
    good = rows.loc[rows["finite"], "value"]
    high = float(good.max()) if len(good) else 1.0
    if metric == "elbo":
        # One stray fit must not flatten the scale of all others: it is drawn as an arrow at its end.
        low = rows[rows["finite"]].groupby("setting")["value"].median().min() if len(good) else -1.0
        return Normalize(min(float(low), -1.0), max(high, 0.0))
    return Normalize(0.0, {"recovery_cc": 1.0, "leakage_r2": max(high, LEAKS)}.get(metric, max(high, 1.0)))


def _tones(metric: str) -> ListedColormap:
    """A colour map of matplotlib whose darkest tones are left out, so that text can be read on it."""
    return ListedColormap(matplotlib.colormaps[MAPS[metric]](np.linspace(0.03, 0.88, 256)))


def _text(value: float, metric: str) -> str:
    """The median as it stands in a cell: ".95", "5.5", "−0.3"."""
    if metric == "active_dims":
        return f"{value:g}"
    text = f"{abs(value):.1f}" if metric == "elbo" else f"{abs(value):.2f}".removeprefix("0")
    return "\N{MINUS SIGN}" * (value < 0 and float(text) > 0) + text


def _colour_bar(
    axes: Axes, scale: Normalize, high: float, panel: _Panel, letter: str, data: FigureData
) -> None:
    bar = axes.figure.colorbar(ScalarMappable(scale, _tones(panel.metric)), ax=axes, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    bar.set_label(UNITS[panel.metric], fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    if np.isfinite(high):
        # The null is a thin slice of the scale: a line where it ends, all below it is chance.
        bar.ax.axhline(high, color="black", linewidth=1.0, linestyle=":")
        data.add(letter, "null_high", value=high, metric=panel.metric, block=panel.block, truth=panel.truth)
