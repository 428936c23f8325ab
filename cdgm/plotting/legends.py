"""Entries of legends for the marks that figures share, and the legend above a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cdgm.plotting import theme


def legend(figure: Figure, handles: Sequence[Artist], columns: int = 4) -> None:
    """The legend of a figure, above all of its panels."""
    figure.legend(handles=handles, loc="outside upper center", ncols=min(columns, len(handles)))


def strip_handle(colour: str, label: str, marker: str = "o") -> Line2D:
    """A strip of seeds: a point on a bar."""
    return Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=2.0, label=label)


def literal(name: str) -> str:
    """A user's name as matplotlib draws it letter by letter.

    A dollar sign begins no formula, and ``_`` at the start does not leave the name out of a legend.
    """
    return (" " * name.startswith("_") + name).replace("$", r"\$")


def point_handle(colour: str, label: str, marker: str = "o") -> Line2D:
    """Points without a bar."""
    return Line2D([], [], color=colour, marker=marker, markersize=5.5, linestyle="none", label=label)


def reference_handle(label: str, marker: str, size: float) -> Line2D:
    """The hollow mark of a baseline, which is no fit."""
    edge = {"markeredgecolor": theme.REFERENCE_COLOUR, "markeredgewidth": 1.1, "markerfacecolor": "white"}
    return line_handle(label, linestyle="none", marker=marker, markersize=size, **edge)


def line_handle(label: str, colour: str = "#555555", **line: Any) -> Line2D:
    """A line; ``line`` are properties of matplotlib's ``Line2D``."""
    look: dict[str, Any] = {"linewidth": 0.9} | line
    return Line2D([], [], color=colour, label=label, **look)


def tint_handle(colour: Any, label: str, edge: str = "none") -> Patch:
    """A tinted region."""
    return Patch(facecolor=colour, edgecolor=edge, linewidth=0.6, label=label)


def null_handle() -> Patch:
    """The band of the null."""
    return tint_handle(theme.NULL_COLOUR, "permutation null (up to its 95 % quantile)", "#9A9A9A")


def median_handle() -> Line2D:
    """The bar at a median with the line of its interval."""
    bar = {"marker": "|", "markersize": 8, "markeredgewidth": 2.2}
    return line_handle("median with 95 % interval", **bar)


def strip_handles() -> list[Artist]:
    """What all strips have: the median with its interval, and the null behind."""
    return [median_handle(), null_handle()]


def block_handles(blocks: Mapping[str, str]) -> list[Line2D]:
    """Strips of blocks, by their colours."""
    return [strip_handle(colour, f"{block} block") for block, colour in blocks.items()]


def elbo_handles(sources: Mapping[str, str]) -> list[Line2D]:
    """Strips of the ELBOs of sources, by their colours."""
    return [strip_handle(colour, f"ELBO of {source}") for source, colour in sources.items()]
