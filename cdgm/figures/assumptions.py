"""Figure ``assumptions``: recovery and leakage where one assumption at a time is broken."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cdgm.evaluation.table_slices import Arm, Tables, arms_of, fits_of, of_arm, order_of, pick
from cdgm.plotting import style
from cdgm.plotting.lanes import lane, leakage_scale, lost, rule_lanes
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import scored_on

TITLES = {
    "recovery_cc": ("recovery", "mean canonical\ncorrelation"),
    "leakage_r2": ("leakage, linear", "R² of another\nblock's truth"),
    "leakage_r2_nonlinear": ("leakage, nonlinear", "R² of another\nblock's truth"),
    "noise_sd": ("learned noise", "standard deviation,\nunits of the data"),
    "dispersion_median": ("learned dispersion", "median over\nfeatures"),
}
LEAKAGE = ("leakage_r2", "leakage_r2_nonlinear")
#: What the likelihood learned, of no block.
LEARNED = ("noise_sd", "dispersion_median")
LEARNED_COLOUR = "#333333"


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Lanes of settings: recovery, leakage in all directions, and what the likelihood learned.

    Raises
    ------
    UserError
        If recovery or linear leakage was not scored.
    """
    scores = fits_of(tables, study, "recovery_cc", "leakage_r2")
    metrics = [m for m in TITLES if pick(scores, metric=m)["finite"].any()]
    arms = arms_of(scores)
    blocks = order_of(tables, study)[1]
    colours = style.colours(blocks, style.BLOCK_COLOURS)

    figure = style.new_figure(10.0, 1.6 + 0.46 * len(arms))
    panels = dict(zip(metrics, figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0], strict=True))
    data = SourceData()
    for letter, (metric, axes) in zip("abcdefgh", panels.items(), strict=False):
        members = [(s, b, t, colours[b]) for s, b, t in scored_on(scores, metric, blocks)]
        if metric in LEARNED:
            places = pick(scores, metric=metric)[["source", "block", "truth"]].drop_duplicates()
            members = [(*p, LEARNED_COLOUR) for p in places.itertuples(index=False, name=None)]
        _lanes(axes, pick(scores, metric=metric, twist=0.0), arms, members, data, letter)
        title, unit = TITLES[metric]
        style.panel_title(axes, letter, title)
        axes.set_xlabel(unit)
        rule_lanes(axes, len(arms))
        if metric in LEARNED:
            _logarithmic(axes)
    panels["recovery_cc"].set_xlim(0.0, 1.03)
    leakage_scale([panels[m] for m in LEAKAGE if m in panels], "x")
    first = panels["recovery_cc"]
    first.set_yticks(range(len(arms)), [_label(arm, arms, scores) for arm in arms])
    handles: list[object] = [style.point_handle(colours[b], f"{b} block") for b in blocks]
    if set(metrics) & set(LEARNED):
        handles.append(style.point_handle(LEARNED_COLOUR, "parameter of the likelihood"))
    figure.legend(handles=[*handles, style.null_handle()], loc="outside upper center", ncols=4)
    return figure, data.table()


def _lanes(
    axes: Axes,
    rows: pd.DataFrame,
    arms: list[Arm],
    members: list[tuple[str, str, str, str]],
    data: SourceData,
    letter: str,
) -> None:
    step = 0.8 / max(len(members), 2)
    for i, arm in enumerate(arms):
        for j, (source, block, truth, colour) in enumerate(members):
            own = pick(of_arm(rows, arm), source=source, block=block, truth=truth)
            place = i + (j - (len(members) - 1) / 2) * step
            lane(axes, own, place, step, colour, data, letter, size=14)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis of at least a factor of 4, with 1, 2 and 5 in each decade."""
    low, high = axes.dataLim.intervalx
    if not (np.isfinite(low) and low > 0):
        return
    middle, reach = np.sqrt(low * high), max(np.sqrt(high / low) * 1.15, 2.0)
    axes.set_xscale("log")
    axes.set_xlim(middle / reach, middle * reach)
    wide = reach > 10
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(arm: Arm, arms: list[Arm], scores: pd.DataFrame) -> str:
    note = lost(of_arm(scores, arm))
    return style.arm_label(arm, arms, width=22) + (f"\n({note})" if note else "")
