"""Figure ``recovery``: how well each block is recovered, and what it holds of others, by setting."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import (
    Arm,
    Tables,
    arms_of,
    finished,
    main_source,
    need,
    of_arm,
    order_of,
    pick,
    rows_of,
)
from cdgm.plotting import style
from cdgm.plotting.lanes import lane, rule_lanes
from cdgm.plotting.source_data import SourceData

#: The two-model arm of a study has a figure of its own.
OTHER_FIGURE = "twisted_decoder"
#: The third panel shows the first of these that was scored.
THIRD = ("leakage_r2_nonlinear", "leakage_cc_max", "leakage_r2")
TITLES = {
    "recovery_cc": "a block's own truth",
    "leakage_cc": "another block's truth, mean",
    "leakage_cc_max": "another block's truth, largest",
    "leakage_r2": "another block's truth, linear",
    "leakage_r2_nonlinear": "another block's truth, nonlinear",
}


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Recovery and leakage of every block in every setting: all seeds, median, null band.

    Raises
    ------
    UserError
        If recovery or leakage was not scored in the study.
    """
    scores = rows_of(tables, "scores", study)
    scores = scores[~scores["setting"].str.contains(OTHER_FIGURE, regex=False)]
    need(scores, study, metric="recovery_cc")
    need(scores, study, metric="leakage_cc")
    third = next((m for m in THIRD if (scores["metric"] == m).any()), None)
    metrics = ["recovery_cc", "leakage_cc", *filter(None, [third])]
    arms = arms_of(scores)
    blocks = order_of(tables, study)[1]
    colours = style.colours(blocks, style.BLOCK_COLOURS)

    figure = style.new_figure(9.6, 1.5 + 0.62 * len(arms))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    data = SourceData()
    for axes, metric, letter in zip(panels, metrics, "abc", strict=False):
        _panel(axes, pick(scores, metric=metric, twist=0.0), metric, arms, colours, data, letter)
        style.panel_title(axes, letter, TITLES.get(metric, metric.split("_")[0]))
    panels[0].set_xlim(0.0, 1.02)
    _share_leakage_scale(panels[1:])
    panels[0].set_yticks(range(len(arms)), [_label(arm, arms, scores) for arm in arms])
    for axes in panels:
        rule_lanes(axes, len(arms))
    handles = [style.point_handle(colours[b], f"{b} block") for b in blocks]
    figure.legend(handles=[*handles, style.null_handle()], loc="outside upper center", ncols=len(handles) + 1)
    return figure, data.table()


def _panel(
    axes: Axes,
    rows: pd.DataFrame,
    metric: str,
    arms: list[Arm],
    colours: dict[str, str],
    data: SourceData,
    letter: str,
) -> None:
    axes.set_xlabel(style.metric_title(metric).replace(" (", "\n("))
    lanes = _lanes(rows, list(colours))
    if not lanes:
        return
    step = 0.8 / len(lanes)
    for i, arm in enumerate(arms):
        for j, (block, truth) in enumerate(lanes):
            own = pick(of_arm(rows, arm), block=block, truth=truth)
            own = pick(own, source=main_source(of_arm(rows, arm), block))
            position = i + (j - (len(lanes) - 1) / 2) * step
            lane(axes, own, position, step, colours[block], data, letter, size=16)


def _lanes(rows: pd.DataFrame, blocks: list[str]) -> list[tuple[str, str]]:
    """(block, truth) pairs that were scored, in the order of blocks."""
    pairs = rows[["block", "truth"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted((p for p in pairs if p[0] in blocks), key=lambda pair: blocks.index(pair[0]))


def _label(arm: Arm, arms: list[Arm], scores: pd.DataFrame) -> str:
    note = finished(of_arm(scores, arm))
    return style.arm_label(arm, arms, width=24) + (f"\n({note})" if note else "")


def _share_leakage_scale(panels: list[Axes]) -> None:
    """One scale for all leakage panels, never finer than a fifth of the whole: noise shall look small."""
    low = min([axes.get_xlim()[0] for axes in panels], default=0.0)
    high = max([axes.get_xlim()[1] for axes in panels], default=0.0)
    for axes in panels:
        axes.set_xlim(min(low, 0.0), max(high, 0.2))
