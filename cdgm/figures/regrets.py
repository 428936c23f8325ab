"""Figure ``regrets``: what each source loses by sharing its fit, beside fixed weights and latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from cdgm.evaluation.intervals import median_interval
from cdgm.evaluation.regret import pareto_front
from cdgm.evaluation.table_slices import Tables, fits_of, order_of, pick
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import NOTE, letters, name_groups, panel_title, zero_line
from cdgm.plotting.labels import OTHER_TRUTH, OWN_TRUTH, UNITS, missing_fits, setting_label, short_label
from cdgm.plotting.legends import block_handles, legend, line_handle, point_handle, strip_handles
from cdgm.plotting.scales import evidence_scale, leakage_scale, share_range
from cdgm.plotting.series import Series, block_series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept, swept_variants
from cdgm.plotting.theme import VARIANT_COLOURS_BESIDE_BLOCKS, Look, looks, new_figure, theme

FIT_COLOUR = "#444444"
#: Scores of whole fits, in strips, where the study has them.
OF_FITS = {"regret_worst": "worst source's regret", "front_gain": "gain over the front"}
BLOCKS = {"recovery_cc": OWN_TRUTH, "leakage_r2_nonlinear": OTHER_TRUTH}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A column a setting: regrets of the sources, the worst one, the gain over the front, then blocks.

    Raises
    ------
    UserError
        If regrets, recovery or nonlinear leakage were not scored.
    """
    scores = fits_of(tables, study, "regret", *BLOCKS)
    scores = scores[scores["variant"].isin(pick(scores, metric="regret")["variant"])]
    sources, of_source = order_of(tables, study)[0], colours_of(tables, study)[0]
    block_colours = colours_of(tables, study)[1]
    of_variant = looks(dict.fromkeys(scores["variant"]), VARIANT_COLOURS_BESIDE_BLOCKS)
    variants, settings = swept_variants(scores), list(dict.fromkeys(scores["setting"]))
    of_fits = [metric for metric in OF_FITS if (scores["metric"] == metric).any()]
    strip = 0.7 + 0.24 * len(variants)
    width = max(9.0, 2.2 + 2.6 * len(settings))
    heights = [min((width - 2.2) / len(settings), 3.4) + 0.5, *[strip] * (len(of_fits) + len(BLOCKS))]
    figure = new_figure(width, 1.2 + sum(heights))
    grid = figure.subplots(len(heights), len(settings), squeeze=False, height_ratios=heights)
    names = dict(zip(grid.flat, letters(), strict=False))
    groups = [{"variant": variant, "point": point} for variant, point in variants]
    data = FigureData()
    for i, setting in enumerate(settings):
        mine, top = pick(scores, setting=setting), grid[0, i]
        panel_title(top, names[top], setting_label(setting))
        if len(sources) == 2:
            _plane(top, mine, sources, variants, of_variant, data, names[top])
        else:
            each = [Series({"source": source}, Look(of_source[source])) for source in sources]
            strips(top, pick(mine, metric="regret"), groups, each, data, names[top])
            _name(top, variants, of_variant, labelled=i == 0)
            top.set_xlabel("regret (nats per point)")
            zero_line(top, "x")
        for axes, metric in zip(grid[1:, i], [*of_fits, *BLOCKS], strict=True):
            whole = metric in of_fits
            series = [Series({}, Look(FIT_COLOUR))] if whole else block_series(mine, metric, block_colours)
            rows = pick(mine, metric=metric) if whole else pick(mine, metric=metric, twist=0.0)
            strips(axes, rows, groups, series, data, names[axes])
            _name(axes, variants, of_variant, labelled=i == 0)
            panel_title(axes, names[axes], OF_FITS.get(metric, BLOCKS.get(metric, "")))
            axes.set_xlabel("nats per point" if whole else UNITS[metric])
            if whole:
                zero_line(axes, "x")
        for j, variant in enumerate(variants):
            if note := missing_fits(of_swept(mine, variant)):
                place = grid[1, i].get_yaxis_transform()
                grid[1, i].text(0.02, j, note, transform=place, va="center", **NOTE)
    for row in grid[1 : 1 + len(of_fits)]:
        evidence_scale(row, "x")
    if len(sources) == 2:
        evidence_scale(grid[0], "x")
        evidence_scale(grid[0], "y")
        for axes in grid[0]:
            low, high = axes.get_xlim()
            axes.plot([low, high], [low, high], color="#999999", linestyle=":", linewidth=0.9, zorder=1)
    else:
        evidence_scale(grid[0], "x")
    share_range(grid[-2], "x", 0.0, 1.0)
    leakage_scale(grid[-1], "x")
    handles = [point_handle(look.colour, variant, look.marker) for variant, look in of_variant.items()]
    if len(sources) == 2:
        handles += [
            line_handle("front of the fixed weights", _front_colour(variants, of_variant)),
            line_handle("equal regrets", "#999999", linestyle=":"),
        ]
    else:
        handles += [point_handle(colour, source) for source, colour in of_source.items()]
    legend(figure, [*handles, *block_handles(block_colours), *strip_handles()], columns=5)
    return figure, data.table()


