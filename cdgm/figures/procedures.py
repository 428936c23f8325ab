"""Figure ``procedures``: lost dimensions and recovery against the number of fits that a result takes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.intervals import share_interval
from cdgm.evaluation.moved_dimensions import LOST
from cdgm.evaluation.table_slices import Tables, fits_of, order_of, pick
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import letters, number_groups, panel_title
from cdgm.plotting.labels import UNITS, number, setting_label, swept_label
from cdgm.plotting.legends import legend, median_handle, strip_handle
from cdgm.plotting.series import Series, scored_on
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept_variants
from cdgm.plotting.theme import Look, looks, new_figure, theme

#: Room of a variant on the axis of fits, in doublings.
STEP = 0.11


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A column a setting: share of seeds with a lost dimension, and recovery of each block, over fits taken.

    A variant without a procedure takes one fit; one with several points of a procedure is joined by a line.

    Raises
    ------
    UserError
        If recovery was not scored.
    """
    scores = fits_of(tables, study, "recovery_cc")
    settings = list(dict.fromkeys(scores["setting"]))
    variants = swept_variants(scores)
    # Points of a procedure are one series; those of another sweep are series of their own.
    several = set(pick(scores, metric="fits_taken")["variant"])
    series_of = {v: (v[0], "") if v[0] in several else v for v in variants}
    named = list(dict.fromkeys(series_of.values()))
    look = looks(named)
    places = scored_on(scores, "recovery_cc", order_of(tables, study)[1])
    figure = new_figure(1.0 + 2.7 * max(len(settings), 2), 1.2 + 2.2 * (1 + len(places)))
    grid = figure.subplots(1 + len(places), len(settings), squeeze=False, sharex=True, sharey="row")
    data = FigureData()
    letter = letters()
    lost = _lost(scores, places)
    doublings = {s: {v: _doublings(pick(scores, setting=s), v) for v in variants} for s in settings}
    for column, setting in enumerate(settings):
        at = _aside(doublings[setting], series_of, named)
        axes, panel = grid[0, column], next(letter)
        panel_title(axes, panel, setting_label(setting))
        for variant in variants:
            rows = of_swept(pick(lost, setting=setting), variant)
            if len(rows):
                _share(axes, rows, at[variant], look[series_of[variant]], data, panel)
        axes.set_ylim(-0.04, 1.04)
    for row, (source, block, truth) in enumerate(places, start=1):
        of_block = pick(scores, metric="recovery_cc", source=source, block=block, truth=truth, twist=0.0)
        for column, setting in enumerate(settings):
            at = _aside(doublings[setting], series_of, named)
            axes, panel = grid[row, column], next(letter)
            panel_title(axes, panel)
            axes.set_ylim(0.0, 1.03)
            here = pick(of_block, setting=setting)
            for name in named:
                points = [v for v in variants if series_of[v] == name]
                groups = [{"variant": variant, "point": point} for variant, point in points]
                strips(
                    axes, here, groups, [Series({}, look[name])], data, panel,
                    category="x", at=[at[v] for v in points], step=STEP,
                    join=[name] * len(points), null=False, size=9.0,
                )  # fmt: skip
    for axes, title in zip(
        grid[:, 0],
        [
            "share of seeds with\na lost dimension",
            *(f"{b} recovered\n({UNITS['recovery_cc']})" for _, b, _ in places),
        ],
        strict=True,
    ):
        axes.set_ylabel(title)
    most = max((d for of_setting in doublings.values() for d in of_setting.values()), default=0.0)
    ticks = np.arange(int(np.ceil(most)) + 1)
    for axes in grid.flat:
        number_groups(axes, [number(2.0**tick) for tick in ticks], ticks)
    for axes in grid[-1]:
        axes.set_xlabel("fits of a seed")
    legend(figure, _handles(look), columns=3)
    return figure, data.table()


def _lost(scores: pd.DataFrame, places: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Whether a block has lost a dimension in each fit: 1 or 0 as the value of a row a fit."""
    own = [pick(scores, metric="recovery_cc", source=s, block=b, truth=t, twist=0.0) for s, b, t in places]
    fits = pd.concat(own).groupby(["setting", "variant", "point", "seed"], sort=False)
    found = fits.agg(value=("value", "min"), finite=("finite", "all")).reset_index()
    return found.assign(value=(found["value"] <= LOST).astype(float), metric="lost_share")


def _doublings(rows: pd.DataFrame, variant: SweptVariant) -> float:
    """Fits of a seed that a variant takes, mean over seeds, as a power of two; one without a procedure."""
    taken = of_swept(pick(rows, metric="fits_taken"), variant)["value"].dropna()
    return float(np.log2(taken.mean())) if len(taken) else 0.0


def _aside(
    doublings: dict[SweptVariant, float],
    series_of: dict[SweptVariant, SweptVariant],
    named: list[SweptVariant],
) -> dict[SweptVariant, float]:
    """Place of each variant: its number of fits, and to the side of others by its own place among them."""
    return {v: d + STEP * (named.index(series_of[v]) - (len(named) - 1) / 2) for v, d in doublings.items()}


def _share(axes: Axes, rows: pd.DataFrame, at: float, look: Look, data: FigureData, panel: str) -> None:
    good = rows[rows["finite"]]
    share = share_interval(int(good["value"].sum()), len(good))
    axes.vlines(at, share.low, share.high, color=look.colour, linewidth=1.1, zorder=2.5)
    axes.plot(at, share.estimate, look.marker, color=look.colour, markersize=5.5, zorder=3)
    for kind, value in zip(("share", "interval_low", "interval_high"), share, strict=False):
        data.add(panel, kind, rows.iloc[:1], seed=None, value=value, x=at)


def _handles(look: dict[SweptVariant, Look]) -> list[Artist]:
    return [
        *(strip_handle(one.colour, swept_label(v), one.marker) for v, one in look.items()),
        median_handle(),
    ]
