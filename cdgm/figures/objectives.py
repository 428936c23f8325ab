"""Figure ``objectives``: the sources' ELBOs against each other, with recovery and leakage beside them.

Settings with a swept number are drawn by :mod:`cdgm.plotting.rates`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from cdgm.evaluation.table_slices import Tables, fits_of, median_of, order_of, pick, rows_of
from cdgm.plotting import style
from cdgm.plotting.lanes import (
    Look,
    lanes,
    leakage_scale,
    looks_of,
    lost,
    number,
    share_range,
    short_label,
)
from cdgm.plotting.paired import EVIDENCE_LINEAR, elbo_differences, signed_scale
from cdgm.plotting.rates import draw_rates
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import Line, lines_of, of_line, plain_variant, scored_on, swept
from cdgm.utils.errors import bad_input

BETTER = "#E3F1E8"
#: Colours of variants here: none is like those of blocks, which stand beside them.
COLOURS = ("#332288", "#000000", "#882255", "#117733", "#44AA99", "#AA4499", "#999933", "#777777")


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """One source's evidence against the other's, as the difference to the plain fit of the same seed.

    Raises
    ------
    UserError
        If ELBOs, recovery or linear leakage were not scored, the study has not two sources, or it has no
        variant without a sweep to compare with.
    """
    scores = fits_of(tables, study, "elbo", "recovery_cc", "leakage_r2")
    plain = plain_variant(tables, study)
    if not plain:
        found = list(dict.fromkeys(scores["variant"]))
        raise bad_input(f"scores of study {study!r}", "variant", found, "also one without a sweep or penalty")
    plain = _equal_weights(tables, scores, plain)
    sources, blocks = order_of(tables, study)
    variants = list(dict.fromkeys(scores["variant"]))
    looks = looks_of(variants, COLOURS)
    if any("@" in setting for setting in scores["setting"]):
        return draw_rates(scores, study, sources, blocks, looks, plain)
    if len(sources) != 2:
        raise bad_input(f"scores of study {study!r}", "source", sources, "two sources")

    lines = lines_of(scores)
    settings = list(dict.fromkeys(scores["setting"]))
    differences = elbo_differences(scores, plain)
    data = SourceData()
    width = max(10.0, 1.6 + 2.6 * len(settings))
    lane_height = 0.7 + 0.3 * len(lines)
    side = (width - 1.8) / len(settings)
    heights = [0.9 + min(side, 3.0), lane_height, lane_height]
    figure = style.new_figure(width, 1.0 + sum(heights))
    grid = figure.subplots(3, len(settings), squeeze=False, height_ratios=heights)
    for i, setting in enumerate(settings):
        mine = pick(scores, setting=setting)
        column = _letters(i, len(settings))
        top, middle, bottom = grid[:, i]
        _pareto(top, mine, pick(differences, setting=setting), sources, lines, looks, plain, data, column[0])
        style.panel_title(top, column[0], style.setting_label(setting))
        for axes, metric, letter in ((middle, "recovery_cc", column[1]), (bottom, "leakage_r2", column[2])):
            _lanes(axes, mine, metric, blocks, lines, looks, data, letter, first=i == 0)
    signed_scale(grid[0], "x", linear=EVIDENCE_LINEAR, low=-1.0, high=1.0)
    signed_scale(grid[0], "y", linear=EVIDENCE_LINEAR, low=-1.0, high=1.0)
    for axes in grid[0]:
        _better(axes)
    share_range(grid[1], "x", 0.0, 1.0)
    leakage_scale(grid[2], "x")
    handles = _handles(lines, looks, blocks, plain)
    figure.legend(handles=handles, loc="outside upper center", ncols=5)
    return figure, data.table()


def _letters(column: int, columns: int) -> list[str]:
    """Letters of a column's three panels, counted along rows."""
    return ["abcdefghijklmnopqrstuvwxyz"[(row * columns + column) % 26] for row in range(3)]


def _equal_weights(tables: Tables, scores: pd.DataFrame, plain: str) -> str:
    """The first unswept variant that weighs all sources alike throughout, else ``plain``.

    Only the history tells: weights by size come before equal ones in some studies.
    """
    if "history" not in tables:
        return plain
    weights = pick(rows_of(tables, "history", scores["study"].iloc[0]), quantity="weight")
    unswept = scores.loc[scores["point"] == "", "variant"].unique()
    variants = [v for v in unswept if v not in set(scores.loc[scores["point"] != "", "variant"])]
    for variant in variants[max(variants.index(plain), 0) :]:
        values = pick(weights, variant=variant)["value"].dropna()
        if len(values) and np.ptp(values) < 1e-6:
            return variant
    return plain


