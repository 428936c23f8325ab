"""The look of all figures: seaborn's theme in the project's sizes, and colour-blind safe palettes.

A block or a source has the same colour in every figure, given by its place in the design. Figures are made
without pyplot: no global state, no display.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import matplotlib
import matplotlib.style
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

matplotlib.use("Agg")

Name = TypeVar("Name", bound=Hashable)

DPI = 160
# Okabe and Ito's colours for blocks and sources, Paul Tol's for labels and variants.
BLOCK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A5C00", "#000000")
SOURCE_COLOURS = ("#7F7F7F", "#E69F00", "#56B4E9", "#B0A000", "#5D3A9B", "#40B0A6")
LABEL_COLOURS = ("#332288", "#44AA99", "#882255", "#DDCC77", "#AA4499", "#117733", "#88CCEE", "#CC6677")
VARIANT_COLOURS = (
    *("#000000", "#0077BB", "#EE7733", "#009988", "#CC3311", "#AA3377", "#33A6DD", "#8C6D00", "#777777"),
)
#: For variants that stand beside blocks: none is like a colour of a block.
VARIANT_COLOURS_BESIDE_BLOCKS = (
    *("#332288", "#000000", "#882255", "#117733", "#44AA99", "#AA4499", "#999933", "#777777"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
NULL_COLOUR = "#DCDCDC"
UNLABELLED_COLOUR = "#D9D9D9"
REFERENCE_COLOUR = "#4D4D4D"
#: Tint of the side of a panel on which a demand is met.
GOOD_COLOUR = "#E3F1E8"
GOOD_EDGE = "#8FB8A0"

SIZES = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters on every machine
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.grid": True,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.7,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "pdf.fonttype": 42,
    "svg.hashsalt": "cdgm",
}


@contextmanager
def theme() -> Iterator[None]:
    """Context (or decorator) with the project's theme, whatever the user's own matplotlibrc says."""
    rc: dict[str, Any] = dict(sns.axes_style("ticks")) | dict(sns.plotting_context("paper")) | SIZES
    with matplotlib.style.context(["default", rc]):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in constrained layout; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def colours(names: Iterable[Name], palette: Sequence[str]) -> dict[Name, str]:
    """A colour for each name, by its place; the palette starts anew when it is used up."""
    return {name: palette[i % len(palette)] for i, name in enumerate(names)}


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of a series; a hollow one is a reference and not a fit."""

    colour: str
    marker: str = "o"
    hollow: bool = False
    line: LineStyleType = "-"


def looks(names: Iterable[Name], palette: Sequence[str] = VARIANT_COLOURS) -> dict[Name, Look]:
    """A look for each name, by its place; a colour that comes back does so with another marker."""
    return {
        name: Look(palette[i % len(palette)], MARKERS[(i + 3 * (i // len(palette))) % len(MARKERS)])
        for i, name in enumerate(names)
    }
