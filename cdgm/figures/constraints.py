"""Figure ``constraints``: constrained fits beside plain ones and grids of weights, and their levels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from cdgm.evaluation.table_slices import Tables, fits_of, order_of, pick
from cdgm.plotting import style
from cdgm.plotting.lanes import (
    Member,
    lanes,
    leakage_scale,
    line_label,
    lost,
    name_lanes,
    share_range,
)
from cdgm.plotting.paired import EVIDENCE_LINEAR, elbo_differences, members_of, signed_scale
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import Line, lines_of, of_line, plain_variant

#: A constraint whose name ends so holds its value up; all others hold it down.
FLOOR = "floor"
SPLITS = {"_train": ("training rows", "#222222", "o"), "": ("held-out rows", "#AA3377", "^")}
MET = "#E3F1E8"
WIDTH = 10.0

#: What a setting shows, in the order of panels.
METRICS = ("leakage_r2", "recovery_cc", "kl", "elbo_difference")


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A row of panels a setting, lanes of variants and their swept points; below, values over levels.

    Raises
    ------
    UserError
        If leakage or recovery was not scored, or no constraint was.
    """
    scores = fits_of(tables, study, "recovery_cc", "leakage_r2", "constraint_value")
    plain = plain_variant(tables, study)
    if plain:
        scores = pd.concat([scores, elbo_differences(scores, plain)], ignore_index=True)
    metrics = members_of(tables, study, scores, METRICS)
    settings = list(dict.fromkeys(scores["setting"]))
    lines = lines_of(scores)
    names = list(dict.fromkeys(pick(scores, metric="constraint_value")["block"]))
    held = [(s, line) for s in settings for line in lines if _constrained(scores, s, line)]

    tall = max(_label(line, pick(scores, setting=s)).count("\n") + 1 for s in settings for line in lines)
    heights = [0.85 + max(0.34, 0.16 * tall) * len(lines)] * len(settings) + [1.0 + 0.3 * len(held)]
    figure = style.new_figure(WIDTH, 0.8 + sum(heights))
    data = SourceData()
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    grids = [
        _setting(part, pick(scores, setting=s), s, metrics, lines, plain, data, first=i == 0)
        for i, (part, s) in enumerate(zip(parts, settings, strict=False))
    ]
    _scales(grids, list(metrics))
    letters = "abcdefghijklmnop"[len(metrics) :]
    _levels(parts[-1], scores, held, names, letters, len(settings), data)
    figure.legend(handles=_handles(tables, study, plain), loc="outside upper center", ncols=4)
    return figure, data.table()


def _constrained(scores: pd.DataFrame, setting: str, line: Line) -> bool:
    return not pick(of_line(scores, line), setting=setting, metric="constraint_value").empty


