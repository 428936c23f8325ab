"""Figure ``lost_dimensions``: how often a shared block takes a private dimension, by size and variant."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.intervals import share_interval
from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE
from cdgm.evaluation.moved_dimensions import LOST
from cdgm.evaluation.table_slices import Tables, fits_of, main_source, order_of, pick
from cdgm.plotting.elbo_differences import plain_variant, with_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import letters, number_groups, panel_title, zero_line
from cdgm.plotting.labels import UNITS, missing_fits, setting_label, swept_label, variant_label
from cdgm.plotting.legends import legend, line_handle, point_handle, strip_handle, strip_handles
from cdgm.plotting.scales import scale_by_metric
from cdgm.plotting.series import Series, private_blocks
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept_variants
from cdgm.plotting.theme import VARIANT_COLOURS_BESIDE_BLOCKS, Look, looks, new_figure, theme
from cdgm.utils.errors import bad_input

WIDTH, HEIGHT = 10.0, 1.95
#: Characters of a line of the legend, which has three columns, and of a line beside a vertical axis.
LABEL, AXIS_LABEL = 34, 16
#: Room of all variants of a setting, and the most for one, in units of the distance of settings.
ROOM, MOST = 0.84, 0.2


class _Panel(NamedTuple):
    """A metric at one place, and the title of its panel."""

    metric: str
    where: Mapping[str, Any]
    title: str


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Shares of fits with intervals on top, strips of scores below: settings along x, a colour a variant.

    Raises
    ------
    UserError
        If recovery or leakage was not scored, or the design has not one shared and one private block.
    """
    scores = fits_of(tables, study, "recovery_cc", "leakage_r2", "axis_asymmetry")
    private, others = private_blocks(tables, study), order_of(tables, study)[1]
    shared = [block for block in others if block not in private]
    if (len(private), len(shared)) != (1, 1):
        raise bad_input(f"scores of study {study!r}", "block", others, "one shared and one private block")
    plain = plain_variant(tables, study)
    scores = pick(with_differences(scores, plain), twist=0.0)
    panels = _panels(scores, private[0], shared[0], plain)
    settings = list(dict.fromkeys(scores["setting"]))
    variants = looks(swept_variants(scores), VARIANT_COLOURS_BESIDE_BLOCKS)

    figure = new_figure(WIDTH, 1.0 + HEIGHT * (1 + len(panels)))
    top, *below = figure.subplots(1 + len(panels), 1, sharex=True)
    data = FigureData()
    source = main_source(pick(scores, metric="recovery_cc"), private[0])
    own = pick(scores, metric="recovery_cc", block=private[0], truth=private[0], source=source)
    axis = pick(scores, metric="axis_asymmetry", block=shared[0])
    groups = [{"setting": setting} for setting in settings]
    for hollow, rows, yes in ((False, own, own["value"] <= LOST), (True, axis, axis["value"] > ALIVE_IN_ONE)):
        _shares(top, rows.assign(value=yes.astype(float)), settings, variants, data, hollow=hollow)
    top.set(ylim=(-0.03, 1.03), ylabel="share of fits")
    panel_title(
        top, "a", f"{private[0]} dimension lost, and an axis of the {shared[0]} block alive in one source"
    )
    by_metric: dict[str, list[Axes]] = {}
    for axes, panel, letter in zip(below, panels, letters(1), strict=False):
        rows = pick(scores, metric=panel.metric, **panel.where)
        series = [Series({"variant": v, "point": p}, look) for (v, p), look in variants.items()]
        step = min(ROOM / len(series), MOST)
        strips(axes, rows, groups, series, data, letter, category="x", step=step, size=7.0)
        axes.set_ylabel(textwrap.fill(UNITS[panel.metric], AXIS_LABEL))
        panel_title(axes, letter, panel.title)
        if panel.metric == "elbo_difference":
            zero_line(axes, "y")
        by_metric.setdefault(panel.metric, []).append(axes)
    scale_by_metric(by_metric, "y")
    for axes in (top, *below):
        number_groups(axes, [_name(pick(scores, setting=setting), variants) for setting in settings])
    handles = [strip_handle(look.colour, swept_label(v, LABEL), look.marker) for v, look in variants.items()]
    marks = [
        point_handle("#333333", f"lost: recovery of {LOST} or less"),
        line_handle(
            f"axis: ratio above {ALIVE_IN_ONE:g}, no truth needed", "#333333", linestyle="none", marker="o",
            markersize=5.5, markerfacecolor="white",
        ),
    ]  # fmt: skip
    legend(figure, [*handles, *marks, *strip_handles()], columns=3)
    return figure, data.table()


def _panels(scores: pd.DataFrame, private: str, shared: str, plain: str) -> list[_Panel]:
    """Panels of the metrics that were scored."""
    recovery = pick(scores, metric="recovery_cc")
    both, alone = main_source(recovery, private), main_source(recovery, shared)
    sources = dict.fromkeys(pick(scores, metric="elbo_difference")["source"])
    leak = {"source": both, "block": shared, "truth": private}
    found = [
        _Panel("leakage_r2", leak, f"{private} truth in the {shared} block"),
        _Panel("leakage_r2_nonlinear", leak, "the same, by kernel regression"),
        _Panel(
            "recovery_cc", {"source": both, "block": private, "truth": private}, f"{private} block recovered"
        ),
        _Panel(
            "recovery_cc", {"source": alone, "block": shared, "truth": shared}, f"{shared} block recovered"
        ),
        *(
            _Panel("elbo_difference", {"source": s}, f"ELBO on {s}, less {variant_label(plain)}'s")
            for s in sources
        ),
    ]
    return [panel for panel in found if len(pick(scores, metric=panel.metric, **panel.where))]


def _shares(
    axes: Axes,
    rows: pd.DataFrame,
    settings: Sequence[str],
    variants: Mapping[SweptVariant, Look],
    data: FigureData,
    *,
    hollow: bool,
) -> None:
    """Shares of fits whose ``value`` is 1, with exact intervals; hollow marks stand right of full ones."""
    step = min(ROOM / len(variants), MOST)
    for j, (variant, look) in enumerate(variants.items()):
        for i, setting in enumerate(settings):
            own = of_swept(pick(rows, setting=setting), variant)
            good = own[own["finite"]]
            if good.empty:
                continue
            share = share_interval(int(good["value"].sum()), len(good))
            x = i + (j - (len(variants) - 1) / 2 + 0.22 * (1 if hollow else -1)) * step
            axes.errorbar(
                x, share.estimate, [[share.estimate - share.low], [share.high - share.estimate]],
                color=look.colour, marker=look.marker, markersize=3.6 if hollow else 4.4,
                markerfacecolor="white" if hollow else look.colour, linewidth=0.8, capsize=0, zorder=3,
            )  # fmt: skip
            named = good.iloc[:1].assign(metric=f"{good['metric'].iloc[0]}_share")
            for kind, value in (
                ("share", share.estimate), ("interval_low", share.low), ("interval_high", share.high)
            ):  # fmt: skip
                data.add("a", kind, named, seed=None, value=value)


def _name(rows: pd.DataFrame, variants: Mapping[SweptVariant, Look]) -> str:
    """Name of a setting, with the fits that are missing."""
    notes = [(variant, missing_fits(of_swept(rows, variant))) for variant in variants]
    return "\n".join(
        [setting_label(rows["setting"].iloc[0]), *(f"{swept_label(v)}: {note}" for v, note in notes if note)]
    )
