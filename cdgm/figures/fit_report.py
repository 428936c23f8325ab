"""Figures of the report of one fit: maps of each block, and the course of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cdgm.evaluation.embedding import layout
from cdgm.figures import training
from cdgm.plotting.cell_maps import by_label, by_source, draw_map
from cdgm.plotting.legends import literal
from cdgm.plotting.theme import new_figure, theme

#: How a block of more than two dimensions is laid out, and what its axes are called.
WAYS = {"umap": "UMAP", "pca": "PC"}


def map_table(latents: pd.DataFrame, blocks: Sequence[str], way: str, most: int = 20_000) -> pd.DataFrame:
    """Places of cells on a map of each block.

    Parameters
    ----------
    latents
        cell, source, label, and ``<block>_0``, ``<block>_1``, ... for each block, NaN for a cell that is not
        on its map.
    blocks
        Blocks to lay out. One of at most two dimensions is shown as it is.
    way
        ``umap`` or ``pca``.
    most
        Cells on a map, evenly spread over the rows.

    Returns
    -------
    DataFrame
        block, axes (what x and y are: "UMAP", "PC" or "latent"), cell, source, label, x, y.
    """
    rows = latents.iloc[np.linspace(0, len(latents) - 1, min(most, len(latents))).astype(int)]
    parts = []
    for block in blocks:
        columns = [c for c in map(str, latents) if c.rpartition("_")[0] == block]
        own = rows.dropna(subset=columns)
        xy = place(own[columns].to_numpy(dtype=float), way)
        axes = WAYS[way] if len(columns) > 2 else "latent"
        part = own[["cell", "source", "label"]].assign(block=block, axes=axes, x=xy[:, 0], y=xy[:, 1])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)[["block", "axes", "cell", "source", "label", "x", "y"]]


def place(points: np.ndarray, way: str) -> np.ndarray:
    """Points (n, d) in the plane (n, 2)."""
    if points.shape[1] <= 2:
        return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    if way == "umap":
        return layout(points, seed=0)
    centred = points - points.mean(axis=0)
    return centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T


@theme()
def maps_figure(maps: pd.DataFrame, sources: Sequence[str], label_name: str = "label") -> Figure:
    """A row of maps a block: cells by source, and by label where some cells have one.

    Parameters
    ----------
    maps
        See :func:`map_table`.
    sources
        All sources, in the order of the design.
    label_name
        The column that labels are from, for titles.
    """
    blocks = list(dict.fromkeys(maps["block"]))
    columns = [("source", by_source(sources))]
    if (maps["label"] != "").any():
        columns.append((label_name, by_label(maps["label"], "no label")))
    figure = new_figure(4.0 * len(columns) + 2.0 * (len(columns) > 1), 3.3 * len(blocks) + 0.4)
    grid = figure.subplots(len(blocks), len(columns), squeeze=False)
    for row, block in zip(grid, blocks, strict=True):
        cells = maps[maps["block"] == block]
        for axes, (name, colouring) in zip(row, columns, strict=True):
            draw_map(axes, cells, colouring, cells["axes"].iloc[0])
            axes.set_title(f"{block} block, by {literal(name)}")
    legend = {"handletextpad": 0.2, "columnspacing": 1.0, "borderaxespad": 0.2}
    handles = columns[0][1].handles()
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 5), **legend)
    if len(columns) > 1:
        handles = columns[1][1].handles()
        figure.legend(handles=handles, loc="outside right center", title=literal(label_name), **legend)
    return figure


def training_figure(history: pd.DataFrame, title: str) -> tuple[Figure, pd.DataFrame]:
    """The workflow's figure of training, for one fit.

    Parameters
    ----------
    history
        ``ComparativeModel.history``.
    title
        How it was fitted, in a few words.
    """
    members = history["seed"].nunique()
    setting = f"{title}, {members} member{'s' * (members > 1)}"
    table = history.assign(study="fit", setting=setting, variant=title, dataset="", fit="", point="")
    return training.draw({"history": table}, "fit")
