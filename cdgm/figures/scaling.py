"""Figure ``scaling``: recovery, time and memory as one size at a time grows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cdgm.evaluation.table_slices import Tables, main_source, need, pick, rows_of
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import letters, number_groups, panel_title
from cdgm.plotting.labels import setting_label
from cdgm.plotting.legends import block_handles, legend, strip_handles
from cdgm.plotting.scales import share_range
from cdgm.plotting.series import Series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import Look, new_figure, theme
from cdgm.utils.errors import bad_input

ROWS = {
    "recovery_cc": "recovery\n(mean canonical correlation)",
    "leakage_cc": "leakage\n(mean canonical correlation)",
    "time": "time, CPU ms\nof one step of one member",
    "memory": "peak memory of the fit, MB",
}
COST_COLOUR = "#444444"


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """One column of panels for each size that grows; settings are named ``<size>_<number>``.

    Raises
    ------
    UserError
        If a setting has another name, recovery was not scored, or the table of costs is missing.
    """
    scores = _sized(rows_of(tables, "scores", study), study)
    need(scores, study, metric="recovery_cc")
    if "costs" not in tables:
        raise bad_input(f"study {study!r}", "tables", sorted(tables), "a table of costs beside the scores")
    costs = _sized(pick(tables["costs"], study=study, stage="fit"), study)
    per_step = 1000 * costs["cpu_seconds"] / (costs["members"] * costs["steps"])
    of_metric = {"time": costs.assign(value=per_step), "memory": costs.assign(value=costs["memory_mb"])}
    blocks = colours_of(tables, study)[1]
    grown = list(dict.fromkeys(scores["axis"]))
    figure = new_figure(3.2 * len(grown) + 0.6, 8.4)
    panels = figure.subplots(len(ROWS), len(grown), sharex="col", sharey="row", squeeze=False)
    data = FigureData()
    letter = letters()
    for row, (metric, label) in zip(panels, ROWS.items(), strict=True):
        for axes, name in zip(row, grown, strict=True):
            panel = next(letter)
            sizes = sorted(pick(scores, axis=name)["size"].unique())
            places = np.log10(sizes)
            if metric in of_metric:
                rows = pick(of_metric[metric], axis=name).assign(metric=metric).sort_values("size")
                at = {"x": np.log10(rows["size"]), "y": rows["value"]}
                sns.lineplot(**at, color=COST_COLOUR, marker="s", markersize=5, ax=axes)
                if (rows["value"] > 0).any():
                    axes.set_yscale("log")
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                data.add(panel, "job", rows)
            else:
                rows = pick(scores, axis=name, metric=metric, twist=0.0)
                series = [
                    Series({"block": block, "source": main_source(rows, block)}, Look(colour))
                    for block, colour in blocks.items()
                ]
                step = 0.7 * min(np.diff(places), default=0.5) / len(series)
                groups = [{"size": size} for size in sizes]
                strips(
                    axes, rows, groups, series, data, panel, category="x", at=places, step=step,
                    join=[0] * len(sizes), size=16,
                )  # fmt: skip
            panel_title(axes, panel)
            number_groups(axes, [_short(size) for size in sizes], places)
            axes.set(xlabel="", ylabel="")
        row[0].set_ylabel(label, visible=True)
    share_range(panels[0], "y", 0.0, 1.0)
    share_range(panels[1], "y", 0.0, 0.2)
    for axes, name in zip(panels[-1], grown, strict=True):
        axes.set_xlabel(setting_label(name), visible=True)
    legend(figure, [*block_handles(blocks), *strip_handles()], columns=2)
    return figure, data.table()


def _sized(rows: pd.DataFrame, study: str) -> pd.DataFrame:
    """Rows with what grows (``axis``) and how large it is (``size``), read from the setting's name."""
    named = rows["setting"].str.extract(r"^([a-z]+)_([0-9]+)$")
    if named[0].isna().any():
        wrong = rows["setting"][named[0].isna()].iloc[0]
        raise bad_input(f"study {study!r}", "setting", wrong, "a name and a number, as in points_1000")
    return rows.assign(axis=named[0], size=named[1].astype(float))


def _short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
