"""Figure ``assumptions``: recovery and leakage where one assumption at a time is broken."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from cdgm.evaluation.table_slices import Tables, arms_of, fits_of, of_arm, pick
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import name_groups, panel_title
from cdgm.plotting.labels import arm_label, with_missing
from cdgm.plotting.legends import block_handles, legend, strip_handle, strip_handles
from cdgm.plotting.scales import leakage_scale
from cdgm.plotting.series import Series, block_series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import Look, new_figure, theme

TITLES = {
    "recovery_cc": ("recovery", "mean canonical\ncorrelation"),
    "leakage_r2": ("leakage, linear", "R² of another\nblock's truth"),
    "leakage_r2_nonlinear": ("leakage, nonlinear", "R² of another\nblock's truth"),
    "noise_sd": ("learned noise", "standard deviation,\nunits of the data"),
    "dispersion_median": ("learned dispersion", "median over\nfeatures"),
}
LEAKAGE = ("leakage_r2", "leakage_r2_nonlinear")
#: Parameters of the likelihood, which belong to no block.
LEARNED = ("noise_sd", "dispersion_median")
LEARNED_COLOUR = "#333333"


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A group of strips a setting: recovery, leakage in all directions, and what the likelihood learned.

    Raises
    ------
    UserError
        If recovery or linear leakage was not scored.
    """
    scores = fits_of(tables, study, "recovery_cc", "leakage_r2")
    metrics = [m for m in TITLES if pick(scores, metric=m)["finite"].any()]
    arms = arms_of(scores)
    groups = [{"setting": setting, "variant": variant} for setting, variant in arms]
    names = [with_missing(arm_label(arm, arms, width=22), of_arm(scores, arm)) for arm in arms]
    blocks = colours_of(tables, study)[1]

    figure = new_figure(10.0, 1.8 + 0.46 * len(arms))
    panels = dict(zip(metrics, figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0], strict=True))
    data = FigureData()
    for letter, (metric, axes) in zip("abcdefgh", panels.items(), strict=False):
        rows = pick(scores, metric=metric, twist=0.0)
        series = block_series(scores, metric, blocks)
        if metric in LEARNED:
            columns = ["source", "block", "truth"]
            places = rows[columns].drop_duplicates().itertuples(index=False)
            series = [Series(dict(zip(columns, at, strict=True)), Look(LEARNED_COLOUR)) for at in places]
        strips(axes, rows, groups, series, data, letter, step=0.8 / max(len(series), 2), size=14)
        title, unit = TITLES[metric]
        panel_title(axes, letter, title)
        axes.set_xlabel(unit)
        name_groups(axes, names)
        if metric in LEARNED:
            _logarithmic(axes)
    panels["recovery_cc"].set_xlim(0.0, 1.03)
    leakage_scale([panels[m] for m in LEAKAGE if m in panels], "x")
    handles = block_handles(blocks)
    if set(metrics) & set(LEARNED):
        handles.append(strip_handle(LEARNED_COLOUR, "parameter of the likelihood"))
    legend(figure, [*handles, *strip_handles()], columns=3)
    return figure, data.table()


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis that spans at least a factor of 4, with 1, 2 and 5 in each decade."""
    low, high = axes.dataLim.intervalx
    if not (np.isfinite(low) and low > 0):
        return
    middle, reach = np.sqrt(low * high), max(np.sqrt(high / low) * 1.15, 2.0)
    axes.set_xscale("log")
    axes.set_xlim(middle / reach, middle * reach)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if reach > 10 else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
