"""Figures of a user's own fit: maps of each block, and the course of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.embedding import layout
from cdgm.figures import training
from cdgm.plotting import style

#: Names in one panel's legend, at most.
MOST_NAMES = 16
#: Beyond this many cells the points of a map are stored as pixels in the PDF.
MANY = 1_500
WAYS = ("umap", "pca")


def map_table(latents: pd.DataFrame, blocks: Sequence[str], way: str, most: int = 20_000) -> pd.DataFrame:
    """Places of cells on a map of each block.

    Parameters
    ----------
    latents
        cell, source, label, and ``<block>_0``, ``<block>_1``, ... for each block.
    blocks
        Blocks to lay out. One of two dimensions is shown as it is.
    way
        ``umap`` or ``pca``.
    most
        Cells on a map, evenly spread.

    Returns
    -------
    DataFrame
        block, cell, source, label, x, y.
    """
    rows = latents.iloc[np.linspace(0, len(latents) - 1, min(most, len(latents))).astype(int)]
    parts = []
    for block in blocks:
        columns = [c for c in latents if c.rpartition("_")[0] == block]
        points = rows[columns].to_numpy(dtype=float)
        xy = place(points, way)
        parts.append(rows[["cell", "source", "label"]].assign(block=block, x=xy[:, 0], y=xy[:, 1]))
    return pd.concat(parts, ignore_index=True)[["block", "cell", "source", "label", "x", "y"]]


def place(points: np.ndarray, way: str) -> np.ndarray:
    """Points (n, d) in the plane (n, 2)."""
    if points.shape[1] <= 2:
        return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    if way == "umap":
        return layout(points, seed=0)
    centred = points - points.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


@style.style()
def maps_figure(maps: pd.DataFrame, sources: Sequence[str]) -> Figure:
    """A row of maps a block: cells by source, and by label where some cells have one."""
    blocks = list(dict.fromkeys(maps["block"]))
    labelled = bool((maps["label"] != "").any())
    figure = style.new_figure(4.2 * (1 + labelled) + 1.6, 3.2 * len(blocks) + 0.4)
    grid = figure.subplots(len(blocks), 1 + labelled, squeeze=False)
    colours = style.colours(sources, style.SOURCE_COLOURS)
    names = (
        maps.loc[maps["label"] != "", "label"]
        .value_counts()
        .sort_values(ascending=False, kind="stable")
        .index
    )
    shown = sorted(names[:MOST_NAMES])
    by_label = style.colours(shown, style.LABEL_COLOURS)
    for i, block in enumerate(blocks):
        cells = maps[maps["block"] == block]
        cells = cells.iloc[np.random.default_rng(0).permutation(len(cells))]
        _cloud(grid[i, 0], cells, cells["source"].map(colours))
        grid[i, 0].set_title(f"{block} block, by source")
        if labelled:
            # Cells without a label, or of one that the legend has no place for, are the ground.
            cells = cells.sort_values("label", key=lambda label: label.isin(shown), kind="stable")
            _cloud(grid[i, 1], cells, cells["label"].map(by_label).fillna(style.UNLABELLED_COLOUR))
            grid[i, 1].set_title(f"{block} block, by label")
    _legend(grid[-1, 0], colours)
    if labelled:
        others = (maps["label"] == "").any() or len(names) > len(shown)
        _legend(grid[-1, 1], by_label | ({"others": style.UNLABELLED_COLOUR} if others else {}))
    return figure


def training_figure(history: pd.DataFrame, variant: str) -> tuple[Figure, pd.DataFrame]:
    """The workflow's figure of training, for one fit.

    Parameters
    ----------
    history
        ``ComparativeModel.history``.
    variant
        Name of how it was fitted.
    """
    study = "own data"
    table = history.assign(study=study, setting=study, variant=variant, dataset=study, fit="", point="")
    return training.draw({"history": table}, study)


def _cloud(axes: Axes, cells: pd.DataFrame, colours: pd.Series) -> None:
    size = float(np.clip(4_000 / max(len(cells), 1), 2.0, 12.0))
    axes.scatter(
        cells["x"], cells["y"], s=size, c=list(colours), alpha=0.8, linewidths=0, rasterized=len(cells) > MANY
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)


def _legend(axes: Axes, colours: dict[str, str]) -> None:
    handles = [style.dot_handle(colour, style.wrapped(name, 24)) for name, colour in colours.items()]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, columnspacing=0.8)
