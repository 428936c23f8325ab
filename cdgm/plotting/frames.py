"""What stands around the marks of a figure: bands of settings, letters of panels, axes of named groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from string import ascii_lowercase
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

RULE_COLOUR = "#DDDDDD"
NOTE: dict[str, Any] = {"fontsize": 7.5, "color": "#555555", "zorder": 6}


def letters(first: int = 0) -> Iterator[str]:
    """Letters of panels from the one with number ``first``; after z they start anew."""
    return islice(cycle(ascii_lowercase), first, None)


def panel_title(axes: Axes, letter: str, text: str = "", **options: Any) -> None:
    """Bold letter and title at the upper left."""
    axes.set_title(rf"$\bf{{{letter}}}$" + (f"  {text}" if text else ""), **options)


def band_title(band: SubFigure, text: str) -> None:
    """Bold title of a band at its upper left."""
    band.suptitle(text, x=0.01, ha="left", fontsize=10.5, fontweight="bold")


def bands(figure: Figure, titles: Sequence[str], heights: Sequence[float] | None = None) -> list[SubFigure]:
    """Subfigures one below the other, each with a bold title; an empty title takes no room."""
    found = list(figure.subfigures(len(titles), 1, squeeze=False, height_ratios=heights)[:, 0])
    for band, title in zip(found, titles, strict=True):
        if title:
            band_title(band, title)
    return found


def name_groups(axes: Axes, names: Sequence[str]) -> None:
    """Groups of horizontal strips on the y axis: names from top to bottom, and a rule between two."""
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for i in range(len(names) - 1):
        axes.axhline(i + 0.5, color=RULE_COLOUR, linewidth=0.7, zorder=0.5)
    axes.set_yticks(range(len(names)), names)


def number_groups(axes: Axes, names: Sequence[str], at: Sequence[float] | np.ndarray | None = None) -> None:
    """Groups of vertical strips on the x axis, by default at 0, 1, ... with half a group of room around."""
    places = np.arange(len(names)) if at is None else np.asarray(at)
    axes.set_xticks(places, names)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(places.min() - 0.5, places.max() + 0.5)


def zero_line(axes: Axes, which: str, at: float = 0.0, **line: Any) -> None:
    """A dotted line across the panel where the axis ``which`` has the value ``at``."""
    style: dict[str, Any] = {"color": "#333333", "linewidth": 0.9, "linestyle": ":", "zorder": 1.8} | line
    (axes.axvline if which == "x" else axes.axhline)(at, **style)
