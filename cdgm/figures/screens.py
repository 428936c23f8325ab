"""Figure ``screens``: label scores, separation of sources and price of variants, a band a set of cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import Tables, main_source, median_of, need, pick, rows_of
from cdgm.figures.cells_tradeoff import DASHES
from cdgm.plotting.elbo_differences import plain_variant, with_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import bands, name_groups, panel_title, zero_line
from cdgm.plotting.labels import setting_label, swept_label, variant_label, with_missing
from cdgm.plotting.legends import block_handles, legend, line_handle, strip_handle, strip_handles
from cdgm.plotting.scales import EVIDENCE_LINEAR, share_range, signed_scale
from cdgm.plotting.series import Series, colours_of, private_blocks
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import of_swept, swept_variants
from cdgm.plotting.theme import REFERENCE_COLOUR, Look, new_figure, theme

LABELS, SEPARATION, PRICE = "knn_accuracy", "source_separation", "elbo_difference"
#: What a shift of means explains of a separation, in a mark of its own.
SHIFT, SHIFT_MARKER = "source_separation_linear", "s"


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Three panels a setting: labels in both spaces, sources in the shared one, held-out ELBO.

    Raises
    ------
    UserError
        If no label scores or no separation of sources was scored.
    """
    scores = rows_of(tables, "scores", study)
    need(scores, study, metric=LABELS)
    need(scores, study, metric=SEPARATION)
    sources, blocks = colours_of(tables, study)
    private = private_blocks(tables, study)
    # Both sources may have labels; judged is the one in which most blocks are active.
    judged = main_source(pick(scores, metric="kl"), private[0] if private else next(iter(blocks)))
    variants = list(swept_variants(scores))
    plain = plain_variant(tables, study)
    scores = with_differences(scores, plain)
    settings = list(dict.fromkeys(scores["setting"]))
    groups = [{"variant": variant, "point": point} for variant, point in variants]
    shared = {block: colour for block, colour in blocks.items() if block not in private}
    shown = {
        LABELS: [Series({"source": judged, "block": b}, Look(colour)) for b, colour in blocks.items()],
        SEPARATION: [
            Series({"block": block, "metric": metric}, Look(colour, marker))
            for block, colour in shared.items()
            for metric, marker in ((SEPARATION, "o"), (SHIFT, SHIFT_MARKER))
        ],
        PRICE: [Series({"source": s, "block": ""}, Look(colour)) for s, colour in sources.items()],
    }

    figure = new_figure(10.0, 0.9 + len(settings) * (0.9 + 0.34 * len(variants)))
    data, panels = FigureData(), {metric: [] for metric in shown}
    for band, setting in zip(bands(figure, [setting_label(s) for s in settings]), settings, strict=True):
        mine = pick(scores, setting=setting)
        for axes, (metric, series) in zip(band.subplots(1, 3, sharey=True), shown.items(), strict=True):
            rows = mine[mine["metric"].isin([metric, SHIFT] if metric == SEPARATION else [metric])]
            strips(axes, rows, groups, series, data, metric)
            panels[metric].append(axes)
            if metric != PRICE:
                _baselines(axes, pick(rows, metric=metric), judged, metric, data)
            name_groups(axes, [with_missing(swept_label(v), of_swept(mine, v)) for v in variants])
    share_range(panels[LABELS], "x")
    share_range(panels[SEPARATION], "x", 0.5)
    for metric, letter, title in zip(shown, "abc", ("labels", "sources", "price"), strict=True):
        panel_title(panels[metric][0], letter, title)
    panels[LABELS][-1].set_xlabel(f"labels of {judged} cells\n(balanced kNN accuracy)")
    panels[SEPARATION][-1].set_xlabel("separation of sources in the\nshared space (0.5: none)")
    panels[PRICE][-1].set_xlabel(f"held-out ELBO less {variant_label(plain)}'s\n(nats per cell, same seed)")
    for axes in panels[PRICE]:
        zero_line(axes, "x")
    signed_scale(panels[PRICE], "x", linear=10 * EVIDENCE_LINEAR, low=-1.0, high=1.0)
    lines = [
        line_handle(variant_label(v), REFERENCE_COLOUR, linewidth=1.1, linestyle=dashes)
        for v, dashes in DASHES.items()
        if (scores["variant"] == v).any()
    ]
    ends = [strip_handle(colour, f"ELBO of {source}") for source, colour in sources.items()]
    shift = [
        strip_handle(colour, f"{block} block, by shifted means", SHIFT_MARKER)
        for block, colour in shared.items()
        if (scores["metric"] == SHIFT).any()
    ]
    legend(figure, [*block_handles(blocks), *shift, *ends, *lines, *strip_handles()], columns=4)
    return figure, data.table()


def _baselines(axes: Axes, rows: pd.DataFrame, judged: str, metric: str, data: FigureData) -> None:
    """A vertical line at each baseline; those of labels are of the source whose labels are scored."""
    for variant, dashes in DASHES.items():
        mine = pick(rows, variant=variant)
        mine = pick(mine, source=judged) if metric == LABELS else mine
        value = median_of(mine["value"])
        if np.isfinite(value):
            axes.axvline(value, color=REFERENCE_COLOUR, linewidth=1.1, linestyle=dashes, zorder=2)
            data.add(metric, "reference", mine.iloc[:1], seed=None, value=value)
