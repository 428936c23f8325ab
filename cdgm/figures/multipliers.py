"""Figure ``multipliers``: values, levels and multipliers of constraints over training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import Tables, median_of, pick, rows_of
from cdgm.plotting.curves import draw_curves, running_means
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import letters, panel_title
from cdgm.plotting.labels import setting_label, swept_label
from cdgm.plotting.legends import legend, line_handle
from cdgm.plotting.scales import share_range, signed_scale
from cdgm.plotting.sweeps import of_swept, swept_variants
from cdgm.plotting.theme import VARIANT_COLOURS, colours, new_figure, theme
from cdgm.utils.errors import bad_input

#: Recorded steps in a running mean of values: one minibatch says little about a dependence.
WINDOW = 10
KINDS = {"constraint": "value and level", "multiplier": "multiplier"}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Two panels a constraint and setting, value with level and multiplier, a thin line for every seed.

    Raises
    ------
    UserError
        If the history has no constraints.
    """
    scores = rows_of(tables, "scores", study)
    recorded = rows_of(tables, "history", study)
    kinds = recorded["quantity"].str.split("/", n=1, expand=True).reindex(columns=[0, 1])
    history = recorded.assign(kind=kinds[0], name=kinds[1])
    history = history[history["kind"].isin([*KINDS, "level"])]
    names = list(dict.fromkeys(pick(history, kind="constraint")["name"]))
    if not names:
        found = sorted(recorded["quantity"].unique())
        raise bad_input(f"history of study {study!r}", "quantity", found, "also 'constraint/<name>'")
    settings = list(dict.fromkeys(history["setting"]))
    variants = [v for v in swept_variants(scores) if not of_swept(history, v).empty]
    look = colours(variants, VARIANT_COLOURS)

    figure, panels = _panels(names, settings)
    data = FigureData()
    for letter, ((name, kind, setting), axes) in zip(letters(), panels.items(), strict=False):
        panel_title(axes, letter, f"{name.replace('_', ' ')}: {KINDS[kind]}")
        if name == names[0] and kind == "constraint":
            bold = setting_label(setting).replace(" ", r"\ ")
            axes.set_title(rf"$\bf{{{bold}}}$" + f"\n{axes.get_title(loc='left')}")
        for variant, colour in look.items():
            fits = of_swept(pick(history, setting=setting, name=name), variant)
            if kind == "constraint":
                _level(axes, pick(fits, kind="level"), colour, letter, data)
            window = WINDOW if kind == "constraint" else 1
            draw_curves(
                axes, pick(fits, kind=kind), colour, data, letter, window=window, end_is_loss=True, width=2.0
            )
    for name in names:
        of_kind = {kind: [panels[name, kind, s] for s in settings] for kind in KINDS}
        signed_scale(of_kind["constraint"], "y", linear=_linear(pick(history, name=name)), low=0.0)
        rises = any(axes.dataLim.y1 > 0 for axes in of_kind["multiplier"])
        share_range(of_kind["multiplier"], "y", 0.0, None if rises else 1.0)
    handles = [line_handle(swept_label(v), c, linewidth=2.2) for v, c in look.items()]
    handles += [
        line_handle("one seed", linewidth=0.7, alpha=0.6),
        line_handle("median over seeds", linewidth=2.2),
        line_handle("level (median)", linewidth=1.3, linestyle="--"),
        line_handle("diverged here", linestyle="none", marker="x", markersize=5),
    ]
    legend(figure, handles)
    return figure, data.table()


def _panels(names: list[str], settings: list[str]) -> tuple[Figure, dict[tuple[str, str, str], Axes]]:
    """Panels by (constraint, kind, setting), a column a setting; a single setting has a column a kind."""
    keys = [(name, kind, setting) for name in names for kind in KINDS for setting in settings]
    columns = max(len(settings), 2)
    tall = 1.75 if len(settings) == 1 else 3.0
    width = 9.0 if len(settings) == 1 else 1.0 + 3.0 * columns
    figure = new_figure(width, 1.1 + tall * len(names))
    grid = figure.subplots(len(keys) // columns, columns, sharex=True, squeeze=False)
    for axes in grid[-1]:
        axes.set_xlabel("step")
    return figure, dict(zip(keys, grid.flat, strict=True))


def _level(axes: Axes, rows: pd.DataFrame, colour: str, letter: str, data: FigureData) -> None:
    """The median level; an estimated level exists only after its first estimate."""
    if rows.empty:
        return
    median = running_means(rows).median(axis=1).rename("value").dropna()
    line: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (4, 2)), "zorder": 4.5}
    at = {"x": median.index.to_numpy(), "y": median.to_numpy()}
    sns.lineplot(**at, estimator=None, color=colour, ax=axes, **line)
    place = rows.iloc[:1].drop(columns=["step", "value"])
    data.add(letter, "level", median.reset_index().merge(place, how="cross"), seed=None)


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
