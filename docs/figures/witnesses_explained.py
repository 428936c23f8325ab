"""Draw the counterexamples of the theory: `witnesses_explained.py quantised_twist|gate FILE.png`."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
import witnesses
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm
from twist_explained import LIMIT, square

from cdgm.evaluation.metrics.regression import nonlinear_r2
from cdgm.plotting.frames import NOTE, panel_title
from cdgm.plotting.theme import (
    BLOCK_COLOURS,
    LABEL_COLOURS,
    MARKERS,
    REFERENCE_COLOUR,
    VARIANT_COLOURS_BESIDE_BLOCKS,
    new_figure,
    theme,
)
from cdgm.simulation.mixings import MIXINGS

POINTS, SHARED, SALIENT, FEATURES = 1500, 2, 3, 30
MIXING = {"kind": "leaky_relu", "layers": 2, "slope": 0.2, "width": 8}
#: Outputs of the decoder whose path is drawn, and a path that crosses the edge of the square.
SHOWN, PATH = 4, np.linspace(0.0, 2.0, 801)
WIDTHS = {1.0: "d = 1", 0.3: "d = .3", 0.05: "d = .05"}
TRUTHS = {"simulated truth": "z", "twisted truth": "z'"}


@theme()
def quantised_twist(seed: int = 0) -> Figure:
    """Rows: the two truths. Columns: z in both sources, and outputs of the decoder along a path of t."""
    rng = np.random.default_rng(seed)
    drawn = MIXINGS.parse(MIXING).draw(np.random.default_rng(seed + 1), SHARED + SALIENT, FEATURES)
    z, z_target = rng.standard_normal((2, POINTS, SHARED))
    t = rng.standard_normal((POINTS, SALIENT))
    twisted = witnesses.quantised_twist(z_target, t)
    figure = new_figure(9.0, 5.6)
    panels = figure.subplots(2, 3)
    for row, (values, (name, letter)) in enumerate(zip((z_target, twisted), TRUTHS.items(), strict=True)):
        _quadrants(panels[row, 0], z, z)
        _quadrants(panels[row, 1], values, z_target)
        for axes in panels[row, :2]:
            axes.set_xlabel(f"{letter}, first coordinate")
        panels[row, 0].set_ylabel(f"{name}\n{letter}, second coordinate")
        _outputs(panels[row, 2], lambda u: drawn({"all": u}), twisted=bool(row))
        titles = ("background source", "target", "outputs of the decoder" + row * ", twisted")
        for axes, panel, title in zip(panels[row], "abcdef"[3 * row :], titles, strict=False):
            panel_title(axes, panel, title)
    return figure


def _quadrants(axes: Axes, values: np.ndarray, truth: np.ndarray) -> None:
    """A scatter plot in the colours and markers of the quadrants of the simulated truth."""
    places = 2 * (truth[:, 1] > 0) + (truth[:, 0] > 0)
    rows = pd.DataFrame({"x": values[:, 0], "y": values[:, 1], "quadrant": places})
    look = {"palette": list(LABEL_COLOURS[:4]), "markers": list(MARKERS[:4]), "linewidth": 0, "s": 7}
    sns.scatterplot(
        rows.sample(frac=1, random_state=0),
        x="x",
        y="y",
        hue="quadrant",
        style="quadrant",
        legend=False,
        ax=axes,
        **look,
    )
    square(axes)
    axes.set(ylabel="")


def _outputs(axes: Axes, f, twisted: bool) -> None:
    """Outputs of f or f o T^-1 at one z, while the first coordinate of t grows."""
    z = np.tile([1.2, 0.5], (len(PATH), 1))
    t = np.zeros((len(PATH), SALIENT))
    t[:, 0] = PATH
    outside = PATH > 1
    # The inverse of a quarter turn is the quarter turn of -z.
    first = np.where(outside[:, None], -witnesses.turned(z), z) if twisted else z
    outputs = f(np.hstack([first, t]))[:, :SHOWN]
    rows = pd.DataFrame(outputs, columns=[f"output {i + 1}" for i in range(SHOWN)])
    rows = rows.assign(t=PATH, part=outside).melt(["t", "part"], var_name="output")
    sns.lineplot(
        rows,
        x="t",
        y="value",
        hue="output",
        style="output",
        units=rows["output"] + rows["part"].astype(str),
        estimator=None,
        palette=list(VARIANT_COLOURS_BESIDE_BLOCKS[:SHOWN]),
        legend=False,
        ax=axes,
    )
    axes.axvline(1.0, color=REFERENCE_COLOUR, linewidth=0.9, linestyle=":")
    axes.text(0.97, 0.03, "edge of T", transform=axes.get_xaxis_transform(), ha="right", **NOTE)
    axes.set(
        xlabel="first coordinate of t, others 0",
        ylabel=f"{SHOWN} of {FEATURES} outputs, z fixed",
        ylim=(-0.37, 0.37),
    )


@theme()
def gate(seed: int = 0) -> Figure:
    """The map of the gate, its distribution in the target, its error, and where the salient truth is."""
    rng = np.random.default_rng(seed)
    w, t = rng.standard_normal((2, 4000, 1))
    looks = [*VARIANT_COLOURS_BESIDE_BLOCKS[2:4], BLOCK_COLOURS[0], "#000000"]
    figure = new_figure(9.0, 6.4)
    panels = dict(zip("abcd", figure.subplots(2, 2).flat, strict=True))

    grid = np.linspace(-2.5, 2.5, 401)[:, None]
    heights = {"|t'| = 0": 0.0, "|t'| = .2": 0.2, "|t'| = .5": 0.5, "|t'| = 2": 2.0}
    curves = {name: witnesses.gate(grid, np.full_like(grid, s), 0.3)[:, 0] for name, s in heights.items()}
    curves = pd.DataFrame(curves).assign(w=grid).melt("w", var_name="at", value_name="t")
    shades = sns.color_palette("viridis", len(heights) + 1)[:-1]
    sns.lineplot(curves, x="w", y="t", hue="at", style="at", palette=shades, ax=panels["a"])
    panels["a"].set(xlabel="spare background coordinate w", ylabel="t that the decoder uses")
    panels["a"].legend(title=None, handlelength=3)
    panel_title(panels["a"], "a", "the gate, d = .3")

    at = np.linspace(-LIMIT, LIMIT, 137)
    below = {name: (witnesses.gate(w, t, d) <= at).mean(axis=0) for d, name in WIDTHS.items()}
    laws = pd.DataFrame(below | {"truth, N(0, 1)": norm.cdf(at)}).assign(t=at)
    laws = laws.melt("t", var_name="law", value_name="below")
    sns.lineplot(laws, x="t", y="below", hue="law", style="law", palette=looks, ax=panels["b"])
    panels["b"].set(xlim=(-LIMIT, LIMIT), xlabel="t in the target", ylabel="share of rows below")
    panels["b"].legend(title=None, handlelength=3)
    panel_title(panels["b"], "b", "distribution of t in the target")

    widths = np.geomspace(0.02, 2.0, 25)
    errors = pd.DataFrame(
        {"d": d, "error": witnesses.gate_error(d, 3, q), "salient": f"{q} salient dimension" + "s" * (q > 1)}
        for q in (1, 2, 3)
        for d in widths
    )
    sns.lineplot(
        errors,
        x="d",
        y="error",
        hue="salient",
        style="salient",
        palette=list(VARIANT_COLOURS_BESIDE_BLOCKS[3:6]),
        ax=panels["c"],
    )
    panels["c"].set(xscale="log", yscale="log", ylim=(1e-6, 1.5))
    panels["c"].set(xlabel="width d of the gate", ylabel="share of target rows with another t")
    panels["c"].legend(title=None, handlelength=3, loc="lower right")
    panel_title(panels["c"], "c", "error, three spare dimensions")

    names = ("in the background block (w)", "in the salient block (t')")
    shares = pd.DataFrame(
        {"d": d, "r2": nonlinear_r2([known], witnesses.gate(w, t, d)), "known": name}
        for d in np.geomspace(0.02, 2.0, 12)
        for known, name in zip((w, t), names, strict=True)
    )
    sns.lineplot(
        shares,
        x="d",
        y="r2",
        hue="known",
        style="known",
        markers=list(MARKERS[:2]),
        dashes=False,
        palette=list(BLOCK_COLOURS[:2]),
        ax=panels["d"],
    )
    folded = witnesses.folded(w, t)
    level = nonlinear_r2([w], folded)
    panels["d"].axhline(level, color=REFERENCE_COLOUR, linewidth=0.9, linestyle=":")
    panels["d"].text(0.02, level + 0.015, "the fold, in w", **NOTE)
    panels["d"].set(
        xscale="log", ylim=(-0.05, 1.05), xlabel="width d of the gate", ylabel="R² of t, nonlinear"
    )
    panels["d"].legend(title=None, loc="center left")
    panel_title(panels["d"], "d", "where the salient truth is")
    return figure


FIGURES = {"quantised_twist": quantised_twist, "gate": gate}

if __name__ == "__main__":
    FIGURES[sys.argv[1]]().savefig(Path(sys.argv[2]), dpi=110)
