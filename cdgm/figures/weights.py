"""Figure ``weights``: leakage, recovery, evidence and size of blocks against the weight of a penalty."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from cdgm.evaluation.table_slices import Tables, fits_of, median_of, pick
from cdgm.plotting.elbo_differences import plain_variant, with_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import NOTE, bands, number_groups, panel_title, zero_line
from cdgm.plotting.labels import number, setting_label, variant_label
from cdgm.plotting.legends import (
    block_handles,
    elbo_handles,
    legend,
    line_handle,
    strip_handles,
    tint_handle,
)
from cdgm.plotting.scales import scale_by_metric, share_range
from cdgm.plotting.series import Series, colours_of, series_of
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept, swept_variants
from cdgm.plotting.theme import new_figure, theme

TITLES = {
    "leakage_r2": ("another block's truth in a block", "linear R²"),
    "recovery_cc": ("a block's own truth", "mean canonical\ncorrelation"),
    "elbo_difference": ("held-out ELBO less {plain}'s", "nats per point,\nsame seed"),
    "kl": ("KL of a private block from its prior", "nats per point"),
    "active_dims": ("active dimensions", "dimensions"),
}
HEIGHTS = {"leakage_r2": 1.5, "recovery_cc": 1.2, "elbo_difference": 1.2, "kl": 1.0, "active_dims": 1.2}
#: Tint of a column in which a block was emptied; deeper the more seeds did.
EMPTIED = "#E58CA6"
EMPTIED_TEXT = "#8A1538"
DASHED = {"color": "#555555", "linestyle": (0, (4, 3)), "zorder": 2}
#: Space between the columns of two variants, in columns.
GAP = 0.5
#: Inches of a column below which text that belongs to it is turned upright.
NARROW = 0.45
#: Characters of a turned name on a line.
TURNED = 16


@dataclass(frozen=True)
class _Layout:
    """Columns of all panels: one a variant and weight, grouped by variant."""

    columns: tuple[SweptVariant, ...]

    @property
    def variants(self) -> list[str]:
        """Variant of each column."""
        return [variant for variant, _ in self.columns]

    @property
    def places(self) -> np.ndarray:
        """Centre of each column on the axis."""
        order = list(dict.fromkeys(self.variants))
        return np.array([i + GAP * order.index(v) for i, v in enumerate(self.variants)])

    @property
    def width(self) -> float:
        """Length of the axis, in columns."""
        return float(np.ptp(self.places)) + 1 + GAP


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A stack of panels a setting; a column a variant and weight, all seeds in it.

    Raises
    ------
    UserError
        If recovery or linear leakage was not scored.
    """
    scores = fits_of(tables, study, "recovery_cc", "leakage_r2")
    plain = plain_variant(tables, study)
    scores = with_differences(scores, plain)
    series = series_of(tables, study, scores, TITLES)
    settings = list(dict.fromkeys(scores["setting"]))
    layout = _Layout(tuple(swept_variants(scores)))

    height = 0.75 + sum(HEIGHTS[metric] for metric in series)
    figure = new_figure(min(max(1.2 + 0.9 * layout.width, 7.5), 10.0), 0.9 + height * len(settings))
    data = FigureData()
    grids = [
        _setting(band, pick(scores, setting=setting), series, layout, plain, data)
        for band, setting in zip(bands(figure, [setting_label(s) for s in settings]), settings, strict=True)
    ]
    _scales({metric: [grid[metric] for grid in grids] for metric in series})
    legend(figure, _handles(tables, study, plain), columns=3)
    return figure, data.table()


