"""Figure ``twist``: one fit scored against truths that the data cannot tell apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cdgm.evaluation.metrics.bounds import twisted_recovery
from cdgm.evaluation.table_slices import (
    Tables,
    arms_of,
    finished,
    main_source,
    median_of,
    need,
    of_arm,
    order_of,
    pick,
    rows_of,
)
from cdgm.figures.recovery import OTHER_FIGURE
from cdgm.plotting import style
from cdgm.plotting.source_data import SourceData
from cdgm.utils.errors import bad_input
from cdgm.utils.joint_names import JOINT

LEAKAGES = ("leakage_cc", "leakage_r2_nonlinear")


@style.style()
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
    if of_arm(recovery, arm)["twist"].nunique() < 2:
        raise bad_input(
            f"scores of study {study!r}", "twist", [0.0], "a setting scored against twisted truths"
        )
    scores = of_arm(scores, arm)
    for metric in ("entanglement_r2", *LEAKAGES):
        need(scores, study, metric=metric)
    blocks = order_of(tables, study)[1]
    colours = style.colours(blocks, style.BLOCK_COLOURS)
    twisted = _twisted_block(pick(scores, metric="recovery_cc"))

    figure = style.new_figure(9.0, 6.6)
    panels = figure.subplots(2, 2, sharex=True)
    data = SourceData()
    plan = (
        (panels[0, 0], "recovery_cc", "recovery of the turned truth"),
        (panels[0, 1], "entanglement_r2", "what only both blocks together know of it"),
        (panels[1, 0], "leakage_cc", "linear leakage"),
        (panels[1, 1], "leakage_r2_nonlinear", "nonlinear leakage"),
    )
    for (axes, metric, title), letter in zip(plan, "abcd", strict=True):
        # Recoveries lie apart and shall meet the closed form at their angle; the others are set side by side.
        dodge = 0.0 if metric == "recovery_cc" else 0.42
        _against_angle(axes, pick(scores, metric=metric), dodge, colours, data, letter)
        axes.set_ylabel(style.metric_title(metric))
        style.panel_title(axes, letter, title)
    angles = sorted(scores["twist"].unique())
    for axes in panels[1]:
        axes.set_xlabel("twist c of the truth (radians per unit norm)")
        axes.set_xticks(angles, [f"{c:g}" for c in angles])
    closed = _closed_form(scores, twisted)
    handles = [style.point_handle(colours[b], f"{b} block") for b in blocks]
    if closed is not None:
        line, label = closed
        panels[0, 0].plot(
            line["twist"], line["value"], color="black", linewidth=1.3, linestyle="--", zorder=2.5
        )
        data.add("a", "closed_form", line)
        handles.append(Line2D([], [], color="black", linewidth=1.3, linestyle="--", label=label))
    panels[0, 0].set_ylim(0.0, 1.04)
    _at_least(panels[0, 1], -0.03, 0.2)
    low = min(axes.get_ylim()[0] for axes in panels[1])
    high = max(axes.get_ylim()[1] for axes in panels[1])
    for axes in panels[1]:
        axes.set_ylim(min(low, -0.02), max(high, 0.2))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    figure.legend(handles=[*handles, style.null_handle()], loc="outside upper center", ncols=2)
    note = finished(scores)
    figure.supxlabel(
        f"Fits to: {style.arm_label(arm, arms)}" + (f" ({note})" if note else ""),
        fontsize=8.5,
        x=0.01,
        ha="left",
    )
    return figure, data.table()


def _against_angle(
    axes: Axes,
    rows: pd.DataFrame,
    dodge: float,
    colours: dict[str, str],
    data: SourceData,
    letter: str,
) -> None:
    """Strips of all seeds at each angle, over the null; side by side by ``dodge`` of the smallest gap.

    A joint score belongs to several blocks: it takes the colour of the truth that it explains.
    """
    joint = rows["block"].str.contains(JOINT, regex=False)
    rows = rows.assign(lane=rows["block"].where(~joint, rows["truth"]))
    angles = sorted(rows["twist"].unique())
    gap = min(np.diff(angles), default=1.0)
    lanes = [(b, t) for b in colours for t in _truths(rows, b)]
    for j, (block, truth) in enumerate(lanes):
        lane = pick(rows, lane=block, truth=truth)
        source = lane["source"].iloc[0] if JOINT in lane["block"].iloc[0] else main_source(rows, block)
        lane = pick(lane, source=source).sort_values(["twist", "seed"])
        shift = (j - (len(lanes) - 1) / 2) * dodge * gap
        for angle in angles:
            at = pick(lane, twist=angle)
            good = at[at["finite"]]
            median = style.strip(
                axes, angle + shift, good["value"], colours[block], width=0.36 * gap, size=13
            )
            high = median_of(at["null_high"])
            style.null_band(axes, high, (angle + shift - 0.21 * gap, angle + shift + 0.21 * gap))
            data.add(letter, "seed", good)
            data.add(letter, "left out", at[~at["finite"]])
            for kind, value in (("median", median), ("null_high", high)):
                data.add(letter, kind, at.iloc[:1], seed=None, value=value)


def _truths(rows: pd.DataFrame, block: str) -> list[str]:
    return list(pick(rows, lane=block)["truth"].unique())


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
    start = pick(scores, metric="recovery_cc", block=twisted, source=source, twist=0.0)
    start = median_of(start[start["finite"]]["value"])
    if twisted not in dims.index or len(others) != 1 or others[0] not in dims.index or not np.isfinite(start):
        return None
    own, other = int(dims[twisted]), int(dims[others[0]])
    if own < 1 or other < 1:
        return None
    grid = np.linspace(0.0, scores["twist"].max(), 81)
    values = [start * twisted_recovery(c, own, other) for c in grid]
    label = f"closed form, {own} {twisted} and {other} {others[0]} dimensions, from the median at c = 0"
    line = pd.DataFrame({"twist": grid, "value": values}).assign(
        block=twisted, truth=twisted, source=source, metric="recovery_cc"
    )
    return line, label


def _at_least(axes: Axes, low: float, high: float) -> None:
    bottom, top = axes.get_ylim()
    axes.set_ylim(min(bottom, low), max(top, high))
