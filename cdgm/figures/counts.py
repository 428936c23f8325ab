"""Figure ``counts``: recovery and leakage over a swept number, beside what the true model's posterior has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cdgm.evaluation.table_slices import BASELINES, Tables, median_of, need, order_of, pick, rows_of
from cdgm.plotting import style
from cdgm.plotting.lanes import Look, leakage_scale, looks_of, lost, number
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import scored_on, swept
from cdgm.utils.errors import bad_input

CEILING = "ceiling"
#: Width of the space that the series of one place share, in decades of the axis.
SPREAD = 0.2


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A panel a block's recovery and a direction of leakage; a line a setting, hollow and dashed its ceiling.

    Raises
    ------
    UserError
        If settings do not sweep exactly one number, or recovery or linear leakage was not scored.
    """
    scores = rows_of(tables, "scores", study)
    need(scores, study, metric="recovery_cc")
    need(scores, study, metric="leakage_r2")
    key, scores = _swept_one(scores, study)
    blocks = order_of(tables, study)[1]
    fits = scores[~scores["variant"].isin(BASELINES)]
    panels = [("recovery_cc", *place) for place in scored_on(fits, "recovery_cc", blocks)]
    panels += [("leakage_r2", *place) for place in scored_on(fits, "leakage_r2", blocks)]
    pairs = fits[["base", "variant"]].drop_duplicates()
    arms = list(pairs.itertuples(index=False, name=None))
    looks = {arm: look for arm, look in zip(arms, looks_of([str(a) for a in arms]).values(), strict=True)}

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(9.0, 1.0 + 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    data = SourceData()
    leaks = []
    places = sorted(scores["at"].unique())
    for axes, panel, letter in zip(grid.flat, panels, "abcdefghijklmnopqrstuvwxyz", strict=False):
        metric, source, block, truth = panel
        mine = pick(scores, metric=metric, source=source, block=block, truth=truth, twist=0.0)
        _panel(axes, mine, looks, letter, data)
        recovered = metric == "recovery_cc"
        style.panel_title(axes, letter, f"{block} recovered" if recovered else f"{truth} truth in {block}")
        axes.set_ylabel("mean canonical correlation" if recovered else "linear R²")
        if recovered:
            axes.set_ylim(0.0, 1.03)
        else:
            leaks.append(axes)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(round(value, 6))))
        axes.set_xlim(places[0] * 10 ** -(SPREAD * 0.8), places[-1] * 10 ** (SPREAD * 0.8))
        axes.grid(visible=False, axis="x")
    leakage_scale(leaks, "y")
    for axes in grid[-1]:
        axes.set_xlabel(_title(key))
    figure.legend(handles=_handles(scores, looks), loc="outside upper center", ncols=3)
    return figure, data.table()


def _swept_one(scores: pd.DataFrame, study: str) -> tuple[str, pd.DataFrame]:
    """The swept name, and the scores of swept settings with their numbers as the column ``at``."""
    labels = {setting: swept(setting) for setting in scores["setting"].unique() if "@" in setting}
    keys = list(dict.fromkeys(key for _, values in labels.values() for key in values))
    if len(keys) != 1 or min(min(values.values()) for _, values in labels.values()) <= 0:
        expected = "settings with one swept number above 0, as in 'poisson@n_features=30'"
        found = list(scores["setting"].unique())[:3]
        raise bad_input(f"scores of study {study!r}", "setting", found, expected)
    scores = scores[scores["setting"].isin(labels)]
    return keys[0], scores.assign(
        base=[labels[s][0] for s in scores["setting"]], at=[labels[s][1][keys[0]] for s in scores["setting"]]
    )


def _panel(
    axes: Axes,
    rows: pd.DataFrame,
    looks: dict[tuple[str, str], Look],
    letter: str,
    data: SourceData,
) -> None:
    high = max((median_of(r["null_high"]) for _, r in _fits(rows).groupby("setting")), default=np.nan)
    if np.isfinite(high):
        # Wider than the axis on both sides; its logarithm needs numbers above 0.
        style.null_band(axes, high, (rows["at"].min() / 10, rows["at"].max() * 10))
        data.add(letter, "null_high", _fits(rows).iloc[:1], seed=None, value=high, setting=None)
    for i, (arm, look) in enumerate(looks.items()):
        base, variant = arm
        # A series and its ceiling lie side by side, so that no seed hides another.
        shift = ((i + 0.5) / len(looks) - 0.5) * SPREAD
        own = pick(rows, base=base, variant=variant)
        _series(axes, own, look, shift - SPREAD * 0.12 / len(looks), letter, data, hollow=False)
        if variant == next(v for b, v in looks if b == base):
            top = pick(rows, base=base, variant=CEILING)
            _series(axes, top, look, shift + SPREAD * 0.3 / len(looks), letter, data, hollow=True)


def _fits(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["variant"].isin(BASELINES)]


def _series(
    axes: Axes,
    rows: pd.DataFrame,
    look: Look,
    shift: float,
    letter: str,
    data: SourceData,
    *,
    hollow: bool,
) -> None:
    """Seeds as small marks, medians as large ones with a line through them."""
    rows = rows.sort_values(["at", "seed"])
    good = rows[rows["finite"]]
    kind = "ceiling" if hollow else "seed"
    data.add(letter, kind, good, x=good["at"].to_numpy())
    data.add(letter, "left out", rows[~rows["finite"]])
    if good.empty:
        return
    small: dict[str, object] = {"s": 12, "linewidths": 0.5, "alpha": 0.6, "zorder": 3}
    face = {"facecolor": "none", "edgecolor": look.colour} if hollow else {"color": look.colour}
    axes.scatter(good["at"] * 10**shift, good["value"], marker=look.marker, **small, **face)
    medians = good.groupby("at")["value"].median()
    axes.plot(
        medians.index * 10**shift,
        medians,
        color=look.colour,
        marker=look.marker,
        markersize=6,
        markerfacecolor="white" if hollow else look.colour,
        markeredgewidth=1.1,
        linewidth=1.1 if hollow else 1.6,
        linestyle=(0, (4, 2)) if hollow else "-",
        zorder=3.5 if hollow else 4,
    )
    for at, value in medians.items():
        first = pick(rows, at=at).iloc[:1]
        kind = "ceiling median" if hollow else "median"
        data.add(letter, kind, first, seed=None, value=value, x=at)


def _title(key: str) -> str:
    return "number of features" if key == "n_features" else key.replace("_", " ").replace(".", " ")


def _handles(scores: pd.DataFrame, looks: dict[tuple[str, str], Look]) -> Sequence[object]:
    handles: list[object] = []
    several = len({variant for _, variant in looks}) > 1
    for (base, variant), look in looks.items():
        mine = pick(scores, base=base, variant=variant)
        gone = [
            f"{s.rpartition('=')[2]}: {lost(r)}" for s, r in mine.groupby("setting", sort=False) if lost(r)
        ]
        label = style.setting_label(base) + (f", {style.variant_label(variant)}" if several else "")
        label += f" ({'; '.join(gone)})" if gone else ""
        handles.append(style.point_handle(look.colour, label, look.marker))
    if (scores["variant"] == CEILING).any():
        handles.append(
            Line2D(
                *([], []),
                color=style.REFERENCE_COLOUR,
                marker="o",
                markersize=6,
                markerfacecolor="white",
                linestyle=(0, (4, 2)),
                label="true model's posterior means",
            )
        )
    return [*handles, style.null_handle()]
