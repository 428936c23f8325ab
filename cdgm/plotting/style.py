"""One look for all figures: colours, fonts, names of things, and the marks that they share.

Colours are Okabe and Ito's and Paul Tol's, which stay apart under the common colour blindnesses. A block
or a source has the same colour in every figure, given by its place in the design.
Figures are made without pyplot: no global state, no display.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from cdgm.utils.files import atomic, write_csv

matplotlib.use("Agg")

DPI = 160
BLOCK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A5C00", "#000000")
SOURCE_COLOURS = ("#7F7F7F", "#E69F00", "#56B4E9", "#B0A000", "#5D3A9B", "#40B0A6")
LABEL_COLOURS = ("#332288", "#44AA99", "#882255", "#DDCC77", "#AA4499", "#117733", "#88CCEE", "#CC6677")
MODEL_COLOURS = ("#000000", "#009E73", "#CC79A7", "#0072B2")
MODEL_MARKERS = ("o", "s", "^", "D")
NULL_COLOUR = "#DCDCDC"
UNLABELLED_COLOUR = "#D9D9D9"
REFERENCE_COLOUR = "#4D4D4D"

STYLE = {
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
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.7,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "pdf.fonttype": 42,
    "svg.hashsalt": "cdgm",
}

METRIC_TITLES = {
    "recovery_cc": "recovery (mean canonical correlation)",
    "recovery_r2": "recovery (linear R²)",
    "recovery_r2_nonlinear": "recovery (nonlinear R²)",
    "leakage_cc": "leakage (mean canonical correlation)",
    "leakage_cc_max": "leakage (largest canonical correlation)",
    "leakage_cc_excess": "leakage over its null (canonical correlation)",
    "leakage_r2": "leakage (linear R²)",
    "leakage_r2_nonlinear": "leakage (nonlinear R²)",
    "entanglement_r2": "entanglement (nonlinear R² added\nby the other block)",
    "mcc": "mean correlation of matched axes",
    "hsic": "dependence of blocks (HSIC)",
    "kl": "KL (nats)",
    "active_dims": "active dimensions",
    "elbo": "held-out ELBO (nats per point)",
    "noise_sd": "learned noise (sd)",
    "knn_accuracy": "balanced kNN\naccuracy",
    "ari": "adjusted Rand\nindex",
    "nmi": "normalised mutual\ninformation",
    "silhouette": "silhouette",
    "source_mixing": "source mixing",
    "source_mixing_strongest": "source mixing,\nstrongest class",
    "source_mixing_within": "source mixing,\nwithin cell type",
    "source_separation": "source separation",
}

# Names of settings are read off their parts, so that a new one needs no entry here.
_SETTING_PARTS = (
    (r"leaky_relu_(\d+)", r"leaky ReLU, \1 layers"),
    (r"near_linear", "near-linear (smooth)"),
    (r"twisted_decoder", "twisted decoder"),
    (r"mean_field", "mean-field"),
    (r"silu", "SiLU decoder"),
    (r"spikein", "spike-in"),
    (r"poisson_rate(\d+)", r"Poisson, rate \1"),
    (r"nb_?(?:dispersion)?(\d+)", r"negative binomial, dispersion \1"),
    (r"keep_?0\.?(\d+)", r"keep 0.\1"),
)

VARIANT_LABELS = {
    "pca": "PCA",
    "pca_background": "PCA of background",
    "contrastive_pca": "contrastive PCA",
    "oracle": "supervised ceiling",
    "ceiling": "true model",
}


def style() -> AbstractContextManager[None]:
    """Context (or decorator) with the project's style, whatever the user's own matplotlibrc says."""
    return matplotlib.style.context(["default", STYLE])


def metric_title(metric: str) -> str:
    """Human name of a metric, for axes."""
    return METRIC_TITLES.get(metric, metric.replace("_", " "))


def setting_label(setting: str, width: int | None = None) -> str:
    """Human name of a setting: ``leaky_relu_2_silu`` is "leaky ReLU, 2 layers, SiLU decoder"."""
    parts = [setting]
    for pattern, text in _SETTING_PARTS:
        split: list[str] = []
        for part in parts:
            match = re.search(rf"(?:^|_){pattern}(?=_|$)", part)
            if match is None or part.startswith("\0"):
                split.append(part)
                continue
            named = "\0" + re.sub(pattern, text, match.group().strip("_"))
            split += [p for p in (part[: match.start()], named, part[match.end() :].strip("_")) if p]
        parts = split
    label = ", ".join(p.removeprefix("\0") if p.startswith("\0") else p.replace("_", " ") for p in parts)
    return wrapped(label, width)


def wrapped(text: str, width: int | None) -> str:
    """Text in lines of about ``width`` characters, broken after commas first and never inside a word."""
    if width is None:
        return text
    lines: list[str] = []
    for part in re.split(r"(?<=,) ", text):
        if lines and len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines += textwrap.wrap(part, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def variant_label(variant: str) -> str:
    """Human name of a variant or baseline."""
    return VARIANT_LABELS.get(variant, variant.replace("_", " "))


def arm_label(arm: tuple[str, str], arms: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Name of an arm: its setting, and its variant where the study has several."""
    label = setting_label(arm[0])
    if len({variant for _, variant in arms}) > 1:
        label += f", {variant_label(arm[1])}"
    return wrapped(label, width)


