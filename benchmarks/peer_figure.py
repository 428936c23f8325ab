"""Figure of ``benchmarks.peers``: which axes fits find again, and how good fits are that disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peer_stability import EQUAL_ELBO
from cdgm.plotting.frames import panel_title
from cdgm.plotting.legends import strip_handle
from cdgm.plotting.theme import BLOCK_COLOURS, NULL_COLOUR, theme
from cdgm.utils.files import atomic

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Smaller gaps are drawn here: they are within the noise of the bound's posterior samples.
SMALLEST_GAP = 0.01
#: For a page, where a figure should be small.
DPI = 120

Looks = dict[str, tuple[str, str]]


@theme()
def agreement_figure(pairs: pd.DataFrame, axes: pd.DataFrame) -> Figure:
    """Above, shared variance of each pair of fits against its gap in ELBO; below, correlation of each axis.

    Parameters
    ----------
    pairs, axes
        As :func:`benchmarks.peer_stability.agreement_table` gives them; blocks side by side are left out.
    """
    blocks = [block for block in dict.fromkeys(pairs["block"]) if "&" not in block]
    variants = list(dict.fromkeys(pairs["variant"]))
    looks = {
        name: (BLOCK_COLOURS[i % len(BLOCK_COLOURS)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(variants)
    }
    figure = Figure(figsize=(3.6 * len(blocks), 5.6), layout="constrained")
    panels = figure.subplots(2, len(blocks), sharex="row", sharey="row", squeeze=False)
    for i, block in enumerate(blocks):
        panel_title(panels[0, i], "abcdefgh"[i], block)
        panel_title(panels[1, i], "abcdefgh"[i + len(blocks)], block)
        _draw_pairs(panels[0, i], pairs[pairs["block"] == block], looks)
        _draw_axes(panels[1, i], axes[axes["block"] == block], looks)
    # One scale for all blocks: ticks set for one panel are those of its row.
    panels[1, 0].set_xticks(np.arange(1, axes.loc[axes["block"].isin(blocks), "axis"].max() + 1))
    panels[0, 0].set_ylabel("share of variance that\nthe other fit explains (R²)")
    panels[1, 0].set_ylabel("canonical correlation\nof two fits (median of pairs)")
    handles = [strip_handle(colour, name, marker) for name, (colour, marker) in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
    return figure


def _draw_pairs(panel: Axes, pairs: pd.DataFrame, looks: Looks) -> None:
    """Shaded: pairs of equally good fits, whose disagreement no longer training would mend."""
    panel.axvspan(SMALLEST_GAP / 2, EQUAL_ELBO, color=NULL_COLOUR, alpha=0.5, linewidth=0)
    for name, (colour, marker) in looks.items():
        of = pairs[pairs["variant"] == name]
        gaps = of["elbo_gap"].clip(lower=SMALLEST_GAP)
        panel.scatter(gaps, of["r2"], s=16, color=colour, marker=marker, alpha=0.6, linewidths=0, zorder=3)
    panel.set_xscale("log")
    panel.set_xlim(left=SMALLEST_GAP / 2)
    panel.set_xlabel("gap in held-out ELBO (nats a cell)")


def _draw_axes(panel: Axes, axes: pd.DataFrame, looks: Looks) -> None:
    """Median over pairs and its range; an axis that one of two fits lacks counts 0."""
    for name, (colour, marker) in looks.items():
        of = axes[axes["variant"] == name]
        if not len(of):
            continue
        pairs = of.pivot(index=["seed_a", "seed_b"], columns="axis", values="correlation").fillna(0.0)
        middle = pairs.median()
        panel.fill_between(middle.index, pairs.min(), pairs.max(), color=colour, alpha=0.12, linewidth=0)
        panel.plot(middle.index, middle, color=colour, marker=marker, markersize=4.5, linewidth=1.4)
    panel.set_xlabel("axis, strongest first")


def write_figure(pairs: pd.DataFrame, axes: pd.DataFrame, path: Path) -> None:
    """Draw and save as PNG, whole or not at all."""
    with atomic(path) as temporary:
        agreement_figure(pairs, axes).savefig(temporary, format="png", dpi=DPI)
