"""Two-dimensional maps of cells, drawn by scanpy, in colours that no two labels share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scanpy.plotting import palettes

from cdgm.plotting.legends import literal, point_handle
from cdgm.plotting.theme import SOURCE_COLOURS, UNLABELLED_COLOUR

#: For the small dots of up to eight labels: apart in hue or lightness, also to colour-blind readers.
MAP_COLOURS = ("#6A3DC8", "#14C8C8", "#E6257B", "#E3C800", "#8B4A1C", "#A98BE8", "#222222", "#FDB462")
#: So many of the most common labels have colours of their own.
MOST_LABELS = 20
#: Beyond this many cells the points of a map are stored as pixels in the PDF.
MANY = 1500


@dataclass(frozen=True)
class Colouring:
    """Colours of cells by one of their columns.

    Attributes
    ----------
    column
        ``source`` or ``label``.
    colours
        A colour for each name; cells of other names are grey, below the others.
    grey
        What grey cells are, for the legend; "" without any.
    """

    column: str
    colours: dict[str, str]
    grey: str = ""

    def handles(self, ending: str = "") -> list[Line2D]:
        """Legend entries, names followed by ``ending``."""
        handles = [point_handle(colour, f"{literal(name)}{ending}") for name, colour in self.colours.items()]
        return handles + ([point_handle(UNLABELLED_COLOUR, self.grey)] if self.grey else [])


def by_source(sources: Sequence[str]) -> Colouring:
    """Colours of sources, as in all other figures."""
    return Colouring("source", distinct(sources, SOURCE_COLOURS))


def by_label(labels: pd.Series, unlabelled: str) -> Colouring:
    """Colours of the most common labels; ``unlabelled`` says what cells with the label "" are."""
    counts = labels[labels != ""].value_counts()
    names = sorted(counts.index, key=lambda name: (-counts[name], name))
    shown, others = sorted(names[:MOST_LABELS], key=str.casefold), len(names[MOST_LABELS:])
    grey = [f"{others} other label{'s' * (others > 1)}"] if others else []
    grey += [unlabelled] if (labels == "").any() else []
    return Colouring("label", distinct(shown), ",\n".join(grey))


def distinct(names: Sequence[str], palette: Sequence[str] = MAP_COLOURS) -> dict[str, str]:
    """A colour for each name, no two alike: those of ``palette``, or scanpy's if it has too few."""
    choices = (palette, palettes.default_20, palettes.default_102, sns.husl_palette(len(names)).as_hex())
    return dict(zip(names, next(c for c in choices if len(c) >= len(names)), strict=False))


def draw_map(axes: Axes, cells: pd.DataFrame, colouring: Colouring, name: str = "UMAP") -> None:
    """The cells of one map, in an order that hides no group behind another.

    Parameters
    ----------
    cells
        Columns cell, x, y and that of ``colouring``. Cells without a finite place are left out.
    name
        What places are, for the axes: "UMAP 1", "UMAP 2".
    """
    axes.set(xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(True)
    cells = cells[np.isfinite(cells["x"]) & np.isfinite(cells["y"])]
    if cells.empty:
        axes.text(0.5, 0.5, "no map", transform=axes.transAxes, ha="center", va="center", color="#555555")
        return
    cells = cells.sort_values("cell", kind="stable").sample(frac=1.0, random_state=0)
    groups = pd.Categorical(cells[colouring.column], list(colouring.colours))
    data = anndata.AnnData(
        obs=pd.DataFrame({"group": groups}, index=np.arange(len(cells)).astype(str)),
    )
    data.obsm["X_map"] = cells[["x", "y"]].to_numpy(dtype=float)
    look = {"palette": colouring.colours, "na_color": UNLABELLED_COLOUR, "marker": "o", "alpha": 0.8}
    look["size"] = float(np.clip(7000 / len(cells), 2.5, 12.0))
    with warnings.catch_warnings():
        # scanpy calls what matplotlib is about to replace.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        sc.pl.embedding(
            data, "X_map", color="group", title="", legend_loc="none", ax=axes, show=False, **look
        )
    axes.collections[-1].set_rasterized(len(cells) > MANY)
    axes.set(xlabel=f"{name} 1", ylabel=f"{name} 2", xlim=_ends(cells["x"]), ylim=_ends(cells["y"]))


def labelled_only(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of sources that have labels."""
    return cells[cells["source"].isin(cells.loc[cells["label"] != "", "source"])]


def _ends(values: pd.Series) -> tuple[float, float]:
    """The range of all but the farthest thousandth: a stray cell does not shrink the others' part."""
    low, high = np.quantile(values, [0.0005, 0.9995])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin
