"""Marks that figures of several variants share: looks of a variant, horizontal lanes of seeds, scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cdgm.evaluation.table_slices import median_of, pick, seeds_of
from cdgm.plotting import style
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import Line, of_line, swept

# Paul Tol's vibrant and dark colours; the marker tells them apart a second time.
COLOURS = ("#000000", "#0077BB", "#EE7733", "#009988", "#CC3311", "#AA3377", "#33A6DD", "#8C6D00", "#777777")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
#: Scores of leakage are linear up to this and logarithmic beyond: .003 and .07 are as far as .07 and .9.
LEAKAGE_LINEAR = 0.02


#: Source, block, truth and colour of a strip or lane of seeds.
Member = tuple[str, str, str, str]


@dataclass(frozen=True)
class Look:
    """Colour and marker of a variant."""

    colour: str
    marker: str


def looks_of(variants: Sequence[str], colours: Sequence[str] = COLOURS) -> dict[str, Look]:
    """A look for each variant, by its place in the study."""
    return {v: Look(colours[i % len(colours)], MARKERS[i % len(MARKERS)]) for i, v in enumerate(variants)}


def number(value: float) -> str:
    """A number as an axis shows it, with a true minus sign: 0.25, 10,000."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}")


def line_label(line: Line) -> str:
    """Name of a variant at a point of its sweep: "fixed-grid, ratio.background = 0.25"."""
    values = [f"{key.replace('_', ' ')} = {number(value)}" for key, value in swept(line[1])[1].items()]
    return ", ".join([style.variant_label(line[0]), *values])


def short_label(line: Line) -> str:
    """Name of a variant with its one swept number: "fixed-grid ×4"."""
    values = list(swept(line[1])[1].values())
    return f"{style.variant_label(line[0])} ×{number(values[0])}" if len(values) == 1 else line_label(line)


def lane(
    axes: Axes,
    rows: pd.DataFrame,
    position: float,
    step: float,
    colour: str,
    data: SourceData,
    panel: str,
    *,
    marker: str = "o",
    size: float = 13.0,
) -> None:
    """One horizontal lane: all seeds, their median, the null band, and the source data of these.

    Parameters
    ----------
    rows
        Rows of one score, one a fit. Fits that turned non-finite are not drawn, but are in the source data.
    position, step
        Centre and height of the lane.
    """
    if rows.empty:
        return
    rows = rows.sort_values("seed", kind="stable")
    high = median_of(rows["null_high"])
    style.null_band(axes, high, (position - step / 2, position + step / 2), horizontal=True)
    good = rows[rows["finite"]]
    mark = {"width": step * 0.8, "marker": marker, "size": size}
    median = style.strip(axes, position, good["value"], colour, horizontal=True, **mark)
    data.add(panel, "seed", good)
    data.add(panel, "left out", rows[~rows["finite"]])
    data.add(panel, "median", rows.iloc[:1], seed=None, value=median)
    if np.isfinite(high):
        data.add(panel, "null_high", rows.iloc[:1], seed=None, value=high)


def rule_lanes(axes: Axes, count: int) -> None:
    """Order, rules and no grid for ``count`` groups of lanes, the first at the top."""
    axes.set_ylim(count - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for i in range(count - 1):
        axes.axhline(i + 0.5, color="#DDDDDD", linewidth=0.7, zorder=0.5)


def lanes(
    axes: Axes,
    rows: pd.DataFrame,
    lines: Sequence[Line],
    members: Sequence[tuple[str, str, str, str]],
    data: SourceData,
    panel: str,
) -> None:
    """Horizontal lanes of all seeds: a group a line, and in it one for each (source, block, truth, colour).

    ``rows`` are those of one metric and one setting. Null bands, medians and source data included.
    """
    step = 0.8 / max(len(members), 1)
    for i, line in enumerate(lines):
        mine = of_line(rows, line)
        for j, (source, block, truth, colour) in enumerate(members):
            own = pick(mine, source=source, block=block, truth=truth, twist=0.0)
            position = i + (j - (len(members) - 1) / 2) * step
            lane(axes, own, position, step, colour, data, panel)


def name_lanes(axes: Axes, lines: Sequence[Line], rows: pd.DataFrame | None = None) -> None:
    """Ticks, rules and order of lanes; with ``rows`` of one setting, how many of its fits are missing."""
    rule_lanes(axes, len(lines))
    axes.set_yticks(range(len(lines)), [line_label(line) for line in lines])
    if rows is None:
        return
    for i, line in enumerate(lines):
        mine = of_line(rows, line)
        note = "not fitted" if mine.empty else lost(mine)
        if note:
            axes.annotate(
                note,
                (1.0, i),
                xycoords=("axes fraction", "data"),
                xytext=(-2, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7.5,
                color="#555555",
                zorder=6,
            )


def lost(rows: pd.DataFrame) -> str:
    """How many fits of an arm diverged, "" if none did."""
    good, every = seeds_of(rows)
    bad = len(every) - len(good)
    return f"{bad} of {len(every)} diverged" if bad else ""


def leakage_scale(panels: Sequence[Axes], which: str, *, least: float = 0.2) -> None:
    """One scale for all panels of leakage: linear near zero, logarithmic beyond.

    Never finer than ``least``: noise shall look small.
    """
    low, high = 0.0, least
    for axes in panels:
        ends = getattr(axes.dataLim, f"interval{which}")
        if np.isfinite(ends).all():
            low, high = min(low, ends[0]), max(high, ends[1])
    ticks = [t for t in (-0.5, -0.1, -0.02, 0.0, 0.02, 0.1, 0.5, 1.0) if low - 0.005 <= t <= high * 1.1]
    for axes in panels:
        getattr(axes, f"set_{which}scale")("symlog", linthresh=LEAKAGE_LINEAR, linscale=0.6)
        getattr(axes, f"set_{which}lim")(low - 0.004, high * 1.12)
        axis = getattr(axes, f"{which}axis")
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(round(value, 6))))


def share_range(
    panels: Sequence[Axes], which: str, low: float | None = None, high: float | None = None
) -> None:
    """One linear range for several panels, from all their data and at least the given ends."""
    ends = [getattr(axes.dataLim, f"interval{which}") for axes in panels]
    found = np.array([e for e in ends if np.isfinite(e).all()]).ravel()
    values = np.array([*found, *(v for v in (low, high) if v is not None)])
    if not len(values):
        return
    bottom, top = values.min(), values.max()
    margin = 0.05 * (top - bottom) or 0.5
    for axes in panels:
        getattr(axes, f"set_{which}lim")(bottom - margin, top + margin)
