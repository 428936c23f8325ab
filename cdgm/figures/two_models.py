"""Figure ``two_models``: models that the data cannot tell apart, with different latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import ScalarFormatter

from cdgm.evaluation.table_slices import Tables, arms_of, main_source, need, order_of, pick, rows_of
from cdgm.figures.recovery import OTHER_FIGURE
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import letters, number_groups, panel_title, zero_line
from cdgm.plotting.labels import metric_title, setting_label, with_missing, wrapped
from cdgm.plotting.legends import legend, strip_handle, strip_handles
from cdgm.plotting.series import Series
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import Look, looks, new_figure, theme
from cdgm.utils.errors import bad_input

COLOURS = ("#000000", "#009E73", "#CC79A7", "#0072B2")
# Hatched, unlike the plain grey of the null.
SPREAD = {"facecolor": "#F7E3AF", "edgecolor": "#EBCB83", "hatch": "///", "linewidth": 0.0}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Held-out ELBO of the models, seed by seed, and what each recovers of two truths.

    The models are the settings whose names hold "twisted_decoder", and the one that they were made from.

    Raises
    ------
    UserError
        If one of these settings, or the ELBO or the recovery of one, is missing.
    """
    scores = rows_of(tables, "scores", study)
    models = _models(scores, study)
    elbo = need(scores, study, metric="elbo")
    for setting in models:
        need(elbo, study, setting=setting)
        need(scores, study, setting=setting, metric="recovery_cc")
    sources = [s for s in order_of(tables, study)[0] if (elbo["source"] == s).any()]
    block, angles = _block_and_angles(scores, study, list(models))
    plain, *others = models
    look = looks(models, COLOURS)

    columns = max(len(sources), 2)
    figure = new_figure(max(9.0, 3.4 * columns), 7.0)
    grid = figure.add_gridspec(2, 2 * columns)
    data = FigureData()
    letter = letters()
    width = 2 * columns // len(sources)
    for i, source in enumerate(sources):
        axes = figure.add_subplot(grid[0, i * width : (i + 1) * width])
        panel = next(letter)
        _by_seed(axes, pick(elbo, source=source), look, data, panel)
        number_groups(axes, [wrapped(name, 16) for name in models.values()])
        axes.set_ylabel(metric_title("elbo"))
        panel_title(axes, panel, f"evidence on held-out {source} points")
    axes, panel = figure.add_subplot(grid[1, :columns]), next(letter)
    _differences(axes, elbo, {m: look[m] for m in others}, plain, sources, data, panel)
    panel_title(axes, panel, f"difference to the {models[plain]}, seed by seed")
    axes, panel = figure.add_subplot(grid[1, columns:]), next(letter)
    source = main_source(pick(scores, metric="recovery_cc"), block)
    _recovery(axes, pick(scores, metric="recovery_cc", block=block, source=source), look, angles, data, panel)
    panel_title(axes, panel, f"what the {block} block recovers")

    names = {m: with_missing(name, pick(scores, setting=m), " ") for m, name in models.items()}
    handles: list[Artist] = [strip_handle(look[m].colour, name, look[m].marker) for m, name in names.items()]
    handles.append(Patch(**SPREAD, label=f"spread over seeds of the {models[plain]} (± 1 sd)"))
    legend(figure, [*handles, *strip_handles()], columns=3 if len(models) == 3 else 2)
    return figure, data.table()


def _models(scores: pd.DataFrame, study: str) -> dict[str, str]:
    """Settings of the plain model and of those with a twisted decoder, with their names."""
    arms = arms_of(scores)
    twisted = [a for a in arms if OTHER_FIGURE in a[0]]
    where, found = f"scores of study {study!r}", [setting for setting, _ in arms]
    if not twisted:
        raise bad_input(where, "setting", found, f"a setting with {OTHER_FIGURE!r} in its name")
    plain = twisted[0][0].partition(f"_{OTHER_FIGURE}")[0]
    if plain not in found:
        raise bad_input(where, "setting", found, f"also {plain!r}, to compare with")
    settings = [s for s, _ in twisted if s.startswith(f"{plain}_")]
    return {plain: "plain decoder"} | {s: setting_label(s.removeprefix(f"{plain}_")) for s in settings}


def _block_and_angles(scores: pd.DataFrame, study: str, models: Sequence[str]) -> tuple[str, list[float]]:
    """The block that the models disagree on, and the two angles of the truth that they are scored against."""
    recovery = pick(scores, metric="recovery_cc")
    sets = [set(pick(recovery, setting=model)["twist"]) for model in models]
    common = set.intersection(*sets)
    twisted = pick(recovery, setting=models[1], finite=True)
    twisted = twisted[twisted["twist"].isin(common)]
    medians = twisted.groupby(["block", "twist"], sort=False)["value"].median().unstack()
    if 0.0 not in common or len(common) < 2 or medians.empty:
        found = [sorted(s) for s in sets]
        raise bad_input(f"scores of study {study!r}", "twist", found, "0 and one other angle for every model")
    block = str((medians.max(axis=1) - medians.min(axis=1)).idxmax())
    turned = medians.loc[block].drop(0.0).dropna()
    return block, [0.0, float(turned.index.to_numpy(dtype=float)[np.argmax(turned)])]


