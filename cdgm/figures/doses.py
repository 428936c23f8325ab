"""Figure ``doses``: how much of known doses each block explains, for every variant, and what that costs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from cdgm.evaluation.catalogue import DOSE, dose_metrics
from cdgm.evaluation.table_slices import Tables, need, pick, rows_of
from cdgm.plotting.elbo_differences import plain_variant, with_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import bands, name_groups, panel_title, zero_line
from cdgm.plotting.labels import setting_label, swept_label, variant_label, with_missing
from cdgm.plotting.legends import block_handles, legend, strip_handle, strip_handles
from cdgm.plotting.scales import EVIDENCE_LINEAR, share_range, signed_scale
from cdgm.plotting.series import Series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import of_swept, swept_variants
from cdgm.plotting.theme import Look, new_figure, theme

TITLES = ("linear", "nonlinear", "price")


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Three panels a setting: R2 of the doses by least squares and by kernel regression, held-out ELBO.

    Raises
    ------
    UserError
        If no doses were scored.
    """
    scores = rows_of(tables, "scores", study)
    # Shared and private blocks have scores of different names: what is a leak in one is wanted in the other.
    kinds = [tuple(pair) for pair in zip(dose_metrics(False), dose_metrics(True), strict=True)]
    for leak, _ in kinds:
        need(pick(scores, truth=DOSE), study, metric=leak)
    sources, blocks = colours_of(tables, study)
    variants = list(swept_variants(scores))
    plain = plain_variant(tables, study)
    scores = with_differences(scores, plain)
    settings = list(dict.fromkeys(scores["setting"]))
    groups = [{"variant": variant, "point": point} for variant, point in variants]
    of_blocks = [Series({"block": block, "truth": DOSE}, Look(colour)) for block, colour in blocks.items()]
    of_sources = [Series({"source": source, "block": ""}, Look(colour)) for source, colour in sources.items()]

    figure = new_figure(10.0, 0.9 + len(settings) * (0.9 + 0.34 * len(variants)))
    data, panels = FigureData(), []
    for band, setting in zip(bands(figure, [setting_label(s) for s in settings]), settings, strict=True):
        mine = pick(scores, setting=setting)
        row = band.subplots(1, 3, sharey=True)
        for axes, metrics, title in zip(row, kinds, TITLES, strict=False):
            strips(axes, mine[mine["metric"].isin(metrics)], groups, of_blocks, data, title)
        strips(row[2], pick(mine, metric="elbo_difference"), groups, of_sources, data, TITLES[2])
        for axes in row:
            zero_line(axes, "x")
            name_groups(axes, [with_missing(swept_label(v), of_swept(mine, v)) for v in variants])
        panels.append(row)
    share_range([axes for row in panels for axes in row[:2]], "x", 0.0, 0.5)
    signed_scale([row[2] for row in panels], "x", linear=10 * EVIDENCE_LINEAR, low=-1.0, high=1.0)
    for axes, letter, title in zip(panels[0], "abc", TITLES, strict=True):
        panel_title(axes, letter, title)
    panels[-1][0].set_xlabel("R² of the doses, least squares")
    panels[-1][1].set_xlabel("R² of the doses, kernel regression")
    panels[-1][2].set_xlabel(f"held-out ELBO less {variant_label(plain)}'s\n(nats per cell, same seed)")
    ends = [strip_handle(colour, f"ELBO of {source}") for source, colour in sources.items()]
    legend(figure, [*block_handles(blocks), *ends, *strip_handles()], columns=3)
    return figure, data.table()
