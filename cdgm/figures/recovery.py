"""Figure ``recovery``: how well each block is recovered, and what it holds of others, by setting."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import Tables, arms_of, main_source, need, of_arm, pick, rows_of
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import name_groups, panel_title
from cdgm.plotting.labels import arm_label, metric_title, with_missing
from cdgm.plotting.legends import block_handles, legend, strip_handles
from cdgm.plotting.series import Series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import Look, new_figure, theme

#: The models with a twisted decoder have a figure of their own, ``two_models``.
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


@theme()
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
    blocks = colours_of(tables, study)[1]
    groups = [{"setting": setting, "variant": variant} for setting, variant in arms]

    figure = new_figure(9.6, 1.5 + 0.62 * len(arms))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    data = FigureData()
    for axes, metric, letter in zip(panels, metrics, "abc", strict=False):
        rows = pd.concat(_on_main_source(of_arm(pick(scores, metric=metric, twist=0.0), a)) for a in arms)
        places = rows[["block", "truth"]].drop_duplicates().itertuples(index=False, name=None)
        series = [
            Series({"block": block, "truth": truth}, Look(blocks[block]))
            for block, truth in sorted(places, key=lambda place: list(blocks).index(place[0]))
        ]
        strips(axes, rows, groups, series, data, letter, size=16)
        axes.set_xlabel(metric_title(metric).replace(" (", "\n("))
        panel_title(axes, letter, TITLES[metric])
        name_groups(axes, [with_missing(arm_label(a, arms, width=24), of_arm(scores, a)) for a in arms])
    panels[0].set_xlim(0.0, 1.02)
    # One scale for all leakage, which spans at least a fifth, so that noise is not magnified.
    low, high = (min if i == 0 else max for i in (0, 1))
    ends = low(axes.get_xlim()[0] for axes in panels[1:]), high(axes.get_xlim()[1] for axes in panels[1:])
    for axes in panels[1:]:
        axes.set_xlim(min(ends[0], 0.0), max(ends[1], 0.2))
    legend(figure, [*block_handles(blocks), *strip_handles()], columns=4)
    return figure, data.table()


def _on_main_source(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of each block on the source where it can mix with most others."""
    judged = {block: main_source(rows, block) for block in rows["block"].unique()}
    return rows[rows["source"] == rows["block"].map(judged)]