def _setting(
    part: SubFigure,
    rows: pd.DataFrame,
    setting: str,
    metrics: dict[str, list[Member]],
    lines: Sequence[Line],
    plain: str,
    data: SourceData,
    *,
    first: bool,
) -> dict[str, Axes]:
    part.suptitle(style.setting_label(setting), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    panels = dict(zip(metrics, part.subplots(1, len(metrics), sharey=True, squeeze=False)[0], strict=True))
    titles = {
        "leakage_r2": "leakage into a block",
        "recovery_cc": "recovery of a block",
        "kl": f"KL of {' and '.join(m[1] for m in metrics.get('kl', ()))}",
        "elbo_difference": f"ELBO less {style.variant_label(plain)}'s",
    }
    units = {
        "leakage_r2": "linear R²",
        "recovery_cc": "mean canonical correlation",
        "kl": "nats per point",
        "elbo_difference": "nats per point, same seed",
    }
    for letter, (metric, axes) in zip("abcdefgh", panels.items(), strict=False):
        lanes(axes, pick(rows, metric=metric), lines, metrics[metric], data, letter)
        name_lanes(axes, lines)
        if first:
            style.panel_title(axes, letter, titles[metric])
        axes.set_xlabel(units[metric])
        if metric == "elbo_difference":
            axes.axvline(0.0, color="black", linewidth=0.9, linestyle=":", zorder=1.8)
            if (plain, "") in lines:
                place = (0.0, lines.index((plain, "")))
                axes.annotate(
                    "reference", place, (4, 0), textcoords="offset points", va="center", fontsize=7.5
                )
    start = next(iter(panels.values()))
    start.set_yticks(range(len(lines)), [_label(line, rows) for line in lines])
    return panels


def _label(line: Line, rows: pd.DataFrame) -> str:
    mine = of_line(rows, line)
    note = "not fitted" if mine.empty else lost(mine)
    return style.wrapped(line_label(line), 24) + (f"\n({note})" if note else "")


def _scales(grids: Sequence[dict[str, Axes]], metrics: Sequence[str]) -> None:
    """The same scale for all settings."""
    columns = {m: [grid[m] for grid in grids] for m in metrics}
    leakage_scale(columns["leakage_r2"], "x")
    share_range(columns["recovery_cc"], "x", 0.0, 1.0)
    if "kl" in columns:
        share_range(columns["kl"], "x", 0.0)
    if "elbo_difference" in columns:
        signed_scale(columns["elbo_difference"], "x", linear=EVIDENCE_LINEAR, low=-1.0, high=1.0)


def _levels(
    part: SubFigure,
    scores: pd.DataFrame,
    held: Sequence[tuple[str, Line]],
    names: Sequence[str],
    letters: str,
    settings: int,
    data: SourceData,
) -> None:
    """For every constraint its value over its level: 1 is the level, the tinted side is met."""
    part.suptitle("Are levels met?", x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    panels = part.subplots(1, len(names), sharey=True, squeeze=False)[0]
    step = 0.4
    for axes, name, letter in zip(panels, names, letters, strict=False):
        ratios = _ratios(pick(scores, block=name))
        for i, (setting, line) in enumerate(held):
            for j, (ending, (_, colour, marker)) in enumerate(SPLITS.items()):
                lane = of_line(pick(ratios, setting=setting, metric=f"constraint_ratio{ending}"), line)
                lane = lane.sort_values("seed")
                if lane.empty:
                    continue
                good = lane[lane["finite"]]
                place = i + (j - 0.5) * step
                median = style.strip(
                    *(axes, place, good["value"], colour),
                    horizontal=True,
                    width=step * 0.8,
                    marker=marker,
                    size=13,
                )
                data.add(letter, "seed", good)
                data.add(letter, "left out", lane[~lane["finite"]])
                data.add(letter, "median", lane.iloc[:1], seed=None, value=median)
        least = name.endswith(FLOOR)
        axes.set_ylim(len(held) - 0.5, -0.5)
        axes.axvline(1.0, color="black", linewidth=0.9, linestyle=":", zorder=1.8)
        signed_scale([axes], "x", linear=1.0, low=0.0, high=2.0)
        low, high = axes.get_xlim()
        edges = (1.0, high) if least else (low, 1.0)
        corner, size = (edges[0], -0.5), (edges[1] - edges[0], float(len(held)))
        axes.add_artist(Rectangle(corner, *size, facecolor=MET, edgecolor="none", zorder=0.2))
        style.panel_title(axes, letter, f"{name.replace('_', ' ')} (at {'least' if least else 'most'})")
        axes.set_xlabel("value / level")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        for (above, here), (below, there) in pairwise(enumerate(held)):
            heavy = here[0] != there[0]
            colour = "#999999" if heavy else "#DDDDDD"
            axes.axhline((above + below) / 2, color=colour, linewidth=0.9 if heavy else 0.7, zorder=0.5)
    labels = [
        style.wrapped(
            line_label(line) if settings == 1 else f"{style.setting_label(s)}, {line_label(line)}", 26
        )
        for s, line in held
    ]
    panels[0].set_yticks(range(len(held)), labels)


def _ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Value over level of one constraint, as rows of the metrics ``constraint_ratio`` and ``..._train``."""
    keys = ["setting", "variant", "point", "seed"]
    parts = []
    for ending in SPLITS:
        value = pick(rows, metric=f"constraint_value{ending}")
        level = pick(rows, metric=f"constraint_level{ending}").drop_duplicates(keys)
        both = value.join(level.set_index(keys)[["value", "finite"]].add_suffix("_of_level"), on=keys)
        # A level is a number above zero; where it is none, there is no ratio.
        known = both["value_of_level"] > 0
        ratio = both["value"] / both["value_of_level"].where(known)
        parts.append(
            both.assign(
                value=ratio,
                metric=f"constraint_ratio{ending}",
                finite=both["finite"] & known & np.isfinite(ratio),
            )
        )
    return pd.concat(parts, ignore_index=True)


def _handles(tables: Tables, study: str, plain: str) -> list[object]:
    sources, blocks = order_of(tables, study)
    of_block = style.colours(blocks, style.BLOCK_COLOURS)
    handles: list[object] = [style.point_handle(of_block[b], f"{b} block") for b in blocks]
    if plain:
        of_source = style.colours(sources, style.SOURCE_COLOURS)
        handles += [style.point_handle(of_source[s], f"ELBO of {s}") for s in sources]
    handles += [style.point_handle(colour, text, marker) for text, colour, marker in SPLITS.values()]
    handles.append(style.null_handle())
    handles.append(Patch(facecolor=MET, edgecolor="#8FB8A0", linewidth=0.6, label="level is met"))
    handles.append(
        Line2D([], [], color="black", linewidth=0.9, linestyle=":", label="level, or no difference")
    )
    return handles
