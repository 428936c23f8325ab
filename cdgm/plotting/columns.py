"""Vertical strips of seeds, a column a fit, grouped by variant: what ``weights`` shows, metric by metric."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cdgm.evaluation.table_slices import median_of, pick
from cdgm.plotting import style
from cdgm.plotting.lanes import (
    Member,
    number,
)
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import Line, of_line, swept

#: Shade of a column in which a block was emptied; deeper the more seeds did.
EMPTIED = "#E58CA6"
EMPTIED_TEXT = "#8A1538"
#: Space between the columns of two variants, in columns.
GAP = 0.5


@dataclass(frozen=True)
class Columns:
    """Where each (variant, point) stands on the axis."""

    lines: tuple[Line, ...]

    @property
    def places(self) -> dict[Line, float]:
        """Centre of every column."""
        variants = list(dict.fromkeys(v for v, _ in self.lines))
        return {line: i + GAP * variants.index(line[0]) for i, line in enumerate(self.lines)}

    @property
    def groups(self) -> list[list[Line]]:
        """Columns of each variant."""
        variants = dict.fromkeys(v for v, _ in self.lines)
        return [[line for line in self.lines if line[0] == v] for v in variants]

    @property
    def ends(self) -> tuple[float, float]:
        """Limits of the axis."""
        places = list(self.places.values())
        return places[0] - 0.5 - GAP / 2, places[-1] + 0.5 + GAP / 2


def strips(
    axes: Axes,
    rows: pd.DataFrame,
    columns: Columns,
    members: Sequence[Member],
    data: SourceData,
    panel: str,
) -> None:
    """All seeds, medians and null bands of one metric in one setting; medians of a sweep are joined."""
    step = 0.84 / max(len(members), 1)
    for j, (source, block, truth, colour) in enumerate(members):
        mine = pick(rows, source=source, block=block, truth=truth, twist=0.0)
        shift = (j - (len(members) - 1) / 2) * step
        for group in columns.groups:
            medians = []
            for line in group:
                lane = of_line(mine, line).sort_values("seed")
                place = columns.places[line] + shift
                if lane.empty:
                    medians.append((place, np.nan))
                    continue
                high = median_of(lane["null_high"])
                style.null_band(axes, high, (place - step / 2, place + step / 2))
                good = lane[lane["finite"]]
                median = style.strip(axes, place, good["value"], colour, width=step * 0.8, size=11)
                medians.append((place, median))
                data.add(panel, "seed", good)
                data.add(panel, "left out", lane[~lane["finite"]])
                for kind, value in (("median", median), ("null_high", high)):
                    data.add(panel, kind, lane.iloc[:1], seed=None, value=value)
            axes.plot(*np.transpose(medians), color=colour, linewidth=0.9, alpha=0.8, zorder=2.5)


def reference(axes: Axes, rows: pd.DataFrame, plain: str, members: Sequence[Member]) -> None:
    """A dashed line through the panel at the plain fit's median, one a member."""
    for source, block, truth, colour in members:
        mine = pick(rows, variant=plain, source=source, block=block, truth=truth, twist=0.0, finite=True)
        level = median_of(mine["value"])
        if np.isfinite(level):
            axes.axhline(level, color=colour, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.8, zorder=2)


def dress(axes: Axes, columns: Columns, *, names: bool = False, numbers: bool = False) -> None:
    """Limits, rules between variants, variants above with ``names``, swept numbers below with ``numbers``."""
    axes.set_xlim(*columns.ends)
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)
    starts = [columns.places[group[0]] - 0.5 - GAP / 2 for group in columns.groups]
    for start in starts[1:]:
        axes.axvline(start, color="#CCCCCC", linewidth=0.8, zorder=0.5)
    labels = [_numbers(line) if numbers else "" for line in columns.lines]
    axes.set_xticks(list(columns.places.values()), labels, fontsize=7.5)
    if not names:
        return
    inches = axes.figure.get_figure(root=True).get_figwidth() - 1.0
    a_column = inches / (columns.ends[1] - columns.ends[0])
    for group in columns.groups:
        middle = np.mean([columns.places[line] for line in group])
        fits = max(7, int(a_column * (len(group) + GAP) / 0.075))
        axes.annotate(
            _title(group, fits),
            (middle, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            linespacing=1.15,
        )


def _title(group: Sequence[Line], width: int) -> str:
    """Name of a variant, and under it what was swept."""
    keys = list(dict.fromkeys(key for _, point in group for key in swept(point)[1]))
    texts = [style.variant_label(group[0][0]), *(re.sub("[._]", " ", key) for key in keys)]
    return "\n".join(line for text in texts for line in textwrap.wrap(text, width, break_long_words=False))


def _numbers(line: Line) -> str:
    return "\n".join(number(value) for value in swept(line[1])[1].values())


def emptied(rows: pd.DataFrame) -> dict[Line, tuple[int, int]]:
    """Of the finished fits of one setting: in how many some block is emptied, and how many there are.

    Emptied is a block with fewer active dimensions than its truth has, on some source where it is
    active; without a known truth, one with none.
    """
    keys = ["variant", "point", "seed", "source", "block"]
    active = pick(rows, metric="active_dims", finite=True).drop_duplicates(keys).set_index(keys)["value"]
    truth = pick(rows, metric="true_dims").drop_duplicates(keys).set_index(keys)["value"]
    needed = truth.reindex(active.index).fillna(1.0)
    found = (active < needed).groupby(level=["variant", "point", "seed"]).any()
    counts = found.groupby(level=["variant", "point"]).agg(["sum", "size"])
    return {line: (int(row["sum"]), int(row["size"])) for line, row in counts.iterrows()}


def shade(panels: Sequence[Axes], columns: Columns, rows: pd.DataFrame) -> dict[Line, tuple[int, int]]:
    """Tint columns in which a block was emptied, through all panels; notes stand in the last panel."""
    counts = emptied(rows)
    for line, place in columns.places.items():
        bad, every = counts.get(line, (0, 0))
        if bad:
            alpha = 0.2 + 0.4 * bad / every
            for axes in panels:
                axes.axvspan(place - 0.5, place + 0.5, color=EMPTIED, alpha=alpha, lw=0, zorder=0.2)
        lost = int((~of_line(rows, line).groupby("seed")["finite"].any()).sum())
        notes = [(f"{bad}/{every}", EMPTIED_TEXT)] if bad else []
        if of_line(rows, line).empty:
            notes.append(("not\nfitted", "#333333"))
        elif lost:
            notes.append((f"{lost} lost", "#333333"))
        for i, (text, colour) in enumerate(notes):
            panels[-1].annotate(
                text,
                (place, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, -1 - 9 * i),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=7.5,
                color=colour,
                linespacing=1.0,
                zorder=6,
            )
    return counts
