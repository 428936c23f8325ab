"""Figure ``objectives``: the sources' ELBOs against each other, with recovery and leakage beside them.

Settings with a swept number are drawn by :mod:`cdgm.figures.objectives_swept`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from cdgm.evaluation.table_slices import Tables, fits_of, median_of, order_of, pick, rows_of
from cdgm.figures.objectives_swept import draw_swept
from cdgm.plotting.elbo_differences import elbo_differences, plain_variant
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import NOTE, letters, name_groups, panel_title, zero_line
from cdgm.plotting.labels import (
    OTHER_TRUTH,
    OWN_TRUTH,
    UNITS,
    missing_fits,
    number,
    setting_label,
    short_label,
    variant_label,
)
from cdgm.plotting.legends import (
    block_handles,
    legend,
    point_handle,
    strip_handle,
    strip_handles,
    tint_handle,
)
from cdgm.plotting.scales import evidence_scale, leakage_scale, share_range
from cdgm.plotting.series import block_series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept, swept_variants
from cdgm.plotting.theme import (
    GOOD_COLOUR,
    GOOD_EDGE,
    VARIANT_COLOURS_BESIDE_BLOCKS,
    Look,
    looks,
    new_figure,
    theme,
)
from cdgm.utils.errors import bad_input

STRIPS = {"recovery_cc": OWN_TRUTH, "leakage_r2": OTHER_TRUTH}


@theme()
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
    of_variant = looks(dict.fromkeys(scores["variant"]), VARIANT_COLOURS_BESIDE_BLOCKS)
    if any("@" in setting for setting in scores["setting"]):
        return draw_swept(scores, study, sources, blocks, of_variant, plain)
    if len(sources) != 2:
        raise bad_input(f"scores of study {study!r}", "source", sources, "two sources")

    variants = swept_variants(scores)
    settings = list(dict.fromkeys(scores["setting"]))
    differences = elbo_differences(scores, plain)
    block_colours = colours_of(tables, study)[1]
    width = max(10.0, 1.6 + 2.6 * len(settings))
    heights = [0.9 + min((width - 1.8) / len(settings), 3.0), *[0.7 + 0.3 * len(variants)] * 2]
    figure = new_figure(width, 1.0 + sum(heights))
    grid = figure.subplots(3, len(settings), squeeze=False, height_ratios=heights)
    names = dict(zip(grid.flat, letters(), strict=False))
    data = FigureData()
    for i, setting in enumerate(settings):
        mine, gains, top = pick(scores, setting=setting), pick(differences, setting=setting), grid[0, i]
        _trade(top, gains, sources, variants, of_variant, plain, data, names[top])
        _plain(top, mine, sources, plain, of_variant[plain], data, names[top])
        panel_title(top, names[top], setting_label(setting))
        for axes, (metric, title) in zip(grid[1:, i], STRIPS.items(), strict=True):
            series = block_series(mine, metric, block_colours)
            groups = [{"variant": variant, "point": point} for variant, point in variants]
            strips(axes, pick(mine, metric=metric, twist=0.0), groups, series, data, names[axes])
            _name(axes, mine, variants, of_variant, labelled=i == 0, noted=metric == "recovery_cc")
            panel_title(axes, names[axes], title)
            axes.set_xlabel(UNITS[metric])
    evidence_scale(grid[0], "x")
    evidence_scale(grid[0], "y")
    for axes in grid[0]:
        corner = axes.get_xlim()[1], axes.get_ylim()[1]
        axes.add_artist(Rectangle((0, 0), *corner, facecolor=GOOD_COLOUR, edgecolor="none", zorder=0.2))
    share_range(grid[1], "x", 0.0, 1.0)
    leakage_scale(grid[2], "x")
    handles = [*_variant_handles(variants, of_variant, plain), *block_handles(block_colours)]
    handles += [*strip_handles(), tint_handle(GOOD_COLOUR, "both gain", GOOD_EDGE)]
    legend(figure, handles, columns=5)
    return figure, data.table()


def _equal_weights(tables: Tables, scores: pd.DataFrame, plain: str) -> str:
    """The first unswept variant that weighs all sources alike throughout, else ``plain``.

    Weights are found in the history; in some studies weights by size come before equal ones.
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