def _setting(
    band: SubFigure,
    rows: pd.DataFrame,
    series: dict[str, list[Series]],
    layout: _Layout,
    plain: str,
    data: FigureData,
) -> dict[str, Axes]:
    ratios = [HEIGHTS[metric] for metric in series]
    grid = band.subplots(len(series), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    panels = dict(zip(series, grid, strict=True))
    groups = [{"variant": variant, "point": point} for variant, point in layout.columns]
    inches = (band.get_figure(root=True).get_figwidth() - 1.0) / layout.width
    turned = 90.0 if inches < NARROW else 0.0
    names = _variant_names(layout, inches)
    # Of a turned name the length counts, in lines of text that stands upright.
    lines = max(TURNED * 0.55 if upright else name.count("\n") + 1 for name, upright in names.values())
    for letter, (metric, axes) in zip("abcdefgh", panels.items(), strict=False):
        mine = pick(rows, metric=metric, twist=0.0)
        place = {"category": "x", "at": layout.places, "join": layout.variants, "size": 11}
        strips(axes, mine, groups, series[metric], data, letter, **place)
        if metric == "elbo_difference":
            zero_line(axes, "y", **DASHED)
        elif metric == "active_dims":
            _true_dims(axes, rows, series[metric], letter, data)
        elif plain:
            for one in series[metric]:
                level = median_of(pick(mine, variant=plain, finite=True, **one.where)["value"])
                zero_line(axes, "y", level, **DASHED | {"color": one.look.colour, "alpha": 0.8})
        title, unit = TITLES[metric]
        # Names of variants stand above the first panel, where a title would run into them.
        pad = 8.0 + 10.5 * lines if letter == "a" else 3.0
        panel_title(axes, letter, title.format(plain=variant_label(plain)), pad=pad)
        axes.set_ylabel(unit, fontsize=8.5)
        _columns(axes, layout)
    for place, (name, upright) in names.items():
        _above(grid[0], place, name, va="bottom", offset=4, fontsize=8.5, rotation=90.0 if upright else 0.0)
    numbers = [_numbers(column) for column in layout.columns]
    grid[-1].set_xticks(layout.places, numbers, fontsize=7.5, rotation=turned)
    for (variant, point), bad in _tint_emptied(list(grid), layout, rows, turned).items():
        place = {"setting": rows["setting"].iloc[0], "variant": variant, "point": point}
        data.add(letter, "emptied", **place, value=bad)
    band.align_ylabels(grid)
    return panels


def _columns(axes: Axes, layout: _Layout) -> None:
    """Limits of the axis of columns, and rules between variants."""
    number_groups(axes, [""] * len(layout.columns), layout.places)
    axes.set_xlim(layout.places[0] - 0.5 - GAP / 2, layout.places[-1] + 0.5 + GAP / 2)
    for i in np.flatnonzero(np.diff(layout.places) > 1):
        axes.axvline(layout.places[i + 1] - 0.5 - GAP / 2, color="#CCCCCC", linewidth=0.8, zorder=0.5)


def _variant_names(layout: _Layout, inches: float) -> dict[float, tuple[str, bool]]:
    """Name of each variant, and under it what was swept, by the middle of its columns; and if it is turned.

    A name over a single narrow column is turned, and tells nothing of what was swept.
    """
    found = {}
    for variant in dict.fromkeys(layout.variants):
        mine = [i for i, name in enumerate(layout.variants) if name == variant]
        keys = dict.fromkeys(key for i in mine for key in swept(layout.columns[i][1])[1])
        middle = float(layout.places[mine].mean())
        if len(mine) == 1 and inches < NARROW:
            found[middle] = "\n".join(textwrap.wrap(variant_label(variant), TURNED)), True
            continue
        texts = [variant_label(variant), *(re.sub("[._]", " ", key) for key in keys)]
        width = max(7, int(inches * (len(mine) + GAP) / 0.075))
        lines = [line for text in texts for line in textwrap.wrap(text, width, break_long_words=False)]
        found[middle] = "\n".join(lines), False
    return found


def _numbers(column: SweptVariant) -> str:
    return "\n".join(number(value) for value in swept(column[1])[1].values())


def _above(axes: Axes, place: float, text: str, offset: float, **options: Any) -> None:
    """Text at the upper end of a panel, ``offset`` points above it."""
    options |= {"textcoords": "offset points", "ha": "center", "linespacing": 1.1}
    axes.annotate(text, (place, 1.0), (0, offset), xycoords=("data", "axes fraction"), **options)


def _emptied(rows: pd.DataFrame) -> dict[SweptVariant, tuple[int, int]]:
    """Of the finished fits of one setting: in how many some block is emptied, and how many there are.

    A block is emptied if it has fewer active dimensions than its truth on a source where it is active;
    without a known truth, if it has none.
    """
    keys = ["variant", "point", "seed", "source", "block"]
    active = pick(rows, metric="active_dims", finite=True).drop_duplicates(keys).set_index(keys)["value"]
    truth = pick(rows, metric="true_dims").drop_duplicates(keys).set_index(keys)["value"]
    found = active < truth.reindex(active.index).fillna(1.0)
    found = found.groupby(level=["variant", "point", "seed"]).any()
    counts = found.groupby(level=["variant", "point"]).agg(["sum", "size"])
    return {
        (variant, point): (int(bad), int(every))
        for (variant, point), bad, every in zip(counts.index, counts["sum"], counts["size"], strict=True)
    }


def _tint_emptied(
    panels: Sequence[Axes], layout: _Layout, rows: pd.DataFrame, turned: float
) -> dict[SweptVariant, int]:
    """Tint columns in which a block was emptied, through all panels; counts stand in the last panel."""
    counts = _emptied(rows)
    for column, place in zip(layout.columns, layout.places, strict=True):
        bad, every = counts.get(column, (0, 0))
        notes = []
        if bad:
            for axes in panels:
                tint = {"color": EMPTIED, "alpha": 0.2 + 0.4 * bad / every, "linewidth": 0, "zorder": 0.2}
                axes.axvspan(place - 0.5, place + 0.5, **tint)
            notes.append((f"{bad}/{every}", EMPTIED_TEXT))
        mine = of_swept(rows, column)
        lost = int((~mine.groupby("seed")["finite"].any()).sum())
        if mine.empty or lost:
            notes.append((f"{lost} lost" if lost else "not\nfitted", "#333333"))
        for i, (text, colour) in enumerate(notes):
            _above(
                panels[-1],
                place,
                text,
                offset=-1 - 9 * i,
                va="top",
                rotation=turned,
                **NOTE | {"color": colour},
            )
    return {column: bad for column, (bad, _) in counts.items()}


def _true_dims(axes: Axes, rows: pd.DataFrame, series: list[Series], letter: str, data: FigureData) -> None:
    for one in series:
        block, colour = one.where["block"], one.look.colour
        truth = pick(rows, metric="true_dims", source=one.where["source"], block=block)["value"].max()
        if np.isfinite(truth):
            zero_line(axes, "y", truth, color=colour, linewidth=1.1, zorder=2)
            data.add(letter, "true_dims", setting=rows["setting"].iloc[0], block=block, value=truth)


def _scales(panels: dict[str, list[Axes]]) -> None:
    """The same scale for all settings."""
    scale_by_metric(panels, "y")
    counted = panels.get("active_dims", [])
    most = max((axes.dataLim.ymax for axes in counted), default=1.0)
    # Above the dots there is room for the counts of fits.
    share_range(counted, "y", 0.0, 1.5 * max(most, 1.0) if np.isfinite(most) else 1.0)
    for axes in counted:
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _handles(tables: Tables, study: str, plain: str) -> list[Artist]:
    sources, blocks = colours_of(tables, study)
    handles = [*block_handles(blocks)]
    if plain:
        handles += elbo_handles(sources)
        handles.append(line_handle(f"{variant_label(plain)}, median", linestyle=(0, (4, 3))))
    handles.append(line_handle("true dimensions", linestyle=":", linewidth=1.1))
    text = "a block has too few active dimensions (in how many fits)"
    return [*handles, *strip_handles(), tint_handle((EMPTIED, 0.5), text)]
