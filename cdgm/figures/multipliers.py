"""Figure ``multipliers``: values, levels and multipliers of constraints over training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cdgm.evaluation.table_slices import Tables, median_of, pick, rows_of
from cdgm.plotting import style
from cdgm.plotting.lanes import COLOURS, line_label, share_range
from cdgm.plotting.paired import signed_scale
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import lines_of, of_line
from cdgm.utils.errors import bad_input

#: Recorded steps whose running mean is drawn: one minibatch says little about a dependence.
WINDOW = 10


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Two panels a constraint and setting, value with level and multiplier, a thin line for every seed.

    Raises
    ------
    UserError
        If the history has no constraints.
    """
    scores = rows_of(tables, "scores", study)
    history = rows_of(tables, "history", study)
    kinds = history["quantity"].str.split("/", n=1, expand=True).reindex(columns=[0, 1])
    history = history.assign(kind=kinds[0], name=kinds[1])
    history = history[history["kind"].isin(["constraint", "level", "multiplier"])]
    names = list(dict.fromkeys(pick(history, kind="constraint")["name"]))
    if not names:
        found = sorted(rows_of(tables, "history", study)["quantity"].unique())
        raise bad_input(f"history of study {study!r}", "quantity", found, "also 'constraint/<name>'")
    settings = list(dict.fromkeys(history["setting"]))
    lines = [line for line in lines_of(scores) if not of_line(history, line).empty]
    colours = style.colours([line_label(line) for line in lines], COLOURS)

    panels, figure = _grid(names, settings)
    data = SourceData()
    letters = iter("abcdefghijklmnopqrstuvwxyz" * 4)
    for name in names:
        values = [panels[name, s, "constraint"] for s in settings]
        strengths = [panels[name, s, "multiplier"] for s in settings]
        for axes, kind in [(a, "constraint") for a in values] + [(a, "multiplier") for a in strengths]:
            setting = settings[(values + strengths).index(axes) % len(settings)]
            letter = next(letters)
            mine = pick(history, setting=setting, name=name)
            title = f"{name.replace('_', ' ')}: {'value and level' if kind == 'constraint' else 'multiplier'}"
            style.panel_title(axes, letter, title)
            for line in lines:
                colour = colours[line_label(line)]
                fits = of_line(mine, line)
                if kind == "constraint":
                    _levels(axes, pick(fits, kind="level"), colour, letter, data)
                smooth = WINDOW if kind == "constraint" else 1
                _traces(axes, pick(fits, kind=kind), colour, smooth, letter, data)
        signed_scale(values, "y", linear=_linear(pick(history, name=name)), low=0.0)
        share_range(strengths, "y", 0.0, None if any(a.dataLim.y1 > 0 for a in strengths) else 1.0)
    _name(panels, names, settings)
    handles: list[Line2D] = [
        Line2D([], [], color=c, linewidth=2.2, label=name.replace("_", " ")) for name, c in colours.items()
    ]
    handles += [
        Line2D([], [], color="#555555", linewidth=0.7, alpha=0.6, label="one seed"),
        Line2D([], [], color="#555555", linewidth=2.2, label="median over seeds"),
        Line2D([], [], color="#555555", linewidth=1.3, linestyle="--", label="level (median)"),
        Line2D([], [], color="#555555", linestyle="none", marker="x", markersize=5, label="diverged here"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure, data.table()


def _grid(names: list[str], settings: list[str]) -> tuple[dict[tuple[str, str, str], Axes], Figure]:
    """Panels by (constraint, setting, kind): settings are columns; one alone has its kinds side by side."""
    kinds = ("constraint", "multiplier")
    if len(settings) == 1:
        figure = style.new_figure(9.0, 1.0 + 1.75 * len(names))
        grid = figure.subplots(len(names), 2, sharex=True, squeeze=False)
        places = {(n, settings[0], k): grid[i, j] for i, n in enumerate(names) for j, k in enumerate(kinds)}
        return places, figure
    figure = style.new_figure(max(6.0, 1.0 + 3.0 * len(settings)), 1.1 + 3.0 * len(names))
    grid = figure.subplots(2 * len(names), len(settings), sharex=True, squeeze=False)
    places = {
        (n, s, k): grid[2 * i + j, c]
        for i, n in enumerate(names)
        for c, s in enumerate(settings)
        for j, k in enumerate(kinds)
    }
    return places, figure


def _name(panels: Mapping[tuple[str, str, str], Axes], names: list[str], settings: list[str]) -> None:
    """Names of settings above the columns, of steps below them."""
    for (constraint, setting, kind), axes in panels.items():
        if constraint == names[-1] and (kind == "multiplier" or len(settings) == 1):
            axes.set_xlabel("step")
        if constraint == names[0] and kind == "constraint":
            title = axes.get_title(loc="left")
            name = style.setting_label(setting).replace(" ", r"\ ")
            axes.set_title(rf"$\bf{{{name}}}$" + f"\n{title}", loc="left")


def _linear(rows: pd.DataFrame) -> float:
    """Where the scale of values turns logarithmic: beyond the level, and beyond most late values.

    Noise of minibatches around a level has both signs, and a logarithm would blow it up.
    """
    late = pick(rows, kind="constraint")
    late = late[late["step"] > late["step"].max() / 2].sort_values("step")
    smooth = late.groupby(["setting", "variant", "point", "seed"])["value"].rolling(WINDOW).mean().abs()
    sizes = [abs(median_of(pick(rows, kind="level")["value"])), median_of(smooth)]
    size = max((v for v in sizes if np.isfinite(v)), default=0.0)
    if size <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(size))
    return float(f"{power * min((1, 2, 5, 10), key=lambda f: abs(np.log(f * power / size))):.3g}")


def _wide(rows: pd.DataFrame, window: int) -> pd.DataFrame:
    """Seeds in columns, steps in rows; a running mean over ``window`` recorded steps, fewer at the start."""
    wide = rows.pivot_table(index="step", columns="seed", values="value", dropna=False).sort_index()
    steps = np.sort(rows["step"].unique())
    wide = wide.reindex(index=steps, columns=np.sort(rows["seed"].unique()))
    # What a fit wrote after it turned non-finite is no number; a mean must not reach over that.
    return wide.rolling(window, min_periods=1).mean().where(np.isfinite(wide))


def _traces(axes: Axes, rows: pd.DataFrame, colour: str, window: int, letter: str, data: SourceData) -> None:
    if rows.empty:
        return
    wide = _wide(rows, window)
    steps = wide.index.to_numpy()
    place = rows.iloc[:1]
    ended = [s for s in wide.columns if not np.isfinite(wide[s].iloc[-1])]
    for seed in wide.columns:
        axes.plot(steps, wide[seed], color=colour, linewidth=0.6, alpha=0.35, zorder=2)
        good = wide[seed].dropna()
        if seed in ended and len(good):
            axes.plot(good.index[-1], good.iloc[-1], "x", color=colour, markersize=5, zorder=5)
        kind = "left out" if seed in ended else "seed"
        _add(data, letter, kind, place, wide[seed], seed=int(seed))
    kept = wide.drop(columns=ended)
    if kept.empty:
        return
    median = kept.median(axis=1)
    axes.plot(steps, median, color=colour, linewidth=2.0, zorder=4)
    _add(data, letter, "median", place, median, seed=None)


def _levels(axes: Axes, rows: pd.DataFrame, colour: str, letter: str, data: SourceData) -> None:
    """The median level; a level that is estimated exists only after its first estimate."""
    if rows.empty:
        return
    median = _wide(rows, 1).median(axis=1)
    axes.plot(median.index, median, color=colour, linewidth=1.2, linestyle=(0, (4, 2)), zorder=4.5)
    _add(data, letter, "level", rows.iloc[:1], median, seed=None)


def _add(
    data: SourceData, letter: str, kind: str, place: pd.DataFrame, curve: pd.Series, **fixed: object
) -> None:
    curve = curve.dropna()
    rows = pd.concat([place] * len(curve), ignore_index=True) if len(curve) else place.iloc[:0]
    data.add(letter, kind, rows, step=curve.index.to_numpy(), value=curve.to_numpy(), **fixed)
