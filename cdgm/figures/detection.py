"""Figure ``detection``: which score without truth tells that a fit went wrong, over all simulated studies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from cdgm.evaluation.detection import COLUMNS
from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE
from cdgm.evaluation.table_slices import Tables, pick
from cdgm.evaluation.truth_free import SCORES
from cdgm.plotting.frames import name_groups, panel_title, zero_line
from cdgm.plotting.theme import new_figure, theme

COLOURS = {"moved": "#D55E00", "inherited": "#7F7F7F", "lost": "#0072B2"}
NAMES = {"moved": "moved", "inherited": "shared truth in private block", "lost": "recovery lost"}
LEGEND: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.4, 1.07), "ncols": 3, "fontsize": 7.5}
CLOUDS = {"not moved": "#009E73", "moved": "#D55E00"}
SHARES = {"sensitivity": "#D55E00", "specificity": "#009E73"}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Areas under the curve by score, errors of the frozen threshold by group, and all ratios of axes.

    Parameters
    ----------
    tables
        ``scores``: the table of members; ``detection``: that of areas and thresholds
        (:mod:`cdgm.evaluation.detection`).
    study
        The target, which is not shown.
    """
    found, members = tables["detection"], tables["scores"]
    numbers = [column for column in COLUMNS[COLUMNS.index("n") :] if column != "rule"]
    found = found.assign(**{column: pd.to_numeric(found[column], errors="coerce") for column in numbers})
    frozen = found[(found["score"] == "axis_asymmetry") & (found["rule"] == "frozen")]
    groups = frozen[frozen["grouping"] != "all"].drop_duplicates("group")
    names = list(groups["group"])
    figure = new_figure(11, 1.4 + 0.24 * max(len(names), len(SCORES)))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 0.9, 1.3))
    return figure, pd.concat(
        [
            _areas(left, found[found["grouping"] == "all"]),
            _shares(middle, groups),
            _ratios(right, members, groups),
        ],
        ignore_index=True,
    )


def _areas(axes: Axes, rows: pd.DataFrame) -> pd.DataFrame:
    """A dot and its interval for each score and fault."""
    rows = rows.drop_duplicates(["fault", "score"])
    order = pick(rows, fault="moved").sort_values("auc", ascending=False, na_position="last")["score"]
    for shift, (fault, colour) in zip((-0.22, 0, 0.22), COLOURS.items(), strict=True):
        mine = pick(rows, fault=fault).set_index("score").reindex(order)
        _intervals(axes, mine, "auc", np.arange(len(mine)) + shift, colour, NAMES[fault])
    zero_line(axes, "x", 0.5)
    name_groups(axes, [SCORES[score][0] for score in order])
    axes.set(xlim=(0, 1.02), xlabel="area under the curve")
    axes.legend(**LEGEND)
    panel_title(axes, "a", "scores, over all fits")
    return rows.assign(panel="a", value=rows["auc"])


def _shares(axes: Axes, groups: pd.DataFrame) -> pd.DataFrame:
    """Sensitivity and specificity of the frozen threshold in each group."""
    places = np.arange(len(groups))
    for shift, (share, colour) in zip((-0.13, 0.13), SHARES.items(), strict=True):
        _intervals(axes, groups, share, places + shift, colour, share)
    name_groups(
        axes, [_label(*row) for row in groups[["group", "grouping", "n_fault", "n"]].itertuples(index=False)]
    )
    axes.set(xlim=(-0.02, 1.02), xlabel=f"asymmetric axis above {ALIVE_IN_ONE:g}")
    axes.legend(**LEGEND)
    panel_title(axes, "b", "moved dimensions")
    return groups.assign(panel="b")


def _ratios(axes: Axes, members: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Every fit's largest ratio, in the rows of panel b."""
    parts = [
        members[members[str(row.grouping)] == row.group].assign(row=i)
        for i, row in enumerate(groups.itertuples())
    ]
    points = pd.concat(parts, ignore_index=True) if parts else members.assign(row=0)
    label = np.where(pd.to_numeric(points["moved"]) == 1, "moved", "not moved")
    points = points.assign(value=pd.to_numeric(points["axis_asymmetry"]), label=label)
    # Spread in the order of the table: nothing is random.
    order = points.groupby(["row", "label"]).cumcount() + 0.5
    size = points.groupby(["row", "label"])["row"].transform("size")
    points["place"] = points["row"] + np.where(label == "moved", 0.2, -0.2) + 0.34 * (order / size - 0.5)
    sns.scatterplot(
        points, x="value", y="place", hue="label", hue_order=list(CLOUDS), palette=CLOUDS, ax=axes, s=6,
        alpha=0.6, linewidth=0,
    )  # fmt: skip
    axes.set_xscale("log")
    zero_line(axes, "x", ALIVE_IN_ONE)
    name_groups(axes, [""] * len(groups))
    axes.xaxis.set_major_locator(FixedLocator([1, 3, 10, 30]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticklabels(["1", "3", "10", "30"])
    axes.set(xlabel="variance over variance", ylabel="")
    axes.legend(**LEGEND | {"markerscale": 2})
    panel_title(axes, "c", "each fit's most asymmetric axis")
    kept = ["study", "setting", "variant", "point", "seed", "label", "value"]
    return points[kept].assign(panel="c")


def _intervals(
    axes: Axes, rows: pd.DataFrame, name: str, places: np.ndarray, colour: str, label: str
) -> None:
    values, low, high = (
        rows[column].to_numpy(dtype=float) for column in (name, f"{name}_low", f"{name}_high")
    )
    axes.hlines(places, low, high, color=colour, linewidth=1.3)
    axes.plot(values, places, "o", color=colour, markersize=4.5, label=label, clip_on=False)


def _label(group: str, grouping: str, n_fault: float, n: float) -> str:
    """Name of a group, and how many of its fits moved a dimension."""
    what = "terms: " if grouping == "terms" else ""
    return f"{what}{group.replace('_', ' ')} ({n_fault:.0f} of {n:.0f})"
