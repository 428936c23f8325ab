"""Two-dimensional maps of cells: single ones, and a grid of those of many variants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import Arm, finished, of_arm, pick
from cdgm.plotting import style
from cdgm.plotting.source_data import SourceData

#: Beyond this many cells the points of a map are stored as pixels in the PDF.
MANY = 1500
#: Maps side by side in a grid.
COLUMNS = 6


def cloud(axes: Axes, cells: pd.DataFrame, colours: pd.Series) -> None:
    """The cells of a map, a colour each."""
    size = float(np.clip(4000 / max(len(cells), 1), 2.0, 9.0))
    axes.scatter(
        cells["x"],
        cells["y"],
        s=size,
        c=list(colours),
        alpha=0.8,
        linewidths=0,
        rasterized=len(cells) > MANY,
    )


def limits(values: pd.Series) -> tuple[float, float]:
    """The range of all but the farthest thousandth, so that one stray cell doesn't shrink the rest."""
    low, high = np.nanquantile(values, [0.0005, 0.9995])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def label_text(name: str) -> str:
    """Name of a label in a legend."""
    return name.replace("_", " ") if name else "not scored"


def shuffled(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells in a fixed random order, which keeps one group from hiding another."""
    cells = cells.sort_values("cell", kind="stable")
    return cells.iloc[np.random.default_rng(0).permutation(len(cells))]


def labelled_only(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of sources that have labels; those without one come first, the others lie on them."""
    cells = cells[cells["source"].isin(cells.loc[cells["label"] != "", "source"])]
    return pd.concat([cells[cells["label"] == ""], cells[cells["label"] != ""]])


def draw_grid(
    scores: pd.DataFrame,
    maps: pd.DataFrame,
    arms: Sequence[Arm],
    blocks: Sequence[str],
    sources: dict[str, str],
) -> tuple[Figure, pd.DataFrame]:
    """Maps of many arms: the first block by source, then every block by label.

    Parameters
    ----------
    scores, maps
        Rows of a study.
    arms
        (setting, variant) pairs; one without maps has empty frames.
    blocks
        Blocks to draw; the first is the shared one.
    sources
        A colour for each source.
    """
    kinds = [(blocks[0], "source"), *((block, "label") for block in blocks)]
    across = max(1, COLUMNS // len(kinds))
    labels = sorted(set(maps["label"]) - {""})
    colours = style.colours(labels, style.LABEL_COLOURS)
    unlabelled = (labelled_only(maps)["label"] == "").any()
    rest = {"": style.UNLABELLED_COLOUR} if unlabelled else {}
    rows = -(-len(arms) // across)
    handles = [style.dot_handle(c, f"{s} cells") for s, c in sources.items()]
    handles += [style.dot_handle(c, label_text(n)) for n, c in (colours | rest).items()]
    figure = style.new_figure(10.0, 0.3 + 0.25 * -(-len(handles) // 5) + 2.15 * rows)
    several = len({setting for setting, _ in arms}) > 1
    data = SourceData()
    parts = figure.subfigures(rows, across, squeeze=False, wspace=0.02)
    for part, arm in zip(parts.flat, arms, strict=False):
        note = finished(of_arm(scores, arm))
        name = style.arm_label(arm, arms) if several else style.variant_label(arm[1])
        title = name + (f" ({note})" if note else "")
        part.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold")
        mine = of_arm(maps, arm)
        mine = pick(mine, seed=mine["seed"].min()) if len(mine) else mine
        drawn: set[str] = set()
        for axes, (block, by) in zip(part.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
            cells = pick(mine, block=block)
            cells = shuffled(cells[np.isfinite(cells["x"]) & np.isfinite(cells["y"])])
            if block not in drawn:
                drawn.add(block)
                data.add(f"map of {block}", "map", cells.sort_index())
            _map(axes, cells, by, sources if by == "source" else colours | rest)
            axes.set_title(f"{block}, by {by}", loc="center", fontsize=8, pad=3)
    figure.legend(handles=handles, loc="outside upper center", ncols=5, columnspacing=1.0, handletextpad=0.2)
    return figure, data.table()


def _map(axes: Axes, cells: pd.DataFrame, by: str, colours: dict[str, str]) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    if cells.empty:
        axes.text(
            0.5,
            0.5,
            "no map",
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=8,
            color="#555555",
        )
        return
    shown = labelled_only(cells) if by == "label" else cells
    cloud(axes, shown, shown[by].map(colours))
    axes.set_xlim(limits(cells["x"]))
    axes.set_ylim(limits(cells["y"]))