def _trade(
    axes: Axes,
    gains: pd.DataFrame,
    sources: Sequence[str],
    variants: Sequence[SweptVariant],
    of_variant: Mapping[str, Look],
    plain: str,
    data: FigureData,
    letter: str,
) -> None:
    """Gains on both sources: small points for seeds, large ones for medians; those of a sweep are joined."""
    # Equal weights are a point of a sweep of ratios.
    ratios = any(key.startswith("ratio.") for _, point in variants for key in swept(point)[1])
    front = [(1.0, 0.0, 0.0)] if ratios else []
    for variant in variants:
        if variant[0] == plain:
            continue
        look, mine = of_variant[variant[0]], of_swept(gains, variant)
        mark = {"ax": axes, "marker": look.marker, "color": look.colour, "legend": False}
        data.add(letter, "left out", mine[~mine["finite"]])
        both = mine[mine["finite"]].drop_duplicates(["seed", "source"])
        both = (
            both.pivot(index="seed", columns="source", values="value").reindex(columns=list(sources)).dropna()
        )
        if both.empty:
            continue
        x, y = both.median()
        sns.scatterplot(both, x=sources[0], y=sources[1], **mark, s=13, alpha=0.4, linewidth=0, zorder=3)
        sns.scatterplot(x=[x], y=[y], **mark, s=62, edgecolor="white", linewidth=0.9, zorder=5)
        for source, value in zip(sources, (x, y), strict=True):
            here = mine[(mine["source"] == source) & mine["seed"].isin(both.index)]
            data.add(letter, "seed", here)
            data.add(letter, "median", here.iloc[:1], seed=None, value=value)
        values = list(swept(variant[1])[1].values())
        if len(values) == 1:
            front.append((values[0], x, y))
            text = {"textcoords": "offset points", "fontsize": 7.5, "color": look.colour, "zorder": 6}
            label = axes.annotate(f"×{number(values[0])}", (x, y), (5, 5), **text)
            label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    if len(front) > 1:
        _, x, y = np.transpose(sorted(front))
        colour = next(of_variant[variant].colour for variant, point in variants if point)
        sns.lineplot(x=x, y=y, sort=False, estimator=None, color=colour, linewidth=1.1, zorder=4, ax=axes)


def _plain(
    axes: Axes,
    scores: pd.DataFrame,
    sources: Sequence[str],
    plain: str,
    look: Look,
    data: FigureData,
    letter: str,
) -> None:
    """The plain variant at zero, and on the axes what its ELBO is there."""
    axes.scatter(0, 0, s=70, marker=look.marker, color=look.colour, zorder=4.5)
    for which, source in zip("xy", sources, strict=True):
        ground = pick(scores, variant=plain, metric="elbo", source=source, finite=True)
        level = median_of(ground["value"])
        note = f"; 0 is {number(round(level, 1))}" if np.isfinite(level) else ""
        zero_line(axes, which)
        getattr(axes, f"set_{which}label")(f"ELBO gain on {source}\n(nats per point{note})")
        data.add(letter, "reference", ground.iloc[:1], seed=None, value=level)


def _name(
    axes: Axes,
    scores: pd.DataFrame,
    variants: Sequence[SweptVariant],
    of_variant: Mapping[str, Look],
    *,
    labelled: bool,
    noted: bool,
) -> None:
    """Names and markers of variants beside their strips, and which fits are missing."""
    name_groups(axes, [short_label(variant) if labelled else "" for variant in variants])
    axes.tick_params(axis="y", pad=12)
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform()}
    for i, variant in enumerate(variants):
        look = of_variant[variant[0]]
        axes.plot(-0.025, i, look.marker, markersize=5, color=look.colour, **place, clip_on=False)
        note = missing_fits(of_swept(scores, variant))
        if note and noted:
            axes.text(0.02, i, note, **place, va="center", **NOTE)


def _variant_handles(
    variants: Sequence[SweptVariant], of_variant: Mapping[str, Look], plain: str
) -> list[Artist]:
    """Points of variants; those of a swept one with the line that joins them."""
    swept_ones = {variant for variant, point in variants if point}
    handles = []
    for variant, look in of_variant.items():
        text = variant_label(variant) + (" (compared with)" if variant == plain else "")
        handle = strip_handle if variant in swept_ones else point_handle
        handles.append(handle(look.colour, text, look.marker))
    return handles
