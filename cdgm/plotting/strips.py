"""Strips of seeds: a point for every fit, a bar at their median, a thin line for its interval."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cdgm.evaluation.intervals import median_interval
from cdgm.evaluation.table_slices import median_of, pick
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.series import Series
from cdgm.plotting.theme import NULL_COLOUR, Look

#: The axis on which groups lie.
Axis = Literal["x", "y"]
#: Share of a strip's room over which its points are spread.
SPREAD = 0.64
#: Share of a strip's room that the bar at the median takes.
BAR = 0.8


def interval_ends(values: Iterable[float]) -> tuple[float, float]:
    """Ends of the exact 95 % interval of the median, NaN where values are too few for one."""
    interval = median_interval(values)
    return interval.low, interval.high


def strips(
    axes: Axes,
    rows: pd.DataFrame,
    groups: Sequence[Mapping[str, object]],
    series: Sequence[Series],
    data: FigureData,
    panel: str,
    *,
    category: Axis = "y",
    at: Sequence[float] | np.ndarray | None = None,
    step: float | None = None,
    join: Sequence[Hashable] | None = None,
    null: bool = True,
    spread: float = SPREAD,
    size: float = 13.0,
) -> None:
    """Draw a strip for each series of each group, side by side.

    Points of a strip are spread in the order of seeds: nothing is random, and in strips of the same seeds
    the same place is the same seed. Fits that diverged leave their place empty.

    Parameters
    ----------
    rows
        Rows of scores, one a fit and strip.
    groups
        Values of columns that the rows of each group equal.
    series
        What the strips of a group show, and how.
    data, panel
        Where the drawn numbers are added, and the panel's name there.
    category
        Axis on which groups lie, ``x`` or ``y``.
    at
        Places of groups, by default 0, 1, ...
    step
        Room of a strip on that axis, by default 0.8 shared by all series.
    join
        A key for each group: medians of groups with equal keys are joined by a line.
    null
        Whether to shade up to the median over seeds of the null's 95 % quantile.
    spread
        Share of a strip's room over which its points are spread.
    size
        Area of a point in points squared.
    """
    places = range(len(groups)) if at is None else at
    step = 0.8 / max(len(series), 1) if step is None else step
    for j, one in enumerate(series):
        found = []
        for i, (group, place) in enumerate(zip(groups, places, strict=True)):
            own = pick(rows, **group, **one.where).sort_values("seed", kind="stable")
            middle = place + (j - (len(series) - 1) / 2) * step
            aside = np.linspace(-0.5, 0.5, len(own)) * spread * step if len(own) > 1 else 0.0
            found.append(own.assign(_group=i, _place=middle, _spread=middle + aside))
        drawn = pd.concat(found) if found else rows.iloc[:0]
        if not drawn.empty:
            _draw(axes, drawn, one.look, data, panel, category, step, join, null, size)


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    look: Look,
    data: FigureData,
    panel: str,
    category: Axis,
    step: float,
    join: Sequence[Hashable] | None,
    null: bool,
    size: float,
) -> None:
    """One look's strips of all groups."""
    good = rows[rows["finite"]]
    strip = rows.drop_duplicates("_group").set_index("_group")
    by_group = good.groupby("_group")["value"]
    # Fits that share a seed, as those of a sweep do, are not independent: there is no interval.
    sound = good[good.groupby("_group")["seed"].transform(lambda seeds: seeds.is_unique).astype(bool)]
    ends = {group: interval_ends(values) for group, values in sound.groupby("_group")["value"]}
    strip = strip.assign(
        value=by_group.median(),
        low=[ends.get(group, (np.nan, np.nan))[0] for group in strip.index],
        high=[ends.get(group, (np.nan, np.nan))[1] for group in strip.index],
        null_high=rows.groupby("_group")["null_high"].agg(median_of) if null else np.nan,
    )
    data.add(panel, "seed", good)
    data.add(panel, "left out", rows[~rows["finite"]])
    data.add(panel, "median", strip, seed=None)
    for kind, column in (("interval_low", "low"), ("interval_high", "high"), ("null_high", "null_high")):
        known = strip[np.isfinite(strip[column])]
        data.add(panel, kind, known, seed=None, value=known[column])

    def places(place: str) -> dict[str, str]:
        return {"x": "value", "y": place} if category == "y" else {"x": place, "y": "value"}

    for place, high in zip(strip["_place"], strip["null_high"], strict=True):
        null_band(axes, high, (place - step / 2, place + step / 2), category)
    if good.empty:
        return
    names = axes.get_xlabel(), axes.get_ylabel()
    mark: dict[str, Any] = {"color": look.colour, "ax": axes, "legend": False}
    sns.scatterplot(
        good, **places("_spread"), **mark, marker=look.marker, s=size, alpha=0.55, linewidth=0, zorder=3
    )
    if look.hollow:
        axes.collections[-1].set(facecolor="none", edgecolor=look.colour, linewidth=0.7)
    bars = axes.vlines if category == "y" else axes.hlines
    middle, half = strip["_place"], BAR * step / 2
    width = 1.2 if look.hollow else 2.2
    bars(strip["value"], middle - half, middle + half, color=look.colour, linewidth=width, zorder=4)
    if np.isfinite(strip["low"]).any():
        line = {"linewidth": 0.9, "alpha": 0.7, "zorder": 2.8}
        sns.pointplot(
            sound, **places("_place"), **mark, orient=category, native_scale=True, estimator="median",
            errorbar=interval_ends, err_kws=line, linestyle="none", marker="",
        )  # fmt: skip
    if join is not None:
        # A group without a median breaks the line.
        gaps = strip["value"].reindex(range(len(join))).isna().cumsum()
        strip = strip.assign(_join=[f"{gaps[i]} {join[i]}" for i in strip.index])
        line: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.8, "zorder": 2.5, "linestyle": look.line}
        sns.lineplot(
            strip, **places("_place"), **mark, **line, units="_join", estimator=None, orient=category
        )
    axes.set(xlabel=names[0], ylabel=names[1])


def null_band(axes: Axes, high: float, ends: tuple[float, float], category: Axis = "x") -> None:
    """Shade all up to the null's 95 % quantile between ``ends`` on the axis ``category``."""
    if not np.isfinite(high):
        return
    # From far below any score, whatever the limits of the axis will be; only the quantile widens them.
    low = high - 100.0
    corner, size, tip = (ends[0], low), (ends[1] - ends[0], high - low), (sum(ends) / 2, high)
    if category == "y":
        corner, size, tip = ((b, a) for a, b in (corner, size, tip))
    axes.add_artist(Rectangle(corner, *size, facecolor=NULL_COLOUR, edgecolor="none", zorder=1.5))
    axes.update_datalim([tip])
