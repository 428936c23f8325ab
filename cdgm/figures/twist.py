"""Figure ``twist``: one fit scored against truths that the data cannot tell apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cdgm.evaluation.metrics.twist_bounds import twisted_recovery
from cdgm.evaluation.table_slices import Tables, arms_of, main_source, median_of, need, of_arm, pick, rows_of
from cdgm.figures.recovery import OTHER_FIGURE
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import bands, panel_title
from cdgm.plotting.labels import arm_label, metric_title, with_missing
from cdgm.plotting.legends import block_handles, legend, line_handle, strip_handles
from cdgm.plotting.series import Series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import Look, new_figure, theme
from cdgm.utils.errors import bad_input
from cdgm.utils.joint_names import JOINT

PANELS = {
    "recovery_cc": "recovery of the turned truth",
    "entanglement_r2": "what only both blocks together explain",
    "leakage_cc": "linear leakage",
    "leakage_r2_nonlinear": "nonlinear leakage",
}
CLOSED_FORM = {"linewidth": 1.3, "linestyle": "--"}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Recovery, entanglement and leakage against the twist of the truth that a fit is scored against.

    Raises
    ------
    UserError
        If no setting of the study was scored against twisted truths, or a metric is missing.
    """
    scores = rows_of(tables, "scores", study)
    scores = scores[~scores["setting"].str.contains(OTHER_FIGURE, regex=False)]
    recovery = need(scores, study, metric="recovery_cc")
    arms = arms_of(recovery)
    arm = max(arms, key=lambda a: of_arm(recovery, a)["twist"].nunique())
    scores = of_arm(scores, arm)
    if of_arm(recovery, arm)["twist"].nunique() < 2:
        expected = "a setting scored against twisted truths"
        raise bad_input(f"scores of study {study!r}", "twist", [0.0], expected)
    for metric in PANELS:
        need(scores, study, metric=metric)
    blocks = colours_of(tables, study)[1]

    figure = new_figure(9.0, 7.0)
    (band,) = bands(figure, [with_missing(f"Fits of the setting “{arm_label(arm, arms)}”", scores, " ")])
    panels = dict(zip(PANELS, band.subplots(2, 2, sharex=True).flat, strict=True))
    data = FigureData()
    for (metric, axes), letter in zip(panels.items(), "abcd", strict=True):
        # Recoveries lie apart and meet the closed form at their angle; the others are set side by side.
        dodge = 0.0 if metric == "recovery_cc" else 0.42
        _against_angle(axes, pick(scores, metric=metric), dodge, blocks, data, letter)
        axes.set_ylabel(metric_title(metric))
        panel_title(axes, letter, PANELS[metric])
    angles = sorted(scores["twist"].unique())
    lower = [panels["leakage_cc"], panels["leakage_r2_nonlinear"]]
    for axes in lower:
        axes.set_xlabel("twist c of the truth (radians per unit norm)")
        axes.set_xticks(angles, [f"{c:g}" for c in angles])
    handles = block_handles(blocks)
    closed = _closed_form(scores, _twisted_block(pick(scores, metric="recovery_cc")))
    if closed is not None:
        line, label = closed
        axes = panels["recovery_cc"]
        sns.lineplot(line, x="twist", y="value", ax=axes, color="black", zorder=2.5, **CLOSED_FORM)
        axes.set_ylabel(metric_title("recovery_cc"))
        data.add("a", "closed_form", line)
        handles.append(line_handle(label, "black", **CLOSED_FORM))
    panels["recovery_cc"].set_ylim(0.0, 1.04)
    _span([panels["entanglement_r2"]], -0.03, 0.2)
    _span(lower, -0.02, 0.2)
    for axes in lower:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    legend(figure, [*handles[:2], *strip_handles(), *handles[2:]], columns=2)
    return figure, data.table()


def _against_angle(
    axes: Axes, rows: pd.DataFrame, dodge: float, blocks: dict[str, str], data: FigureData, letter: str
) -> None:
    """Strips of all seeds at each angle, over the null; side by side by ``dodge`` of the smallest gap.

    A joint score belongs to several blocks: it takes the colour of the truth that it explains.
    """
    joint = rows["block"].str.contains(JOINT, regex=False)
    rows = rows.assign(coloured=rows["block"].where(~joint, rows["truth"]))
    angles = sorted(rows["twist"].unique())
    gap = min(np.diff(angles), default=1.0)
    series = []
    for block, colour in blocks.items():
        mine = pick(rows, coloured=block)
        for truth in mine["truth"].unique():
            found = pick(mine, truth=truth)
            own = JOINT in found["block"].iloc[0]
            source = found["source"].iloc[0] if own else main_source(rows, block)
            series.append(Series({"coloured": block, "truth": truth, "source": source}, Look(colour)))
    groups = [{"twist": angle} for angle in angles]
    for j, one in enumerate(series):
        shift = (j - (len(series) - 1) / 2) * dodge * gap
        at = [angle + shift for angle in angles]
        strips(axes, rows, groups, [one], data, letter, category="x", at=at, step=0.42 * gap)


def _twisted_block(recovery: pd.DataFrame) -> str:
    """The block whose recovery the twist moves most: twisting leaves the other blocks' truths as they are.

    "" if no fit finished.
    """
    if not recovery["finite"].any():
        return ""
    medians = recovery[recovery["finite"]].groupby(["block", "twist"], sort=False)["value"].median().unstack()
    return str((medians.max(axis=1) - medians.min(axis=1)).idxmax())


def _closed_form(scores: pd.DataFrame, twisted: str) -> tuple[pd.DataFrame, str] | None:
    """Expected recovery of the twisted block on a fine grid of angles, with its label.

    It needs the dimensions of the two blocks. Where fitted and true ones agree, all are active, so the
    largest number of active ones over seeds stands for both; the label says which were taken. None if
    they weren't scored, or if more than one other block could be the one that turns.
    """
    source = main_source(pick(scores, metric="recovery_cc"), twisted)
    dims = pick(scores, metric="active_dims", source=source)
    others = [b for b in dims["block"].unique() if b != twisted]
    dims = dims[dims["finite"]].groupby("block")["value"].max()
    start = pick(scores, metric="recovery_cc", block=twisted, source=source, twist=0.0, finite=True)
    start = median_of(start["value"])
    if twisted not in dims.index or len(others) != 1 or others[0] not in dims.index or not np.isfinite(start):
        return None
    own, other = int(dims[twisted]), int(dims[others[0]])
    if own < 1 or other < 1:
        return None
    grid = np.linspace(0.0, scores["twist"].max(), 81)
    values = [start * twisted_recovery(c, own, other) for c in grid]
    label = f"closed form, {own} {twisted} and {other} {others[0]} dimensions, from the median at c = 0"
    place = {"block": twisted, "truth": twisted, "source": source, "metric": "recovery_cc"}
    return pd.DataFrame({"twist": grid, "value": values}).assign(**place), label


def _span(panels: list[Axes], low: float, high: float) -> None:
    """One y axis for all panels, which spans at least from ``low`` to ``high``."""
    ends = np.array([axes.get_ylim() for axes in panels])
    for axes in panels:
        axes.set_ylim(min(ends.min(), low), max(ends.max(), high))