def _by_seed(axes: Axes, elbo: pd.DataFrame, look: Mapping[str, Look], data: FigureData, panel: str) -> None:
    """A line for every seed through the models, medians as bars."""
    order = {model: i for i, model in enumerate(look)}
    lines = elbo[elbo["setting"].isin(order) & elbo["finite"]]
    lines = lines.assign(place=lines["setting"].map(order)).sort_values("place")
    grey = {"color": "#BBBBBB", "linewidth": 0.8, "zorder": 2}
    if len(lines):
        sns.lineplot(lines, x="place", y="value", units="seed", estimator=None, ax=axes, **grey)
    axes.set_xlabel("")
    for model, place in order.items():
        series = [Series({"setting": model}, look[model])]
        strip = {"category": "x", "at": [place], "step": 0.5, "spread": 0.0, "null": False, "size": 20}
        strips(axes, elbo, [{}], series, data, panel, **strip)


def _differences(
    axes: Axes,
    elbo: pd.DataFrame,
    look: Mapping[str, Look],
    plain: str,
    sources: Sequence[str],
    data: FigureData,
    panel: str,
) -> None:
    """Differences to the plain model in each source, over the plain model's own spread."""
    keys = ["source", "seed"]
    ground = pick(elbo, setting=plain, finite=True).drop_duplicates(keys).set_index(keys)["value"]
    rows = elbo.join(ground.rename("ground"), on=keys)
    rows = rows.assign(value=rows["value"] - rows["ground"], metric="elbo_difference", block="", truth="")
    rows = rows[rows["finite"] & np.isfinite(rows["value"])]
    series = [Series({"setting": model}, one) for model, one in look.items()]
    place = {"category": "x", "step": 0.4, "spread": 0.5, "null": False, "size": 20}
    strips(axes, rows, [{"source": s} for s in sources], series, data, panel, **place)
    for k, source in enumerate(sources):
        spread = float(ground.get(source, pd.Series(dtype=float)).std())
        if np.isfinite(spread):
            axes.fill_between([k - 0.45, k + 0.45], -spread, spread, **SPREAD, zorder=1)
            variant = pick(elbo, setting=plain)["variant"].iloc[0]
            data.add(panel, "spread", setting=plain, variant=variant, source=source, value=spread)
        for j, model in enumerate(look):
            values = pick(rows, source=source, setting=model)["value"]
            if len(values):
                text = f"{values.median():+.2f}".replace("-", "\N{MINUS SIGN}")
                at = (k + (j - (len(look) - 1) / 2) * 0.4, values.max())
                place = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
                label = axes.annotate(text, at, (0, 6), **place)
                label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    # Linear near zero, where equal models lie; a model that falls far short must not flatten that part.
    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.margins(y=0.16)
    zero_line(axes, "y", color="black", linestyle="-", linewidth=0.8, zorder=1.6)
    number_groups(axes, [f"{s} points" for s in sources])
    axes.set_ylabel("difference of ELBO\n(nats per point; logarithmic beyond ±1)")


def _recovery(
    axes: Axes,
    rows: pd.DataFrame,
    look: Mapping[str, Look],
    angles: Sequence[float],
    data: FigureData,
    panel: str,
) -> None:
    """Recovery of one block against both truths, the two scores of a fit joined by a line."""
    step = 0.26
    series = [Series({"setting": model}, one) for model, one in look.items()]
    place = {"category": "x", "step": step, "spread": 0.0, "size": 20}
    strips(axes, rows, [{"twist": angle} for angle in angles], series, data, panel, **place)
    for j, (model, one) in enumerate(look.items()):
        mine = pick(rows, setting=model, finite=True)
        mine = mine[mine["twist"].isin(angles)]
        mine = mine.assign(place=mine["twist"].map(angles.index) + (j - (len(look) - 1) / 2) * step)
        thin = {"color": one.colour, "linewidth": 0.6, "alpha": 0.3, "zorder": 2, "legend": False}
        if len(mine):
            sns.lineplot(mine, x="place", y="value", units="seed", estimator=None, ax=axes, **thin)
    turned = f"the truth turned by c = {angles[1]:g},\nin the model's basis"
    number_groups(axes, ["the simulated truth (c = 0)", turned])
    axes.set_ylim(0.0, 1.04)
    axes.set(xlabel="", ylabel=metric_title("recovery_cc"))
