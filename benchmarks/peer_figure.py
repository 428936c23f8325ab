"""Figure of ``benchmarks.peers``: agreement of each pair of fits against their gap in ELBO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.peer_stability import EQUAL_ELBO
from cdgm.files import atomic
from cdgm.plotting.style import BLOCK_COLOURS, NULL_COLOUR, dot_handle, panel_title, style

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Smaller gaps are drawn here: they are within the noise of the bound's posterior samples.
SMALLEST_GAP = 0.01


@style()
def agreement_figure(table: pd.DataFrame) -> Figure:
    """A panel a block, a point a pair of fits; where fits are equally good (left), scatter is freedom.

    Parameters
    ----------
    table
        As :func:`benchmarks.peer_stability.agreement_table` gives it.
    """
    blocks, variants = list(dict.fromkeys(table["block"])), list(dict.fromkeys(table["variant"]))
    figure = Figure(figsize=(3.1 * len(blocks), 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(blocks), sharex=True, sharey=True))
    looks = {
        name: (BLOCK_COLOURS[i % len(BLOCK_COLOURS)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(variants)
    }
    for letter, axes, block in zip("abcdefgh", panels, blocks, strict=False):
        axes.axvspan(SMALLEST_GAP / 2, EQUAL_ELBO, color=NULL_COLOUR, alpha=0.5, linewidth=0)
        for name, (colour, marker) in looks.items():
            of = table[(table["block"] == block) & (table["variant"] == name)]
            gaps = of["elbo_gap"].clip(lower=SMALLEST_GAP)
            axes.scatter(gaps, of["r2"], s=16, color=colour, marker=marker, alpha=0.6, linewidths=0, zorder=3)
        axes.set_xscale("log")
        axes.set_xlim(left=SMALLEST_GAP / 2)
        panel_title(axes, letter, " and ".join(block.split("+")))
        axes.set_xlabel("gap in held-out ELBO\n(nats a cell)")
    panels[0].set_ylabel("share of variance explained\nby the other fit (R²)")
    handles = [dot_handle(colour, name, marker) for name, (colour, marker) in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
    return figure


def write_figure(table: pd.DataFrame, path: Path) -> None:
    """Draw and save as PNG, whole or not at all."""
    with atomic(path) as temporary:
        agreement_figure(table).savefig(temporary, format="png")
