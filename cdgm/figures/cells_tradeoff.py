"""Figure ``cells_tradeoff``: what each variant puts into which space of cells, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from cdgm.evaluation.table_slices import BASELINES, Tables, median_of, need, order_of, pick, rows_of
from cdgm.plotting.elbo_differences import plain_variant, with_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import NOTE, bands, name_groups, panel_title, zero_line
from cdgm.plotting.labels import setting_label, swept_label, variant_label, with_missing
from cdgm.plotting.legends import legend, line_handle, point_handle, strip_handle, strip_handles
from cdgm.plotting.scales import EVIDENCE_LINEAR, share_range, signed_scale
from cdgm.plotting.series import colours_of, private_blocks, series_of
from cdgm.plotting.strips import null_band, strips
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept_variants
from cdgm.plotting.theme import REFERENCE_COLOUR, Look, looks, new_figure, theme
from cdgm.utils.errors import bad_input

LABELS = "knn_accuracy"
MIXING = "source_mixing"
DASHES = {
    "pca": "-", "pca_background": ":", "contrastive_pca": (0, (6, 2)), "oracle": (0, (3, 1, 1, 1)),
    "library_size": (0, (1, 3)),
}  # fmt: skip
#: Panels of spaces span at least this, so that noise is not magnified.
LEAST = 0.08


class Spaces(NamedTuple):
    """The source whose labels are scored, the name of the labels, and the two spaces that may hold them."""

    source: str
    truth: str
    shared: str
    private: str


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Four panels a setting: labels against labels, labels against mixing, paired evidence, KL.

    Raises
    ------
    UserError
        If no kNN scores or no mixing was scored, or there is no private space beside a shared one.
    """
    scores = rows_of(tables, "scores", study)
    labelled = need(scores, study, metric=LABELS)
    need(scores, study, metric=MIXING)
    spaces = _spaces(tables, study, labelled)
    plain = plain_variant(tables, study)
    variants = looks(swept_variants(scores))
    scores = with_differences(scores, plain)
    settings = list(dict.fromkeys(scores["setting"]))

    heights = [4.4, 0.9 + 0.3 * len(variants)]
    figure = new_figure(10.0, 0.7 + 0.24 * -(-len(variants) // 4) + sum(heights) * len(settings))
    data = FigureData()
    titles = [setting_label(s) if len(settings) > 1 else "" for s in settings]
    for band, setting in zip(bands(figure, titles), settings, strict=True):
        mine = pick(scores, setting=setting)
        top, bottom = band.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
        _spaces_panels(top, mine, variants, spaces, data)
        _cost_panels(bottom, tables, study, mine, list(variants), spaces, plain, data)
    handles = [point_handle(look.colour, swept_label(v), look.marker) for v, look in variants.items()]
    for variant, dashes in DASHES.items():
        if (scores["variant"] == variant).any():
            label = variant_label(variant)
            handles.append(line_handle(label, REFERENCE_COLOUR, linewidth=1.1, linestyle=dashes))
    legend(figure, [*handles, *strip_handles()], columns=4)
    return figure, data.table()


def _spaces(tables: Tables, study: str, labelled: pd.DataFrame) -> Spaces:
    own = labelled[~labelled["variant"].isin(BASELINES)]
    source, truth = own[["source", "truth"]].iloc[0] if len(own) else ("", "")
    scored = set(pick(own, source=source, truth=truth)["block"])
    private = [b for b in private_blocks(tables, study) if b in scored]
    shared = [b for b in order_of(tables, study)[1] if b in scored and b not in private]
    if not private or not shared:
        expected = "a shared and a private block"
        raise bad_input(f"scores of study {study!r}", "block", sorted(scored), expected)
    return Spaces(source, truth, shared[0], private[0])


def _spaces_panels(
    part: SubFigure,
    rows: pd.DataFrame,
    variants: Mapping[SweptVariant, Look],
    spaces: Spaces,
    data: FigureData,
) -> None:
    """Labels in the private space against labels in the shared one, and against mixing there."""
    labels = pick(rows, metric=LABELS, source=spaces.source, truth=spaces.truth)
    high = pick(labels, block=spaces.private)
    left, right = part.subplots(1, 2, sharey=True)
    mixing = pick(rows, metric=MIXING, source=spaces.source, block=spaces.shared)
    for axes, letter, along in ((left, "a", pick(labels, block=spaces.shared)), (right, "b", mixing)):
        for variant, look in variants.items():
            _cloud(axes, of_swept(along, variant), of_swept(high, variant), look, letter, data)
        for variant, dashes in DASHES.items():
            # A baseline has one space only: a line at what that holds.
            mine = pick(high, variant=variant)
            value = median_of(mine["value"])
            if np.isfinite(value):
                axes.axhline(value, color=REFERENCE_COLOUR, linewidth=1.1, linestyle=dashes, zorder=2)
                data.add(letter, "reference", mine.iloc[:1], seed=None, value=value, y=value)
        own = along[~along["variant"].isin(BASELINES)]
        end, middle = median_of(own["null_high"]), median_of(high["value"])
        if np.isfinite(end):
            null_band(axes, end, (middle - 10.0, middle + 10.0), "y")
            data.add(letter, "null_high", own.iloc[:1], variant=None, seed=None, value=end)
    zero_line(right, "x", 1.0)
    for panels, which in (([left], "x"), ([right], "x"), ([left, right], "y")):
        ends = np.array([getattr(axes.dataLim, f"interval{which}") for axes in panels])
        if np.isfinite(ends).all():
            share_range(panels, which, ends.mean() - LEAST / 2, ends.mean() + LEAST / 2)
    for axes in (left, right):  # after the range was set: scores may lie far above their null
        null_band(axes, median_of(high.loc[~high["variant"].isin(BASELINES), "null_high"]), (-10.0, 10.0))
    left.set_xlabel(f"labels in {spaces.shared} space (balanced kNN accuracy; low is good)")
    left.set_ylabel(f"labels in {spaces.private} space (balanced kNN accuracy)")
    right.set_xlabel(
        f"{spaces.source} cells among neighbours in {spaces.shared} space,\nover expectation (1: mixed)"
    )
    panel_title(left, "a", "labels: where they are, where they should not be")
    panel_title(right, "b", "labels against mixing of sources")


def _cloud(
    axes: Axes, along: pd.DataFrame, high: pd.DataFrame, look: Look, letter: str, data: FigureData
) -> None:
    """Seeds of a variant as small marks and the median of each score as a large one."""
    both = along.merge(high[["seed", "value", "finite"]], on="seed", suffixes=("", "_high"))
    both = both.assign(x=both["value"], y=both["value_high"]).sort_values("seed")
    finite = both["finite"] & both["finite_high"]
    good = both[finite]
    data.add(letter, "seed", good)
    data.add(letter, "left out", both[~finite], x=None, y=None)
    if good.empty:
        return
    median = good.iloc[:1].assign(seed=None, x=good["x"].median(), y=good["y"].median())
    data.add(letter, "median", median, value=median["x"])
    for drawn, mark in (
        (good, {"s": 14, "alpha": 0.45, "linewidth": 0, "zorder": 3}),
        (median, {"s": 75, "edgecolor": "white", "linewidth": 0.8, "zorder": 4}),
    ):
        sns.scatterplot(
            drawn, x="x", y="y", color=look.colour, marker=look.marker, ax=axes, legend=False, **mark
        )


def _cost_panels(
    part: SubFigure,
    tables: Tables,
    study: str,
    rows: pd.DataFrame,
    variants: list[SweptVariant],
    spaces: Spaces,
    plain: str,
    data: FigureData,
) -> None:
    """Held-out ELBO against the plain fit, if there is one, and KL of the private space."""
    groups = [{"variant": variant, "point": point} for variant, point in variants]
    shown = series_of(tables, study, rows, ("elbo_difference", "kl"))
    shown["kl"] = [series for series in shown.get("kl", []) if series.where["block"] == spaces.private]
    panels = part.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (metric, series), letter in zip(panels, shown.items(), "cd"[-len(shown) :], strict=True):
        strips(axes, pick(rows, metric=metric), groups, series, data, letter)
        name_groups(axes, [with_missing(swept_label(v), of_swept(rows, v)) for v in variants])
    panel_title(panels[-1], "d", f"KL of {spaces.private}")
    panels[-1].set_xlabel("nats per point (near 0: the space is empty)")
    share_range(panels[-1:], "x", 0.0)
    if len(panels) == 1:
        return
    zero_line(panels[0], "x")
    if (plain, "") in variants:
        place = (0.0, variants.index((plain, "")))
        panels[0].annotate("reference", place, (4, 0), textcoords="offset points", va="center", **NOTE)
    signed_scale(panels[:1], "x", linear=10 * EVIDENCE_LINEAR, low=-1.0, high=2.0)
    sources = colours_of(tables, study)[0]
    handles = [strip_handle(sources[s.where["source"]], s.where["source"]) for s in shown["elbo_difference"]]
    panels[0].legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), borderaxespad=0.1
    )
    panel_title(panels[0], "c", f"held-out ELBO less {variant_label(plain)}'s")
    panels[0].set_xlabel("nats per point, same seed")
