"""Figure ``cells``: maps of the latent spaces of cells, and label and mixing scores beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cdgm.evaluation.table_slices import (
    BASELINES,
    Arm,
    Tables,
    arms_of,
    finished,
    median_of,
    need,
    of_arm,
    order_of,
    pick,
    rows_of,
)
from cdgm.plotting import style
from cdgm.plotting.cell_maps import cloud, draw_grid, label_text, labelled_only, limits, shuffled
from cdgm.plotting.source_data import SourceData
from cdgm.utils.errors import bad_input

LABEL_SCORES = ("knn_accuracy", "ari", "nmi", "silhouette")
MIXING_SCORES = ("source_mixing", "source_mixing_strongest", "source_mixing_within")
MARKERS = {"pca": "D", "pca_background": "s", "contrastive_pca": "^", "oracle": "*"}
SIZES = {"oracle": 70}
#: Beyond this many arms a figure has maps only, two arms a row.
MANY_ARMS = 3


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Maps of every block coloured by source and by label, and scores of all seeds, a row an arm.

    Beyond three arms there are maps only: the figure ``cells_tradeoff`` compares scores of many.

    Raises
    ------
    UserError
        If the study has no maps, no kNN scores, or, of few arms, no maps of one.
    """
    scores = rows_of(tables, "scores", study)
    # Every source is asked for its mixing; shown is the one whose labels are judged.
    judged = need(scores, study, metric="knn_accuracy")["source"].iloc[0]
    scores = pick(scores, source=judged)
    maps = rows_of(tables, "maps", study)
    arms = arms_of(scores)
    sources, blocks = order_of(tables, study)
    colours = style.colours(blocks, style.BLOCK_COLOURS)
    drawn = [b for b in blocks if (maps["block"] == b).any()]
    if len(arms) > MANY_ARMS:
        return draw_grid(scores, maps, arms, drawn, style.colours(sources, style.SOURCE_COLOURS))
    for arm in arms:
        if of_arm(maps, arm).empty:
            raise bad_input(
                f"maps of study {study!r}", "setting", [a[0] for a in arms_of(maps)], f"also {arm[0]!r}"
            )

    figure = style.new_figure(10.0, 0.5 + len(arms) * (0.8 + 2.1 * len(drawn)))
    data = SourceData()
    rows = figure.subfigures(len(arms), 1, squeeze=False)[:, 0]
    beside: list[dict[str, Axes]] = []
    for row, arm in zip(rows, arms, strict=True):
        mine = scores[(scores["setting"] == arm[0]) & scores["variant"].isin([arm[1], *BASELINES])]
        note = finished(of_arm(scores, arm))
        title = style.arm_label(arm, arms) + (f" ({note})" if note else "")
        row.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        axes = _layout(row, drawn, mine)
        beside.append(axes)
        _maps(axes, of_arm(maps, arm), drawn, style.colours(sources, style.SOURCE_COLOURS), data)
        _scores(axes["scores"], mine, LABEL_SCORES, arm, colours, data, "scores")
        style.panel_title(axes["scores"], "c", f"labels of {judged} cells")
        axes["scores"].set_xlabel("score (1 is perfect)")
        if "mixing" in axes:
            _scores(axes["mixing"], mine, MIXING_SCORES, arm, colours, data, "mixing")
            axes["mixing"].axvline(1.0, color="black", linewidth=0.9, linestyle=":", zorder=1.8)
            style.panel_title(axes["mixing"], "d", f"{judged} cells among neighbours")
            axes["mixing"].set_xlabel("share over expectation (1, dotted: sources are mixed)")
    for name in ("scores", "mixing"):
        panels = [axes[name] for axes in beside if name in axes]
        limits = np.array([panel.get_xlim() for panel in panels]).reshape(-1, 2)
        for panel in panels:
            panel.set_xlim(limits[:, 0].min(), limits[:, 1].max())
            panel.xaxis.set_major_locator(MaxNLocator(6))
    figure.legend(handles=_handles(scores, colours), loc="outside upper right", ncols=4)
    return figure, data.table()


def _layout(row: SubFigure, blocks: list[str], scores: pd.DataFrame) -> dict[str, Axes]:
    """Maps on the left, a row a block; scores on the right, sized by how many there are."""
    labels = sum((scores["metric"] == m).any() for m in LABEL_SCORES)
    mixing = sum((scores["metric"] == m).any() for m in MIXING_SCORES)
    left, right = row.subfigures(1, 2, width_ratios=[1.0, 1.05])
    axes = left.subplot_mosaic([[f"{block}/source", f"{block}/label"] for block in blocks])
    names = [["scores"], ["mixing"]] if mixing else [["scores"]]
    # The shorter panel has an axis and a title too, so it gets a little more than its share.
    return axes | right.subplot_mosaic(names, height_ratios=[labels, mixing + 0.3][: len(names)])


