"""Figure ``scaling``: recovery, time and memory as one size at a time grows."""

from __future__ import annotations

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cdgm.evaluation.table_slices import Tables, main_source, median_of, need, order_of, pick, rows_of
from cdgm.plotting import style
from cdgm.plotting.source_data import SourceData
from cdgm.utils.errors import bad_input

ROWS = (
    ("recovery_cc", "recovery\n(mean canonical correlation)"),
    ("leakage_cc", "leakage\n(mean canonical correlation)"),
    ("time", "time, CPU ms\nof one step of one member"),
    ("memory", "peak memory of the fit, MB"),
)
COST_COLOUR = "#444444"
NAME = re.compile(r"(?P<axis>[a-z]+)_(?P<size>[0-9]+)")


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """One column of panels for each size that grows; settings are named ``<size>_<number>``.

    Raises
    ------
    UserError
        If a setting is named otherwise, recovery was not scored, or the table of costs is missing.
    """
    scores = _sized(rows_of(tables, "scores", study), study)
    need(scores, study, metric="recovery_cc")
    if "costs" not in tables:
        raise bad_input(f"study {study!r}", "tables", sorted(tables), "a table of costs beside the scores")
    costs = _sized(tables["costs"], study)
    costs = costs[(costs["study"] == study) & (costs["stage"] == "fit")]
    blocks = order_of(tables, study)[1]
    colours = style.colours(blocks, style.BLOCK_COLOURS)
    axes_names = list(dict.fromkeys(scores["axis"]))
    figure = style.new_figure(3.2 * len(axes_names) + 0.6, 8.4)
    panels = figure.subplots(len(ROWS), len(axes_names), sharex="col", sharey="row", squeeze=False)
    data = SourceData()
    for column, name in enumerate(axes_names):
        mine, paid = pick(scores, axis=name), pick(costs, axis=name)
        for row, (metric, label) in enumerate(ROWS):
            axes, letter = panels[row, column], "abcdefghijklmnopqrstuvwxyz"[row * len(axes_names) + column]
            if metric in ("time", "memory"):
                _cost(axes, paid, metric, letter, data)
            else:
                _scores(axes, pick(mine, metric=metric, twist=0.0), blocks, colours, letter, data)
            style.panel_title(axes, letter)
            if column == 0:
                axes.set_ylabel(label)
        sizes = sorted(mine["size"].unique())
        last = panels[-1, column]
        last.set_xscale("log")
        last.xaxis.set_major_locator(FixedLocator(sizes))
        last.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        last.xaxis.set_minor_locator(NullLocator())
        last.set_xlabel(style.setting_label(name))
    for axes in panels[0]:
        axes.set_ylim(top=1.02)
    handles = [style.point_handle(colours[b], f"{b} block") for b in blocks]
    figure.legend(handles=[*handles, style.null_handle()], loc="outside upper center", ncols=len(handles) + 1)
    return figure, data.table()


def _sized(rows: pd.DataFrame, study: str) -> pd.DataFrame:
    """Rows with what grows (``axis``) and how large it is (``size``), read from the setting's name."""
    found = {setting: NAME.fullmatch(setting) for setting in rows["setting"].unique()}
    for setting, match in found.items():
        if match is None:
            raise bad_input(f"study {study!r}", "setting", setting, "a name and a number, as in points_1000")
    return rows.assign(
        axis=[found[s]["axis"] for s in rows["setting"]],
        size=[float(found[s]["size"]) for s in rows["setting"]],
    )


def _scores(
    axes: Axes,
    rows: pd.DataFrame,
    blocks: list[str],
    colours: dict[str, str],
    letter: str,
    data: SourceData,
) -> None:
    for block in blocks:
        mine = pick(rows, block=block)
        if mine.empty:
            continue
        mine = pick(mine, source=main_source(mine, block))
        data.add(letter, "left out", mine[~mine["finite"]])
        mine = mine[mine["finite"]].sort_values(["size", "seed"])
        data.add(letter, "seed", mine)
        medians = mine.groupby("size")["value"].median()
        nulls = mine.groupby("size")["null_high"].agg(median_of)
        axes.scatter(
            mine["size"], mine["value"], s=16, color=colours[block], alpha=0.55, linewidths=0, zorder=3
        )
        axes.plot(medians.index, medians, color=colours[block], linewidth=1.6, zorder=4)
        axes.fill_between(nulls.index, -1, nulls, color=style.NULL_COLOUR, linewidth=0, zorder=1)
    if not rows.empty:
        axes.set_ylim(bottom=min(0.0, rows["value"].min()) - 0.02)


def _cost(axes: Axes, rows: pd.DataFrame, metric: str, letter: str, data: SourceData) -> None:
    steps = rows["members"] * rows["steps"]
    value = 1000 * rows["cpu_seconds"] / steps if metric == "time" else rows["memory_mb"]
    rows = rows.assign(value=value, metric=metric).sort_values("size")
    axes.plot(rows["size"], rows["value"], color=COST_COLOUR, marker="s", markersize=4.5, linewidth=1.4)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
    data.add(letter, "job", rows)


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
