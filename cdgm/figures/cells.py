"""Figure ``cells``: maps of the latent spaces of cells, and label and mixing scores beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cdgm.evaluation.table_slices import BASELINES, Tables, arms_of, need, of_arm, pick, rows_of
from cdgm.plotting.cell_maps import Colouring, by_label, by_source, draw_map, labelled_only
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import band_title, bands, name_groups, panel_title, zero_line
from cdgm.plotting.labels import arm_label, metric_title, variant_label, with_missing
from cdgm.plotting.legends import block_handles, legend, reference_handle, strip_handles
from cdgm.plotting.scales import share_range
from cdgm.plotting.series import Series, colours_of
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import REFERENCE_COLOUR, Look, new_figure, theme
from cdgm.utils.errors import bad_input

#: Metrics of the panels beside maps.
SCORES = {
    "scores": ("knn_accuracy", "ari", "nmi", "silhouette"),
    "mixing": ("source_mixing", "source_mixing_strongest", "source_mixing_within"),
}
MARKERS = {"pca": "D", "pca_background": "s", "contrastive_pca": "^", "oracle": "*", "library_size": "v"}
SIZES = {"oracle": 8.5}
#: Beyond this many arms a figure has maps only.
MANY_ARMS = 3
#: Maps beside each other where there are maps only.
COLUMNS = 6
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
    colourings = by_source(list(sources)), by_label(labelled_only(maps)["label"], "not scored")
    alone = len(arms) > MANY_ARMS and len({setting for setting, _ in arms}) == 1
    titles = [variant_label(arm[1]) if alone else arm_label(arm, arms) for arm in arms]
    titles = [with_missing(t, of_arm(scores, arm), " ") for t, arm in zip(titles, arms, strict=True)]
    data = FigureData()
    if len(arms) > MANY_ARMS:
        arm_maps = [of_arm(maps, arm) for arm in arms]
        return _grid(arm_maps, titles, blocks, colourings, data), data.table()
    for arm in arms:
        if of_arm(maps, arm).empty:
            found = [setting for setting, _ in arms_of(maps)]
            raise bad_input(f"maps of study {study!r}", "setting", found, f"also {arm[0]!r}")

    names = max(0, -(-len(colourings[1].handles()) // 2) - 3)
    figure = new_figure(10.0, 0.5 + len(arms) * (0.8 + 2.1 * len(blocks) + 0.2 * names))
    panels: dict[str, list[Axes]] = {name: [] for name in SCORES}
    for band, arm in zip(bands(figure, titles), arms, strict=True):
        left, right = band.subfigures(1, 2, squeeze=False, width_ratios=[1.0, 1.05])[0]
        kinds = [(block, colouring) for block in blocks for colouring in colourings]
        grid = left.subplots(len(blocks), 2, squeeze=False)
        _draw_maps(grid.flat, of_arm(maps, arm), kinds, data)
        _name_maps(grid, blocks, colourings, judged)
        mine = scores[(scores["setting"] == arm[0]) & scores["variant"].isin([arm[1], *BASELINES])]
        shown = {name: [m for m in of if (mine["metric"] == m).any()] for name, of in SCORES.items()}
        shown = {name: metrics for name, metrics in shown.items() if metrics}
        # A short panel has an axis and a title too, so it gets a little more than its share.
        heights = [len(metrics) + 0.3 * i for i, metrics in enumerate(shown.values())]
        found = right.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (name, metrics) in zip(found, shown.items(), strict=True):
            _draw_scores(axes, of_arm(mine, arm), mine, metrics, colours, data, name)
            panels[name].append(axes)
    for axes in panels["scores"]:
        panel_title(axes, "c", f"labels of {judged} cells")
        axes.set_xlabel("score (1 is perfect)")
    for axes in panels["mixing"]:
        zero_line(axes, "x", 1.0)
        panel_title(axes, "d", f"{judged} cells among neighbours")
        axes.set_xlabel("share over expectation (1, dotted: sources are mixed)")
    for name, ends in {"scores": (0.0, 1.0), "mixing": (0.9, 1.9)}.items():
        share_range(panels[name], "x", *ends)
        for axes in panels[name]:
            axes.xaxis.set_major_locator(MaxNLocator(6))
    baselines = [v for v in BASELINES if (scores["variant"] == v).any()]
    references = [reference_handle(variant_label(v), MARKERS[v], SIZES.get(v, 5.5)) for v in baselines]
    legend(figure, [*block_handles(colours), *references, *strip_handles()])
    return figure, data.table()


def _draw_maps(
    panels: Sequence[Axes], maps: pd.DataFrame, kinds: Sequence[tuple[str, Colouring]], data: FigureData
) -> None:
    """Maps of an arm's first seed, one of (block, colouring) a panel."""
    maps = pick(maps, seed=maps["seed"].min())
    for block in dict.fromkeys(block for block, _ in kinds):
        data.add(f"map of {block}", "map", pick(maps, block=block))
    for axes, (block, colouring) in zip(panels, kinds, strict=True):
        cells = pick(maps, block=block)
        draw_map(axes, cells if colouring.column == "source" else labelled_only(cells), colouring)


