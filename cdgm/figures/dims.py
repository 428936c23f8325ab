"""Figure ``dims``: recovery and leakage over a grid of fitted dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from cdgm.evaluation.table_slices import (
    Tables,
    main_source,
    median_of,
    need,
    order_of,
    pick,
    rows_of,
    seeds_of,
)
from cdgm.plotting import style
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import scored_on, swept
from cdgm.utils.errors import bad_input

COLUMNS = 4
#: A seed that leaks more than this marks its cell.
LEAKS = 0.2
MAPS = {"recovery_cc": "Blues", "leakage_r2": "Oranges", "elbo": "Greens", "active_dims": "Purples"}


@dataclass(frozen=True)
class _Panel:
    metric: str
    source: str
    block: str
    truth: str
    title: str


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Heat maps over two swept dimensions: a number for the median, a dot for every seed.

    Raises
    ------
    UserError
        If settings do not sweep exactly two numbers, or recovery or linear leakage was not scored.
    """
    scores = rows_of(tables, "scores", study)
    need(scores, study, metric="recovery_cc")
    need(scores, study, metric="leakage_r2")
    keys, scores = _swept_pair(scores, study)
    sources, blocks = order_of(tables, study)
    panels = _panels(scores, sources, blocks)
    groups = list(scores[["base", "variant", "point"]].drop_duplicates().itertuples(index=False, name=None))
    rows = -(-len(panels) // COLUMNS)
    values = {key: sorted(scores[key].unique()) for key in ("first", "second")}
    height = rows * (1.0 + 0.42 * len(values["first"]))
    figure = style.new_figure(
        max(8.0, COLUMNS * (1.0 + 0.38 * len(values["second"]))), 0.5 + height * len(groups)
    )
    data = SourceData()
    parts = figure.subfigures(len(groups), 1, squeeze=False)[:, 0]
    for part, group in zip(parts, groups, strict=True):
        mine = pick(scores, base=group[0], variant=group[1], point=group[2])
        if len(groups) > 1:
            name = style.arm_label(group[:2], [g[:2] for g in groups])
            part.suptitle(", ".join(filter(None, [name, group[2]])), x=0.01, ha="left", fontweight="bold")
        _group(part, mine, panels, keys, values, data)
    figure.legend(
        handles=[
            style.dot_handle("#333333", "one seed, from the left to the right end of the colour scale"),
            style.dot_handle("#333333", "a seed leaks more than 0.2 (R²)", "^"),
            Rectangle(
                (0, 0), 1, 1, facecolor="none", edgecolor="black", linewidth=1.8, label="true dimensions"
            ),
            Rectangle(
                (0, 0), 1, 1, facecolor="white", edgecolor="#999999", hatch="////", label="no finished fit"
            ),
        ],
        loc="outside upper center",
        ncols=4,
    )
    return figure, data.table()


def _swept_pair(scores: pd.DataFrame, study: str) -> tuple[list[str], pd.DataFrame]:
    """The two swept names, and the scores with their values as columns ``first`` and ``second``."""
    labels = {setting: swept(setting) for setting in scores["setting"].unique() if "@" in setting}
    keys = list(dict.fromkeys(key for _, found in labels.values() for key in found))
    if len(keys) != 2 or any(len(found) != 2 for _, found in labels.values()):
        expected = "settings with two swept dimensions, as in 'dims@background=5,salient=3'"
        raise bad_input(
            f"scores of study {study!r}", "setting", list(scores["setting"].unique())[:3], expected
        )
    scores = scores[scores["setting"].isin(labels)]
    return keys, scores.assign(
        base=[labels[s][0] for s in scores["setting"]],
        first=[labels[s][1][keys[0]] for s in scores["setting"]],
        second=[labels[s][1][keys[1]] for s in scores["setting"]],
    )


def _panels(scores: pd.DataFrame, sources: list[str], blocks: list[str]) -> list[_Panel]:
    """Recovery of every block, leakage in every direction, then evidence and active dimensions."""
    found = [
        _Panel("recovery_cc", s, b, t, f"{b} recovered")
        for s, b, t in scored_on(scores, "recovery_cc", blocks)
    ]
    found += [
        _Panel("leakage_r2", s, b, t, f"{t} truth in the\n{b} block")
        for s, b, t in scored_on(scores, "leakage_r2", blocks)
    ]
    elbo = pick(scores, metric="elbo")
    found += [
        _Panel("elbo", s, "", "", f"evidence on {s},\nbelow the best cell")
        for s in sources
        if (elbo["source"] == s).any()
    ]
    active = pick(scores, metric="active_dims")
    found += [
        _Panel("active_dims", main_source(active, b), b, "", f"active {b}\ndimensions")
        for b in blocks
        if (active["block"] == b).any()
    ]
    return found


def _group(
    part: SubFigure,
    rows: pd.DataFrame,
    panels: list[_Panel],
    keys: list[str],
    values: dict[str, list[float]],
    data: SourceData,
) -> None:
    grid = part.subplots(-(-len(panels) // COLUMNS), min(COLUMNS, len(panels)), squeeze=False)
    truth = pick(rows, metric="true_dims").groupby("block")["value"].max().to_dict()
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for i, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        letter = "abcdefghijklmnopqrstuvwxyz"[i % 26]
        mine = pick(rows, metric=panel.metric, source=panel.source, block=panel.block, truth=panel.truth)
        _heat(axes, pick(mine, twist=0.0), panel, letter, values, rows, data)
        style.panel_title(axes, letter, panel.title)
        axes.set_xlabel(f"fitted {keys[1].replace('_', ' ')} dimensions")
        if i % COLUMNS == 0:
            axes.set_ylabel(f"fitted {keys[0].replace('_', ' ')} dimensions")
        if keys[0] in truth and keys[1] in truth:
            x, y = truth[keys[1]], truth[keys[0]]
            if x in values["second"] and y in values["first"]:
                corner = values["second"].index(x) - 0.5, values["first"].index(y) - 0.5
                frame = {"fill": False, "edgecolor": "black", "linewidth": 1.8, "clip_on": False}
                axes.add_patch(Rectangle(corner, 1, 1, **frame, zorder=6))
                data.add(letter, "true_dims", x=x, y=y)


def _heat(
    axes: Axes,
    rows: pd.DataFrame,
    panel: _Panel,
    letter: str,
    values: dict[str, list[float]],
    every: pd.DataFrame,
    data: SourceData,
) -> None:
    if panel.metric == "elbo":
        good = rows[rows["finite"]]
        best = good.groupby("setting")["value"].median().max()
        rows = rows.assign(value=rows["value"] - best, metric="elbo_below_best")
    scale = _scale(rows, panel.metric)
    axes.set_xlim(-0.5, len(values["second"]) - 0.5)
    axes.set_ylim(-0.5, len(values["first"]) - 0.5)
    axes.set_xticks(range(len(values["second"])), [f"{v:g}" for v in values["second"]])
    axes.set_yticks(range(len(values["first"])), [f"{v:g}" for v in values["first"]])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    colour_map = _tones(MAPS[panel.metric])
    dots: list[pd.DataFrame] = []
    for y, first in enumerate(values["first"]):
        for x, second in enumerate(values["second"]):
            cell = pick(rows, first=first, second=second).sort_values("seed")
            good = cell[cell["finite"]]
            data.add(letter, "left out", cell[~cell["finite"]])
            if good.empty:
                axes.add_patch(
                    Rectangle(
                        (x - 0.5, y - 0.5), 1, 1, facecolor="white", edgecolor="#999999", hatch="////", lw=0
                    )
                )
                if len(cell):
                    data.add(letter, "median", cell.iloc[:1], seed=None, value=np.nan)
                continue
            median = float(good["value"].median())
            face = colour_map(scale(median, clip=True))
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white", lw=1.0))
            ink = "white" if np.dot(face[:3], (0.299, 0.587, 0.114)) < 0.55 else "#222222"
            axes.text(
                x, y + 0.14, _text(median, panel.metric), ha="center", va="center", fontsize=7.5, color=ink
            )
            dots.append(_seeds(x, y, good["value"], scale).assign(ink=ink))
            if panel.metric == "leakage_r2" and (good["value"] > LEAKS).any():
                dots.append(pd.DataFrame({"x": [x + 0.36], "y": [y + 0.36], "marker": ["^"], "ink": [ink]}))
            lost = seeds_of(pick(every, setting=cell["setting"].iloc[0]))
            if lost[0] != lost[1]:
                axes.text(
                    x - 0.46,
                    y + 0.46,
                    f"{len(lost[0])}/{len(lost[1])}",
                    ha="left",
                    va="top",
                    fontsize=6,
                    color=ink,
                )
            data.add(letter, "seed", good)
            data.add(letter, "median", cell.iloc[:1], seed=None, value=median)
    for (marker, ink), marks in pd.concat(dots).groupby(["marker", "ink"]) if dots else ():
        axes.scatter(
            marks["x"],
            marks["y"],
            s=5 if marker == "o" else 10,
            marker=marker,
            color=ink,
            alpha=1.0 if marker == "^" else 0.55,
            linewidths=0,
            zorder=4,
        )
    _bar(axes, colour_map, scale, median_of(rows["null_high"]), panel, letter, data)


def _seeds(x: int, y: int, values: pd.Series, scale: Normalize) -> pd.DataFrame:
    """Marks of all seeds in the lower part of a cell; arrows are seeds beyond an end of the scale."""
    found = values.to_numpy()
    places = np.asarray(scale(found, clip=True), dtype=float)
    markers = np.where(found < scale.vmin - 1e-12, "<", np.where(found > scale.vmax + 1e-12, ">", "o"))
    return pd.DataFrame({"x": x - 0.42 + 0.84 * places, "y": y - 0.27, "marker": markers})


def _scale(rows: pd.DataFrame, metric: str) -> Normalize:
    good = rows.loc[rows["finite"], "value"]
    high = float(good.max()) if len(good) else 1.0
    if metric == "recovery_cc":
        return Normalize(0.0, 1.0)
    if metric == "leakage_r2":
        return Normalize(0.0, max(high, LEAKS))
    if metric == "active_dims":
        return Normalize(0.0, max(high, 1.0))
    # One stray fit must not flatten the scale of all others: it is drawn as an arrow at its end.
    low = rows[rows["finite"]].groupby("setting")["value"].median().min() if len(good) else -1.0
    return Normalize(min(float(low), -1.0), max(high, 0.0))


def _text(value: float, metric: str) -> str:
    if metric == "active_dims":
        return f"{value:g}"
    text = f"{abs(value):.1f}" if metric == "elbo" else f"{abs(value):.2f}".removeprefix("0")
    return "\N{MINUS SIGN}" * (value < 0 and float(text) > 0) + text


def _tones(name: str) -> ListedColormap:
    """A colour map of matplotlib whose darkest tones are left out, so that text can be read on it."""
    return ListedColormap(matplotlib.colormaps[name](np.linspace(0.03, 0.88, 256)))


def _bar(
    axes: Axes,
    colour_map: ListedColormap,
    scale: Normalize,
    high: float,
    panel: _Panel,
    letter: str,
    data: SourceData,
) -> None:
    bar = axes.figure.colorbar(ScalarMappable(scale, colour_map), ax=axes, pad=0.02, aspect=25)
    bar.outline.set_visible(False)
    units = {
        "recovery_cc": "mean canonical correlation",
        "leakage_r2": "linear R²",
        "elbo": "nats per point",
        "active_dims": "dimensions",
    }
    bar.set_label(units[panel.metric], fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    if np.isfinite(high):
        # The null is a thin slice of the scale: a line where it ends, all below it is chance.
        bar.ax.axhline(high, color="black", linewidth=1.0, linestyle=":")
        data.add(letter, "null_high", value=high, metric=panel.metric, block=panel.block, truth=panel.truth)
