"""Figure ``cells``: maps of the latent spaces of cells, and label and mixing scores beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cdgm.evaluation.references import BASELINES
from cdgm.evaluation.table_slices import Arm, Tables, arms_of, finished, need, of_arm, pick, rows_of
from cdgm.plotting.cell_maps import Colouring, by_label, by_source, draw_map, labelled_only
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import band_title, bands, name_groups, panel_title, zero_line
from cdgm.plotting.labels import arm_label, metric_title, variant_label
from cdgm.plotting.legends import block_handles, legend, strip_handles
from cdgm.plotting.scales import share_range
from cdgm.plotting.series import Series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import REFERENCE_COLOUR, Look, new_figure, theme

#: Metrics of the panels beside maps.
SCORES = {
    "scores": ("knn_accuracy", "ari", "nmi", "silhouette"),
    "mixing": ("source_mixing", "source_mixing_strongest", "source_mixing_within"),
}
MARKERS = {"pca": "D", "pca_background": "s", "contrastive_pca": "^", "oracle": "*"}
#: Beyond this many arms a figure has maps only, two arms a row.
MANY_ARMS = 3
#: Maps beside each other where there are maps only.
COLUMNS = 6
UNLABELLED = "not scored"
LEGEND = {"handletextpad": 0.1, "columnspacing": 0.8, "borderaxespad": 0.2}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Maps of every block coloured by source and by label, and scores of all seeds, a band an arm.

    Beyond three arms there are maps only: the figure ``cells_tradeoff`` compares scores of many.

    Raises
    ------
    UserError
        If the study has no maps, no kNN scores, or, of few arms, no maps of one.
    """
    scores = rows_of(tables, "scores", study)
    # Every source is scored for its mixing; shown is the one whose labels are scored.
    judged = need(scores, study, metric="knn_accuracy")["source"].iloc[0]
    scores = pick(scores, source=judged)
    maps = rows_of(tables, "maps", study)
    arms = arms_of(scores)
    sources, colours = colours_of(tables, study)
    blocks = [b for b in colours if (maps["block"] == b).any()]
    colourings = by_source(list(sources)), by_label(labelled_only(maps)["label"], UNLABELLED)
    titles = {arm: _title(scores, arm, arms) for arm in arms}
    data = FigureData()
    if len(arms) > MANY_ARMS:
        return _grid(maps, titles, blocks, colourings, data), data.table()
    for setting, variant in arms:
        need(maps, study, setting=setting, variant=variant)

    names = max(0, -(-len(colourings[1].handles()) // 2) - 3)
    figure = new_figure(10.0, 0.5 + len(arms) * (0.8 + 2.1 * len(blocks) + 0.2 * names))
    panels: dict[str, list[Axes]] = {"scores": [], "mixing": []}
    for band, arm in zip(bands(figure, list(titles.values())), arms, strict=True):
        left, right = band.subfigures(1, 2, width_ratios=[1.0, 1.05])
        _maps(left, of_arm(maps, arm), blocks, colourings, judged, data)
        mine = scores[(scores["setting"] == arm[0]) & scores["variant"].isin([arm[1], *BASELINES])]
        found = {name: [m for m in of if (mine["metric"] == m).any()] for name, of in SCORES.items()}
        found = {name: metrics for name, metrics in found.items() if metrics}
        # A short panel has an axis and a title too, so it gets a little more than its share.
        heights = [len(metrics) + 0.3 * i for i, metrics in enumerate(found.values())]
        axes = right.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, (name, metrics) in zip(axes, found.items(), strict=True):
            _scores(panel, mine, metrics, arm, colours, data, name)
            panels[name].append(panel)
    for axes in panels["scores"]:
        panel_title(axes, "c", f"labels of {judged} cells")
        axes.set_xlabel("score (1 is perfect)")
    for axes in panels["mixing"]:
        zero_line(axes, "x", 1.0)
        panel_title(axes, "d", f"{judged} cells among neighbours")
        axes.set_xlabel("share over expectation (1, dotted: sources are mixed)")
    share_range(panels["scores"], "x", 0.0, 1.0)
    share_range(panels["mixing"], "x", 0.9, 1.9)
    for axes in [*panels["scores"], *panels["mixing"]]:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    legend(figure, [*block_handles(colours), *_baseline_handles(scores), *strip_handles()], columns=4)
    return figure, data.table()


def _title(scores: pd.DataFrame, arm: Arm, arms: Sequence[Arm]) -> str:
    """Name of an arm, without its setting in a grid of one setting, and how many of its fits finished."""
    note = finished(of_arm(scores, arm))
    one = len(arms) > MANY_ARMS and len({setting for setting, _ in arms}) == 1
    label = variant_label(arm[1]) if one else arm_label(arm, arms)
    return label + (f" ({note})" if note else "")


def _one_seed(maps: pd.DataFrame, blocks: Sequence[str], data: FigureData) -> dict[str, pd.DataFrame]:
    """Maps of an arm's first seed, by block."""
    found = {block: pick(maps, seed=maps["seed"].min(), block=block) for block in blocks}
    for block, cells in found.items():
        data.add(f"map of {block}", "map", cells)
    return found


def _maps(
    part: SubFigure,
    maps: pd.DataFrame,
    blocks: Sequence[str],
    colourings: tuple[Colouring, Colouring],
    judged: str,
    data: FigureData,
) -> None:
    """Every block by source and by label, a row a block, with a legend below each column."""
    grid = part.subplots(len(blocks), 2, squeeze=False)
    for row, (block, cells) in zip(grid, _one_seed(maps, blocks, data).items(), strict=True):
        draw_map(row[0], cells, colourings[0])
        draw_map(row[1], labelled_only(cells), colourings[1])
        row[0].set_ylabel(f"{block} space\nUMAP 2")
        row[1].set_ylabel("")
        for axes in row if row[0] not in grid[-1] else ():
            axes.set_xlabel("")
    panel_title(grid[0, 0], "a", "by source")
    panel_title(grid[0, 1], "b", f"{judged} cells by label")
    for axes, colouring, ending in zip(grid[-1], colourings, (" cells", ""), strict=True):
        axes.legend(
            handles=colouring.handles(ending), loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2,
            fontsize=8, **LEGEND,
        )  # fmt: skip


def _grid(
    maps: pd.DataFrame,
    titles: Mapping[Arm, str],
    blocks: Sequence[str],
    colourings: tuple[Colouring, Colouring],
    data: FigureData,
) -> Figure:
    """Maps of many arms: the first block, which is shared, by source, then every block by label."""
    kinds = [(blocks[0], colourings[0]), *((block, colourings[1]) for block in blocks)]
    across = max(1, COLUMNS // len(kinds))
    rows = -(-len(titles) // across)
    handles = [*colourings[0].handles(" cells"), *colourings[1].handles()]
    figure = new_figure(10.0, 0.3 + 0.25 * -(-len(handles) // 5) + 2.3 * rows)
    parts = figure.subfigures(rows, across, squeeze=False, wspace=0.02).flat
    for part, (arm, title) in zip(parts, titles.items(), strict=False):
        band_title(part, title)
        found = _one_seed(of_arm(maps, arm), blocks, data)
        panels = part.subplots(1, len(kinds), squeeze=False)[0]
        for axes, (block, colouring) in zip(panels, kinds, strict=True):
            cells = found[block] if colouring.column == "source" else labelled_only(found[block])
            draw_map(axes, cells, colouring)
            axes.set_title(f"{block}, by {colouring.column}", loc="center", fontsize=8, pad=3)
            axes.set_xlabel("UMAP 1", fontsize=7, labelpad=2)
            axes.set_ylabel("UMAP 2" if axes is panels[0] else "", fontsize=7, labelpad=2)
    figure.legend(handles=handles, loc="outside upper center", ncols=5, **LEGEND)
    return figure


def _scores(
    axes: Axes,
    rows: pd.DataFrame,
    metrics: Sequence[str],
    arm: Arm,
    colours: Mapping[str, str],
    data: FigureData,
    panel: str,
) -> None:
    """A group a metric: a strip for each block, and baselines below them."""
    mine = of_arm(rows, arm)
    series = [Series({"block": b}, Look(c)) for b, c in colours.items() if (mine["block"] == b).any()]
    baselines = [v for v in BASELINES if (rows["variant"] == v).any()]
    step = 0.84 / (len(series) + bool(baselines))
    at = np.arange(len(metrics)) - bool(baselines) * step / 2
    groups = [{"metric": metric} for metric in metrics]
    strips(axes, mine, groups, series, data, panel, at=at, step=step, size=16)
    for variant in baselines:
        found = pick(rows, variant=variant)
        found = found[np.isfinite(found["value"]) & found["metric"].isin(metrics)]
        values = found.groupby("metric", sort=False)["value"].median()
        places = [metrics.index(metric) + (0.84 - step) / 2 for metric in values.index]
        axes.plot(values, places, zorder=4, **_hollow(variant))
        data.add(panel, "reference", found.drop_duplicates("metric"), seed=None, value=values.to_numpy())
    name_groups(axes, [metric_title(m) for m in metrics])


def _hollow(variant: str) -> dict[str, object]:
    """Mark of a baseline, which is no fit."""
    return {
        "linestyle": "none",
        "marker": MARKERS[variant],
        "markersize": 8.5 if variant == "oracle" else 5.5,
        "markerfacecolor": "white",
        "markeredgecolor": REFERENCE_COLOUR,
        "markeredgewidth": 1.1,
    }


def _baseline_handles(scores: pd.DataFrame) -> list[Line2D]:
    there = [v for v in BASELINES if (scores["variant"] == v).any()]
    return [Line2D([], [], label=variant_label(v), **_hollow(v)) for v in there]
