"""Histories as curves over training: a thin line for every seed, a thick one for their median."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.typing import ColorType, LineStyleType

from cdgm.plotting.figure_data import FigureData


def running_means(rows: pd.DataFrame, window: int = 1, *, center: bool = False) -> pd.DataFrame:
    """Running means of one recorded quantity, steps in rows and (point, seed) in columns.

    Parameters
    ----------
    rows
        Rows of a history: one quantity of one source or block in one arm.
    window
        Recorded steps that a mean covers, fewer at the ends.
    center
        Centre the window on its step; otherwise it ends there.

    Returns
    -------
    DataFrame
        NaN where nothing finite was recorded: a mean neither fills a gap nor outlives its fit.
    """
    table = rows.pivot(index="step", columns=["point", "seed"], values="value").sort_index()
    table = table.where(np.isfinite(table))
    return table.rolling(window, center=center, min_periods=1).mean().where(table.notna())


def draw_curves(
    axes: Axes,
    rows: pd.DataFrame,
    colour: ColorType,
    data: FigureData,
    panel: str,
    *,
    window: int = 1,
    center: bool = False,
    end_is_loss: bool = False,
    width: float = 1.6,
    alpha: float = 0.35,
    dash: LineStyleType = "-",
) -> None:
    """Draw one quantity of one arm, and add it to the source data.

    Parameters
    ----------
    rows, window, center
        See :func:`running_means`.
    end_is_loss
        A fit without a last value diverged: a cross marks its end, and the median leaves it out.
    width, alpha, dash
        Width and dashes of the median, opacity of the seeds.
    """
    if rows.empty:
        return
    names = axes.get_xlabel(), axes.get_ylabel()
    axes.set(xlabel="step", ylabel="value")  # seaborn would name the axes, if their ticks are visible
    table = running_means(rows, window, center=center)
    lost = table.iloc[-1].isna() if end_is_loss else pd.Series(False, table.columns)
    place = rows.iloc[:1].drop(columns=["seed", "step", "value"])
    if rows["point"].nunique() > 1:
        place["point"] = ""
    for kind, part in (("seed", table.loc[:, ~lost]), ("left out", table.loc[:, lost])):
        drawn = part.melt(ignore_index=False).reset_index().dropna()
        if drawn.empty:
            continue
        drawn["unit"] = drawn.groupby(["point", "seed"]).ngroup()
        sns.lineplot(
            drawn, x="step", y="value", units="unit", estimator=None, color=colour, linewidth=0.6,
            alpha=alpha, zorder=2, legend=False, ax=axes,
        )  # fmt: skip
        data.add(panel, kind, drawn.merge(place.drop(columns="point"), how="cross"))
        if kind == "left out":
            ends = drawn.groupby("unit").last()
            cross = {"marker": "x", "s": 25, "linewidth": 1.0, "zorder": 5}
            sns.scatterplot(ends, x="step", y="value", color=colour, ax=axes, **cross)
        else:
            median = part.median(axis=1).rename("value").dropna().reset_index()
            line = {"linewidth": width, "linestyle": dash, "zorder": 4}
            sns.lineplot(median, x="step", y="value", estimator=None, color=colour, ax=axes, **line)
            data.add(panel, "median", median.merge(place, how="cross"), seed=None)
    axes.set(xlabel=names[0], ylabel=names[1])
