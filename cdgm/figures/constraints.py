"""Figure ``constraints``: constrained fits beside plain ones and grids of weights, and their levels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from cdgm.evaluation.table_slices import Tables, fits_of, pick
from cdgm.plotting.elbo_differences import plain_variant, with_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import bands, letters, name_groups, panel_title, zero_line
from cdgm.plotting.labels import UNITS, setting_label, swept_label, variant_label, with_missing, wrapped
from cdgm.plotting.legends import (
    block_handles,
    elbo_handles,
    legend,
    line_handle,
    strip_handle,
    strip_handles,
    tint_handle,
)
from cdgm.plotting.scales import scale_by_metric, signed_scale
from cdgm.plotting.series import Series, colours_of, series_of
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept_variants
from cdgm.plotting.theme import GOOD_COLOUR, GOOD_EDGE, Look, new_figure, theme

#: A constraint whose name ends so is a lower bound of its value; all others are upper bounds.
FLOOR = "floor"
SPLITS = {"_train": ("training rows", Look("#222222")), "": ("held-out rows", Look("#AA3377", "^"))}
WIDTH = 11.5
#: Characters of a line of a label: rows are as high as the label of most lines, so lines are long.
LABEL = 56
#: What a setting shows, in the order of panels.
METRICS = ("leakage_r2", "recovery_cc", "kl", "elbo_difference")


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A band of panels a setting, strips of variants and their swept points; below, values over levels.

    Raises
    ------
    UserError
        If leakage or recovery was not scored, or no constraint was.
    """
    scores = fits_of(tables, study, "recovery_cc", "leakage_r2", "constraint_value")
    plain = plain_variant(tables, study)
    scores = with_differences(scores, plain)
    series = series_of(tables, study, scores, METRICS)
    settings = list(dict.fromkeys(scores["setting"]))
    variants = swept_variants(scores)
    labels = {
        s: [with_missing(swept_label(v, LABEL), of_swept(pick(scores, setting=s), v)) for v in variants]
        for s in settings
    }
    constrained = pick(scores, metric="constraint_value")
    held = [(s, v) for s in settings for v in variants if len(of_swept(pick(constrained, setting=s), v))]

    of_levels = _labels_of_levels(held)
    row = max(0.34, 0.16 * _lines(label for of_setting in labels.values() for label in of_setting))
    heights = [0.85 + row * len(variants)] * len(settings)
    heights.append(1.0 + max(0.3, 0.15 * _lines(of_levels)) * len(held))
    figure = new_figure(WIDTH, 0.8 + sum(heights))
    data = FigureData()
    *parts, last = bands(figure, [*map(setting_label, settings), "Are levels met?"], heights)
    grids = [
        _setting(part, pick(scores, setting=s), series, variants, labels[s], plain, data)
        for part, s in zip(parts, settings, strict=True)
    ]
    scale_by_metric({metric: [grid[metric] for grid in grids] for metric in series}, "x")
    names = list(dict.fromkeys(constrained["block"]))
    _levels(last, _ratios(scores), held, of_levels, names, len(series), data)
    legend(figure, _handles(tables, study, plain))
    return figure, data.table()


def _setting(
    part: SubFigure,
    rows: pd.DataFrame,
    series: dict[str, list[Series]],
    variants: Sequence[SweptVariant],
    labels: Sequence[str],
    plain: str,
    data: FigureData,
) -> dict[str, Axes]:
    panels = dict(zip(series, part.subplots(1, len(series), sharey=True, squeeze=False)[0], strict=True))
    titles = {
        "leakage_r2": "leakage into a block",
        "recovery_cc": "recovery of a block",
        "kl": f"KL of {' and '.join(str(one.where['block']) for one in series.get('kl', ()))}",
        "elbo_difference": f"ELBO less {variant_label(plain)}'s",
    }
    groups = [{"variant": variant, "point": point} for variant, point in variants]
    for letter, (metric, axes) in zip(letters(), panels.items(), strict=False):
        strips(axes, pick(rows, metric=metric, twist=0.0), groups, series[metric], data, letter)
        name_groups(axes, labels)
        panel_title(axes, letter, titles[metric])
        axes.set_xlabel(UNITS[metric])
        if metric == "elbo_difference":
            zero_line(axes, "x")
            if (plain, "") in variants:
                place = {"textcoords": "offset points", "va": "center", "fontsize": 7.5}
                axes.annotate("reference", (0.0, variants.index((plain, ""))), (4, 0), **place)
    return panels


def _labels_of_levels(held: Sequence[tuple[str, SweptVariant]]) -> list[str]:
    """Name of each row of levels, with its setting where there are several."""
    several = len({setting for setting, _ in held}) > 1
    return [wrapped((f"{setting_label(s)}, " if several else "") + swept_label(v), 26) for s, v in held]


def _lines(labels: Iterable[str]) -> int:
    return max(label.count("\n") + 1 for label in labels)


def _levels(
    part: SubFigure,
    ratios: pd.DataFrame,
    held: Sequence[tuple[str, SweptVariant]],
    labels: Sequence[str],
    names: Sequence[str],
    first: int,
    data: FigureData,
) -> None:
    """For every constraint its value over its level: 1 is the level, the tinted side meets it."""
    panels = part.subplots(1, len(names), sharey=True, squeeze=False)[0]
    groups = [{"setting": s, "variant": variant, "point": point} for s, (variant, point) in held]
    series = [Series({"metric": f"constraint_ratio{end}"}, look) for end, (_, look) in SPLITS.items()]
    for axes, name, letter in zip(panels, names, letters(first), strict=False):
        strips(axes, pick(ratios, block=name), groups, series, data, letter, null=False)
        name_groups(axes, labels)
        zero_line(axes, "x", 1.0)
        signed_scale([axes], "x", linear=1.0, low=0.0, high=2.0)
        least = name.endswith(FLOOR)
        low, high = axes.get_xlim()
        axes.axvspan(*((1.0, high) if least else (low, 1.0)), color=GOOD_COLOUR, linewidth=0, zorder=0.2)
        axes.set_xlim(low, high)
        panel_title(axes, letter, f"{name.replace('_', ' ')} (at {'least' if least else 'most'})")
        axes.set_xlabel("value / level")
        for i in range(1, len(held)):
            if held[i][0] != held[i - 1][0]:
                axes.axhline(i - 0.5, color="#999999", linewidth=0.9, zorder=0.5)


def _ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Value over level of all constraints, as rows of the metrics ``constraint_ratio`` and ``..._train``."""
    keys = ["setting", "variant", "point", "seed", "block"]
    parts = []
    for ending in SPLITS:
        value = pick(rows, metric=f"constraint_value{ending}")
        level = pick(rows, metric=f"constraint_level{ending}").drop_duplicates(keys)
        both = value.join(level.set_index(keys)["value"].rename("level"), on=keys)
        # Without a level above zero there is no ratio.
        ratio = both["value"] / both["level"].where(both["level"] > 0)
        finite = both["finite"] & np.isfinite(ratio)
        parts.append(both.assign(value=ratio, metric=f"constraint_ratio{ending}", finite=finite))
    return pd.concat(parts, ignore_index=True)


def _handles(tables: Tables, study: str, plain: str) -> list[Artist]:
    sources, blocks = colours_of(tables, study)
    return [
        *block_handles(blocks),
        *(elbo_handles(sources) if plain else []),
        *(strip_handle(look.colour, text, look.marker) for text, look in SPLITS.values()),
        *strip_handles(),
        tint_handle(GOOD_COLOUR, "level is met", GOOD_EDGE),
        line_handle("level, or no difference", "black", linestyle=":"),
    ]