def _name_maps(
    grid: np.ndarray, blocks: Sequence[str], colourings: tuple[Colouring, Colouring], judged: str
) -> None:
    """Names of blocks at the left, legends below."""
    for axes in grid[:-1].flat:
        axes.set_xlabel("")
    for row, block in zip(grid, blocks, strict=True):
        row[0].set_ylabel(f"{block} space\nUMAP 2")
        row[1].set_ylabel("")
    panel_title(grid[0, 0], "a", "by source")
    panel_title(grid[0, 1], "b", f"{judged} cells by label")
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1), "ncols": 2, "fontsize": 8}
    for axes, colouring, ending in zip(grid[-1], colourings, (" cells", ""), strict=True):
        axes.legend(handles=colouring.handles(ending), **place, **LEGEND)


def _grid(
    maps: Sequence[pd.DataFrame],
    titles: Sequence[str],
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
    for part, mine, title in zip(parts, maps, titles, strict=False):
        band_title(part, title)
        panels = part.subplots(1, len(kinds), squeeze=False)[0]
        _draw_maps(panels, mine, kinds, data)
        for axes, (block, colouring) in zip(panels, kinds, strict=True):
            axes.set_title(f"{block}, by {colouring.column}", loc="center", fontsize=8, pad=3)
            axes.set_xlabel("UMAP 1", fontsize=7, labelpad=2)
            axes.set_ylabel("UMAP 2" if axes is panels[0] else "", fontsize=7, labelpad=2)
    figure.legend(handles=handles, loc="outside upper center", ncols=5, **LEGEND)
    return figure


def _draw_scores(
    axes: Axes,
    fits: pd.DataFrame,
    scores: pd.DataFrame,
    metrics: Sequence[str],
    colours: Mapping[str, str],
    data: FigureData,
    panel: str,
) -> None:
    """A group a metric: a strip for each block of the arm's fits, and below them baselines of ``scores``."""
    series = [Series({"block": b}, Look(c)) for b, c in colours.items() if (fits["block"] == b).any()]
    baselines = [v for v in BASELINES if (scores["variant"] == v).any()]
    step = 0.84 / (len(series) + bool(baselines))
    at = np.arange(len(metrics)) - bool(baselines) * step / 2
    groups = [{"metric": metric} for metric in metrics]
    strips(axes, fits, groups, series, data, panel, at=at, step=step, size=16)
    for variant in baselines:
        rows = pick(scores, variant=variant)
        rows = rows[np.isfinite(rows["value"]) & rows["metric"].isin(metrics)]
        values = rows.groupby("metric", sort=False)["value"].median()
        places = [metrics.index(m) + (0.84 - step) / 2 for m in values.index]
        mark = {"s": SIZES.get(variant, 5.5) ** 2, "linewidth": 1.1, "color": "white", "zorder": 4}
        mark |= {"marker": MARKERS[variant], "edgecolor": REFERENCE_COLOUR, "legend": False}
        sns.scatterplot(x=values.array, y=places, ax=axes, **mark)
        data.add(panel, "reference", rows.drop_duplicates("metric"), seed=None, value=values.to_numpy())
    name_groups(axes, [metric_title(m) for m in metrics])