def _maps(
    axes: dict[str, Axes], maps: pd.DataFrame, blocks: list[str], sources: dict[str, str], data: SourceData
) -> None:
    """Cells of one seed; a fixed shuffle keeps one group from hiding another."""
    maps = pick(maps, seed=maps["seed"].min())
    for i, block in enumerate(blocks):
        cells = shuffled(pick(maps, block=block))
        data.add(f"map of {block}", "map", cells.sort_index())
        labels = sorted(cells.loc[cells["label"] != "", "label"].unique())
        label_colours = style.colours(labels, style.LABEL_COLOURS) | {"": style.UNLABELLED_COLOUR}
        by_source, by_label = axes[f"{block}/source"], axes[f"{block}/label"]
        cloud(by_source, cells, cells["source"].map(sources))
        labelled = labelled_only(cells)
        cloud(by_label, labelled, labelled["label"].map(label_colours))
        by_source.set_ylabel(f"{block} space")
        if i == 0:
            style.panel_title(by_source, "a", "by source")
            style.panel_title(by_label, "b", f"{'/'.join(labelled['source'].unique())} cells by label")
        for panel in (by_source, by_label):
            panel.set_xlim(limits(cells["x"]))
            panel.set_ylim(limits(cells["y"]))
            panel.set_xticks([])
            panel.set_yticks([])
            for side in ("top", "right"):
                panel.spines[side].set_visible(True)
        if i == len(blocks) - 1:
            unlabelled = [""] if (labelled["label"] == "").any() else []
            for panel, handles in (
                (by_source, [style.dot_handle(c, f"{s} cells") for s, c in sources.items()]),
                (
                    by_label,
                    [style.dot_handle(label_colours[n], label_text(n)) for n in [*labels, *unlabelled]],
                ),
            ):
                panel.legend(
                    handles=handles,
                    loc="upper center",
                    bbox_to_anchor=(0.5, -0.02),
                    ncols=2,
                    fontsize=8,
                    handletextpad=0.1,
                    columnspacing=0.8,
                    borderaxespad=0.2,
                )


def _scores(
    axes: Axes,
    rows: pd.DataFrame,
    metrics: tuple[str, ...],
    arm: Arm,
    colours: dict[str, str],
    data: SourceData,
    panel: str,
) -> None:
    """A group of lanes a metric: one a block with all seeds, and one with the baselines."""
    metrics = tuple(m for m in metrics if (rows["metric"] == m).any())
    blocks = [b for b in colours if (of_arm(rows, arm)["block"] == b).any()]
    baselines = [v for v in BASELINES if (rows["variant"] == v).any()]
    lanes = len(blocks) + bool(baselines)
    step = 0.84 / lanes
    for i, metric in enumerate(metrics):
        scored = pick(rows, metric=metric)
        for j, block in enumerate(blocks):
            lane = pick(of_arm(scored, arm), block=block).sort_values("seed")
            if lane.empty:
                continue
            position = i + (j - (lanes - 1) / 2) * step
            high = median_of(lane["null_high"])
            style.null_band(axes, high, (position - step / 2, position + step / 2), horizontal=True)
            good = lane[lane["finite"]]
            median = style.strip(
                axes, position, good["value"], colours[block], horizontal=True, width=step * 0.8
            )
            data.add(panel, "seed", good)
            data.add(panel, "left out", lane[~lane["finite"]])
            for kind, value in (("median", median), ("null_high", high)):
                data.add(panel, kind, lane.iloc[:1], seed=None, value=value)
        position = i + (lanes - 1) / 2 * step
        for variant in baselines:
            lane = pick(scored, variant=variant)
            lane = lane[np.isfinite(lane["value"])]
            if lane.empty:
                continue
            value = float(lane["value"].median())
            axes.scatter(
                value,
                position,
                s=SIZES.get(variant, 30),
                marker=MARKERS[variant],
                facecolor="white",
                edgecolor=style.REFERENCE_COLOUR,
                linewidths=1.1,
                zorder=4,
            )
            data.add(panel, "reference", lane.iloc[:1], seed=None, value=value)
    axes.set_yticks(range(len(metrics)), [style.metric_title(m) for m in metrics])
    axes.set_ylim(len(metrics) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for i in range(len(metrics) - 1):
        axes.axhline(i + 0.5, color="#DDDDDD", linewidth=0.7, zorder=0.5)
    low, high = axes.get_xlim()
    least = 0.0 if panel == "scores" else 0.9
    axes.set_xlim(min(low, least), max(high, least + 1.05))


def _handles(scores: pd.DataFrame, colours: dict[str, str]) -> list[object]:
    handles: list[object] = [style.point_handle(c, f"{b} block") for b, c in colours.items()]
    for variant in BASELINES:
        if (scores["variant"] == variant).any():
            handles.append(
                Line2D(
                    *([], []),
                    linestyle="none",
                    marker=MARKERS[variant],
                    markersize=9 if variant == "oracle" else 6,
                    markerfacecolor="white",
                    markeredgecolor=style.REFERENCE_COLOUR,
                    label=style.variant_label(variant),
                )
            )
    return [*handles, style.null_handle()]