def _pareto(
    axes: Axes,
    scores: pd.DataFrame,
    differences: pd.DataFrame,
    sources: Sequence[str],
    lines: Sequence[Line],
    looks: dict[str, Look],
    plain: str,
    data: SourceData,
    letter: str,
) -> None:
    # Equal weights are a point of a sweep of ratios.
    ratios = any(key.startswith("ratio.") for _, point in lines for key in swept(point)[1])
    front: list[tuple[float, float, float]] = [(1.0, 0.0, 0.0)] if ratios else []
    for line in lines:
        if line[0] == plain:
            continue
        look = looks[line[0]]
        mine = of_line(differences, line)
        data.add(letter, "left out", mine[~mine["finite"]])
        both = mine[mine["finite"]].drop_duplicates(["seed", "source"])
        both = both.pivot(index="seed", columns="source", values="value").reindex(columns=sources).dropna()
        if both.empty:
            continue
        xy = both.to_numpy().T
        axes.scatter(*xy, s=13, marker=look.marker, color=look.colour, alpha=0.4, linewidths=0, zorder=3)
        middle = np.median(xy, axis=1)
        edge = {"edgecolors": "white", "linewidths": 0.9}
        axes.scatter(*middle, s=62, marker=look.marker, color=look.colour, zorder=5, **edge)
        for source, value in zip(sources, middle, strict=True):
            here = mine[(mine["source"] == source) & mine["seed"].isin(both.index)]
            data.add(letter, "seed", here)
            data.add(letter, "median", here.iloc[:1], seed=None, value=value)
        values = list(swept(line[1])[1].values())
        if len(values) == 1:
            front.append((values[0], *middle))
            place = tuple(middle)
            text = f"×{number(values[0])}"
            label = axes.annotate(
                text, place, (5, 5), textcoords="offset points", fontsize=7.5, color=look.colour, zorder=6
            )
            label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    if len(front) > 1:
        _, x, y = np.transpose(sorted(front))
        colour = next(looks[v].colour for v, point in lines if point)
        axes.plot(x, y, color=colour, linewidth=1.1, zorder=4)
    axes.scatter(0, 0, s=70, marker=looks[plain].marker, color=looks[plain].colour, zorder=4.5)
    for which, source in zip("xy", sources, strict=True):
        ground = pick(scores, variant=plain, metric="elbo", source=source, finite=True)
        level = median_of(ground["value"])
        note = f"; 0 is {number(round(level, 1))}" if np.isfinite(level) else ""
        getattr(axes, "axhline" if which == "y" else "axvline")(
            0.0, color="#555555", linewidth=0.8, linestyle=":", zorder=1.5
        )
        getattr(axes, f"set_{which}label")(f"ELBO gain on {source}\n(nats per point{note})")
        data.add(letter, "reference", ground.iloc[:1], seed=None, value=level)


def _better(axes: Axes) -> None:
    """Tint the corner in which no source pays."""
    corner = (axes.get_xlim()[1], axes.get_ylim()[1])
    axes.add_artist(Rectangle((0, 0), *corner, facecolor=BETTER, edgecolor="none", zorder=0.2))


def _lanes(
    axes: Axes,
    scores: pd.DataFrame,
    metric: str,
    blocks: Sequence[str],
    lines: Sequence[Line],
    looks: dict[str, Look],
    data: SourceData,
    letter: str,
    *,
    first: bool,
) -> None:
    colours = style.colours(blocks, style.BLOCK_COLOURS)
    rows = pick(scores, metric=metric)
    members = [(s, b, t, colours[b]) for s, b, t in scored_on(scores, metric, blocks)]
    lanes(axes, rows, lines, members, data, letter)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, pad=12)
    axes.grid(visible=False, axis="y")
    for i, line in enumerate(lines):
        if i:
            axes.axhline(i - 0.5, color="#DDDDDD", linewidth=0.7, zorder=0.5)
        look = looks[line[0]]
        place = axes.get_yaxis_transform()
        axes.plot(
            *(-0.025, i), marker=look.marker, markersize=5, color=look.colour, transform=place, clip_on=False
        )
        mine = of_line(scores, line)
        note = "not fitted" if mine.empty else lost(mine)
        if note and metric == "recovery_cc":
            axes.text(0.02, i, note, transform=place, va="center", fontsize=7.5, color="#555555", zorder=6)
    axes.set_yticks(range(len(lines)), [short_label(line) if first else "" for line in lines])
    titles = {"recovery_cc": "a block's own truth", "leakage_r2": "another block's truth"}
    units = {"recovery_cc": "mean canonical correlation", "leakage_r2": "linear R²"}
    style.panel_title(axes, letter, titles[metric])
    axes.set_xlabel(units[metric])


def _handles(
    lines: Sequence[Line], looks: dict[str, Look], blocks: Sequence[str], plain: str
) -> list[object]:
    handles: list[object] = []
    for variant in dict.fromkeys(v for v, _ in lines):
        look = looks[variant]
        text = style.variant_label(variant) + (" (compared with)" if variant == plain else "")
        if any(point for v, point in lines if v == variant):
            handles.append(Line2D([], [], color=look.colour, marker=look.marker, linewidth=1.1, label=text))
        else:
            handles.append(style.dot_handle(look.colour, text, look.marker))
    of_block = style.colours(blocks, style.BLOCK_COLOURS)
    handles += [style.point_handle(of_block[b], f"{b} block") for b in blocks]
    handles.append(style.null_handle())
    handles.append(Rectangle((0, 0), 1, 1, facecolor=BETTER, edgecolor="#8FB8A0", lw=0.6, label="both gain"))
    return handles
