"""Figure ``schedule_traces``: in which block the truth of a private block is, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import Tables, main_source, pick, rows_of
from cdgm.plotting.curves import draw_curves
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import letters, panel_title
from cdgm.plotting.labels import setting_label, swept_label, with_missing
from cdgm.plotting.legends import legend, line_handle
from cdgm.plotting.series import colours_of, private_blocks
from cdgm.plotting.sweeps import SweptVariant, of_swept, swept_variants
from cdgm.plotting.theme import new_figure, theme
from cdgm.utils.errors import bad_input

WIDTH, HEIGHT = 2.6, 2.3
#: Dashes of the KL weights of private and of shared blocks.
DASHES = {True: ":", False: (0, (4, 2))}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A row of panels a setting and a column a variant: R2 of the private truth in each block over steps.

    Raises
    ------
    UserError
        If there are no traces of the study's fits, or the design has several private blocks.
    """
    scores = rows_of(tables, "scores", study)
    if "traces" not in tables:
        raise bad_input(f"study {study!r}", "tables", sorted(tables), "also the table 'traces'")
    private = private_blocks(tables, study)
    if len(private) != 1:
        raise bad_input(f"scores of study {study!r}", "block", private, "one private block")
    fits = scores[["fit", "setting", "variant"]].drop_duplicates()
    traces = tables["traces"].merge(fits, on="fit")
    if traces.empty:
        found = sorted(tables["traces"]["fit"].unique())
        raise bad_input(f"traces of study {study!r}", "fit", found, f"one of {sorted(fits['fit'])}")
    source = main_source(pick(scores, metric="recovery_cc"), private[0])
    traces = pick(traces, source=source, truth=private[0])
    finite = traces["finite"].astype(str) == "True"
    traces = traces.assign(quantity=traces["metric"], point=traces["point"].fillna(""))
    traces["value"] = traces["value"].where(finite)
    history = pick(rows_of(tables, "history", study), quantity="kl_weight")
    settings, variants = list(dict.fromkeys(scores["setting"])), swept_variants(scores)

    figure = new_figure(0.8 + WIDTH * len(variants), 0.9 + HEIGHT * len(settings))
    grid = figure.subplots(len(settings), len(variants), sharex="row", sharey=True, squeeze=False)
    data = FigureData()
    places = [(setting, variant) for setting in settings for variant in variants]
    for axes, (setting, variant), letter in zip(grid.flat, places, letters(), strict=False):
        own = of_swept(pick(scores, setting=setting), variant)
        title = with_missing(swept_label(variant, 24), own)
        panel_title(axes, letter, title if setting == settings[0] or "\n" in title else "")
        for block, colour in colours_of(tables, study)[1].items():
            rows = of_swept(pick(traces, setting=setting, block=block), variant)
            draw_curves(axes, rows, colour, data, letter, end_is_loss=True)
        _weights(axes, of_swept(pick(history, setting=setting), variant), variant, private, data, letter)
        axes.set(xlabel="step", ylim=(-0.05, 1.05))
    for axes, setting in zip(grid[:, 0], settings, strict=True):
        name = f"{setting_label(setting)}\n" if len(settings) > 1 else ""
        axes.set_ylabel(f"{name}linear R² of the {private[0]} truth")
    handles = [
        line_handle(f"in the {block} block", colour, linewidth=2.0)
        for block, colour in colours_of(tables, study)[1].items()
    ]
    handles += [line_handle("one seed", linewidth=0.6, alpha=0.6)]
    names = {True: "private", False: "shared"}
    handles += [line_handle(f"KL weight, {names[own]} block", linestyle=DASHES[own]) for own in DASHES]
    legend(figure, handles, columns=3)
    return figure, data.table()


def _weights(
    axes: Axes,
    rows: pd.DataFrame,
    variant: SweptVariant,
    private: Sequence[str],
    data: FigureData,
    letter: str,
) -> None:
    """KL weights of blocks; without a schedule all are 1 and none is drawn."""
    for block, own in rows.groupby("block", sort=False):
        line = own.groupby("step")["value"].median().reset_index()
        style = {"linestyle": DASHES[block in private], "linewidth": 0.9, "color": "#555555", "zorder": 1.9}
        sns.lineplot(line, x="step", y="value", ax=axes, legend=False, **style)
        place = {"setting": own["setting"].iloc[0], "variant": variant[0], "quantity": "kl_weight"}
        data.add(letter, "closed_form", line.assign(block=block, **place), seed=None)