def colours(names: Iterable[str], palette: Sequence[str]) -> dict[str, str]:
    """A colour for each name, by its place; the palette starts anew when it is used up."""
    return {name: palette[i % len(palette)] for i, name in enumerate(names)}


def panel_title(axes: Axes, letter: str, text: str = "") -> None:
    """Bold letter and title at the upper left."""
    axes.set_title(rf"$\bf{{{letter}}}$" + (f"  {text}" if text else ""))


def strip(
    axes: Axes,
    position: float,
    values: Sequence[float] | np.ndarray,
    colour: str,
    *,
    horizontal: bool = False,
    width: float = 0.24,
    marker: str = "o",
    size: float = 16.0,
) -> float:
    """A point for every seed and a bar at their median.

    Points are spread over ``width`` in the order of the seeds: nothing is random, and the same place is the
    same seed in every strip with the same seeds.

    Parameters
    ----------
    position
        Centre of the strip on the axis of categories.
    values
        A value a seed; non-finite ones are left out.
    horizontal
        Values along x and not along y.

    Returns
    -------
    float
        The median, NaN without values.
    """
    values = np.asarray(values, dtype=float)
    spread = position + (
        np.linspace(-0.4, 0.4, len(values)) * width if len(values) > 1 else np.zeros(len(values))
    )
    keep = np.isfinite(values)
    if not keep.any():
        return float("nan")
    median = float(np.median(values[keep]))
    ends = (position - width / 2, position + width / 2)
    points = (values[keep], spread[keep]) if horizontal else (spread[keep], values[keep])
    bar = ((median, median), ends) if horizontal else (ends, (median, median))
    axes.scatter(*points, s=size, marker=marker, color=colour, alpha=0.55, linewidths=0, zorder=3)
    axes.plot(*bar, color=colour, linewidth=2.2, solid_capstyle="butt", zorder=4)
    return median


def null_band(axes: Axes, high: float, ends: tuple[float, float], *, horizontal: bool = False) -> None:
    """Shade all up to the null's 95 % quantile between ``ends`` on the axis of categories."""
    if not np.isfinite(high):
        return
    # From far below any score, whatever the limits of the axis will be; only the quantile widens them.
    low = high - 100.0
    corner, size, tip = (ends[0], low), (ends[1] - ends[0], high - low), (sum(ends) / 2, high)
    if horizontal:
        corner, size, tip = corner[::-1], size[::-1], tip[::-1]
    axes.add_artist(Rectangle(corner, *size, facecolor=NULL_COLOUR, edgecolor="none", zorder=1.5))
    axes.update_datalim([tip])


def point_handle(colour: str, label: str, marker: str = "o") -> Line2D:
    """Legend entry of a strip: a point on a bar."""
    return Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=2.0, label=label)


def dot_handle(colour: str, label: str, marker: str = "o") -> Line2D:
    """Legend entry of points without a bar."""
    return Line2D([], [], color=colour, marker=marker, markersize=5.5, linestyle="none", label=label)


def null_handle() -> Patch:
    """Legend entry of the null band."""
    return Patch(
        facecolor=NULL_COLOUR,
        edgecolor="#9A9A9A",
        linewidth=0.6,
        label="permutation null (up to its 95 % quantile)",
    )


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in constrained layout; sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, data: pd.DataFrame, prefix: str | Path) -> None:
    """Write ``prefix``.png, .pdf and .csv, each whole or not at all; equal figures give equal bytes.

    Dates and versions are kept out of the metadata.
    """
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": "cdgm"},
        "pdf": {"Creator": "cdgm", "Producer": "cdgm", "CreationDate": None},
    }
    with style():
        for kind, values in metadata.items():
            with atomic(f"{prefix}.{kind}") as temporary:
                figure.savefig(temporary, format=kind, metadata=values)
    write_csv(f"{prefix}.csv", data, digits=6)
