"""Figure ``weights``: leakage, recovery, evidence and size of blocks against the weight of a penalty."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cdgm.evaluation.table_slices import Tables, fits_of, order_of, pick
from cdgm.plotting import style
from cdgm.plotting.columns import EMPTIED, Columns, dress, reference, shade, strips
from cdgm.plotting.lanes import Member, leakage_scale, share_range
from cdgm.plotting.paired import EVIDENCE_LINEAR, elbo_differences, members_of, signed_scale
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import lines_of, plain_variant

TITLES = {
    "leakage_r2": ("another block's truth in a block", "linear R²"),
    "recovery_cc": ("a block's own truth", "mean canonical\ncorrelation"),
    "elbo_difference": ("held-out ELBO less {plain}'s", "nats per point,\nsame seed"),
    "kl": ("KL of a private block from its prior", "nats per point"),
    "active_dims": ("active dimensions", "dimensions"),
}
HEIGHTS = {"leakage_r2": 1.5, "recovery_cc": 1.2, "elbo_difference": 1.2, "kl": 1.0, "active_dims": 1.2}


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A stack of panels a setting; a column a variant and weight, all seeds in it.

    Raises
    ------
    UserError
        If recovery or linear leakage was not scored.
    """
    scores = fits_of(tables, study, "recovery_cc", "leakage_r2")
    plain = plain_variant(tables, study)
    if plain:
        scores = pd.concat([scores, elbo_differences(scores, plain)], ignore_index=True)
    members = members_of(tables, study, scores, TITLES)
    settings = list(dict.fromkeys(scores["setting"]))
    columns = Columns(tuple(lines_of(scores)))

    height = 0.75 + sum(HEIGHTS[m] for m in members)
    width = columns.ends[1] - columns.ends[0]
    figure = style.new_figure(min(max(1.2 + 0.9 * width, 7.5), 10.0), 0.9 + height * len(settings))
    data = SourceData()
    parts = figure.subfigures(len(settings), 1, squeeze=False)[:, 0]
    grids = []
    for part, setting in zip(parts, settings, strict=True):
        part.suptitle(style.setting_label(setting), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        grids.append(_setting(part, pick(scores, setting=setting), members, columns, plain, data))
    _scales(grids, list(members))
    figure.legend(handles=_handles(tables, study, plain), loc="outside upper center", ncols=3)
    return figure, data.table()


def _setting(
    part: SubFigure,
    rows: pd.DataFrame,
    members: dict[str, list[Member]],
    columns: Columns,
    plain: str,
    data: SourceData,
) -> dict[str, Axes]:
    ratios = [HEIGHTS[m] for m in members]
    grid = part.subplots(len(members), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    panels = dict(zip(members, grid, strict=True))
    for letter, (metric, axes) in zip("abcdefgh", panels.items(), strict=False):
        mine = pick(rows, metric=metric)
        if metric == "elbo_difference":
            axes.axhline(0.0, color="#555555", linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
        elif metric != "active_dims" and plain:
            reference(axes, mine, plain, members[metric])
        strips(axes, mine, columns, members[metric], data, letter)
        if metric == "active_dims":
            _true_dims(panels[metric], rows, members[metric], letter, data)
        title, unit = TITLES[metric]
        text = title.format(plain=style.variant_label(plain))
        # Names of variants stand above the first panel, where a title would run into them.
        axes.set_title(rf"$\bf{{{letter}}}$  {text}", pad=44.0 if letter == "a" else 3.0)
        axes.set_ylabel(unit, fontsize=8.5)
        dress(axes, columns, names=letter == "a", numbers=metric == list(members)[-1])
    for line, (bad, _) in shade(list(panels.values()), columns, rows).items():
        data.add(
            letter, "emptied", setting=rows["setting"].iloc[0], variant=line[0], point=line[1], value=bad
        )
    part.align_ylabels(grid)
    return panels


def _true_dims(axes: Axes, rows: pd.DataFrame, members: list[Member], letter: str, data: SourceData) -> None:
    for source, block, _, colour in members:
        truth = pick(rows, metric="true_dims", source=source, block=block)["value"].max()
        if np.isfinite(truth):
            axes.axhline(truth, color=colour, linewidth=1.1, linestyle=":", zorder=2)
            data.add(letter, "true_dims", setting=rows["setting"].iloc[0], block=block, value=truth)


def _scales(grids: list[dict[str, Axes]], metrics: list[str]) -> None:
    """The same scale for all settings, so that they compare."""
    columns = {m: [grid[m] for grid in grids] for m in metrics}
    leakage_scale(columns["leakage_r2"], "y")
    share_range(columns["recovery_cc"], "y", 0.0, 1.0)
    if "kl" in columns:
        share_range(columns["kl"], "y", 0.0)
    if "active_dims" in columns:
        most = max(axes.dataLim.ymax for axes in columns["active_dims"])
        # Above the dots there is room for the counts of fits.
        share_range(columns["active_dims"], "y", 0.0, 1.35 * max(most, 1.0) if np.isfinite(most) else 1.0)
        for axes in columns["active_dims"]:
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if "elbo_difference" in columns:
        signed_scale(columns["elbo_difference"], "y", linear=EVIDENCE_LINEAR, low=-1.0, high=1.0)


def _handles(tables: Tables, study: str, plain: str) -> list[object]:
    sources, blocks = order_of(tables, study)
    of_block = style.colours(blocks, style.BLOCK_COLOURS)
    handles: list[object] = [style.point_handle(of_block[b], f"{b} block") for b in blocks]
    if plain:
        of_source = style.colours(sources, style.SOURCE_COLOURS)
        handles += [style.point_handle(of_source[s], f"ELBO of {s}") for s in sources]
        text = f"{style.variant_label(plain)}, median"
        handles.append(Line2D([], [], color="#555555", linewidth=0.9, linestyle=(0, (4, 3)), label=text))
    handles.append(Line2D([], [], color="#555555", linewidth=1.1, linestyle=":", label="true dimensions"))
    handles.append(style.null_handle())
    text = "a block has too few active dimensions (in how many fits)"
    handles.append(Patch(facecolor=EMPTIED, alpha=0.5, linewidth=0, label=text))
    return handles