def _plane(
    axes: Axes,
    rows: pd.DataFrame,
    sources: Sequence[str],
    variants: Sequence[SweptVariant],
    of_variant: Mapping[str, Look],
    data: FigureData,
    letter: str,
) -> None:
    """Regrets of one source against the other's: seeds, medians with intervals, and the front of weights."""
    weighed: list[tuple[float, float]] = []
    regrets = pick(rows, metric="regret")
    data.add(letter, "left out", regrets[~regrets["finite"]])
    for variant in variants:
        look, mine = of_variant[variant[0]], of_swept(regrets[regrets["finite"]], variant)
        seeds = mine.pivot(index="seed", columns="source", values="value").reindex(columns=list(sources))
        axes.scatter(*seeds.to_numpy().T, s=9, color=look.colour, marker=look.marker, alpha=0.35, linewidth=0)
        data.add(letter, "seed", mine)
        found = [median_interval(pick(mine, source=source)["value"]) for source in sources]
        if not np.isfinite([one.estimate for one in found]).all():
            continue
        (x, y), ends = [one.estimate for one in found], [(one.low, one.high) for one in found]
        reach = [[[x - ends[0][0]], [ends[0][1] - x]], [[y - ends[1][0]], [ends[1][1] - y]]]
        errors = reach if np.isfinite(ends).all() else [None, None]
        axes.errorbar(
            x, y, xerr=errors[0], yerr=errors[1], color=look.colour, marker=look.marker, markersize=6,
            markeredgecolor="white", markeredgewidth=0.7, linewidth=0.9, zorder=4,
        )  # fmt: skip
        if any(key.startswith("ratio.") for key in swept(variant[1])[1]) or _is_equal(variant, variants):
            weighed.append((x, y))
        for source, one in zip(sources, found, strict=True):
            here = pick(mine, source=source).iloc[:1]
            for kind, value in (
                ("median", one.estimate),
                ("interval_low", one.low),
                ("interval_high", one.high),
            ):
                data.add(letter, kind, here, seed=None, value=value)
    if len(weighed) > 1:
        front = pareto_front(np.array(weighed))
        axes.plot(*front.T, color=_front_colour(variants, of_variant), linewidth=1.2, zorder=3)
    axes.set(
        xlabel=f"regret of {sources[0]}\n(nats per point)", ylabel=f"regret of {sources[1]}\n(nats per point)"
    )


def _is_equal(variant: SweptVariant, variants: Sequence[SweptVariant]) -> bool:
    """Whether a variant is the sum, the equal weights of a front: the first one, which has no sweep."""
    return variant == variants[0] and not variant[1]


def _front_colour(variants: Sequence[SweptVariant], of_variant: Mapping[str, Look]) -> str:
    return next((of_variant[v].colour for v, point in variants if "ratio." in point), FIT_COLOUR)


def _name(
    axes: Axes, variants: Sequence[SweptVariant], of_variant: Mapping[str, Look], *, labelled: bool
) -> None:
    """Names and marks of variants beside their strips."""
    name_groups(axes, [short_label(variant) if labelled else "" for variant in variants])
    axes.tick_params(axis="y", pad=12)
    # Between name and axis, whatever the width of the panel.
    aside = ScaledTranslation(-7 / 72, 0, axes.figure.dpi_scale_trans)
    for i, (variant, _) in enumerate(variants):
        look = of_variant[variant]
        place = axes.get_yaxis_transform() + aside
        axes.plot(0, i, look.marker, markersize=5, color=look.colour, transform=place, clip_on=False)
