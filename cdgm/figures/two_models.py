"""Figure ``two_models``: models that the data cannot tell apart, with different latents."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import ScalarFormatter

from cdgm.evaluation.table_slices import (
    Arm,
    Tables,
    arms_of,
    finished,
    main_source,
    median_of,
    need,
    of_arm,
    order_of,
    pick,
    rows_of,
)
from cdgm.figures.recovery import OTHER_FIGURE
from cdgm.plotting import style
from cdgm.plotting.source_data import SourceData
from cdgm.utils.errors import bad_input

# Hatched, so that nobody takes it for the null's plain grey.
SPREAD = {"facecolor": "#F7E3AF", "edgecolor": "#EBCB83", "hatch": "///", "linewidth": 0.0}


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Held-out ELBO of the models, seed by seed, and what each recovers of two truths.

    The models are the settings whose names hold "twisted_decoder", and the one that they were made from.

    Raises
    ------
    UserError
        If one of these settings, or the ELBO or the recovery of one, is missing.
    """
    scores = rows_of(tables, "scores", study)
    arms = _models(scores, study)
    names = _model_names(arms)
    elbo = need(scores, study, metric="elbo")
    for arm in arms:
        need(elbo, study, setting=arm[0])
        need(scores, study, setting=arm[0], metric="recovery_cc")
    sources = [s for s in order_of(tables, study)[0] if (elbo["source"] == s).any()]
    block, angles = _block_and_angles(scores, study, arms)

    columns = max(len(sources), 2)
    figure = style.new_figure(max(9.0, 3.4 * columns), 7.0)
    grid = figure.add_gridspec(2, 2 * columns)
    data = SourceData()
    letters = iter("abcdefghijkl")
    width = 2 * columns // len(sources)
    for i, source in enumerate(sources):
        axes = figure.add_subplot(grid[0, i * width : (i + 1) * width])
        letter = next(letters)
        _paired(axes, pick(elbo, source=source), arms, data, letter)
        axes.set_xticks(range(len(arms)), [style.wrapped(n, 16) for n in names])
        axes.set_ylabel(style.metric_title("elbo"))
        style.panel_title(axes, letter, f"evidence on held-out {source} points")
    axes, letter = figure.add_subplot(grid[1, :columns]), next(letters)
    _differences(axes, elbo, arms, sources, data, letter)
    style.panel_title(axes, letter, f"difference to the {names[0]}, seed by seed")
    axes, letter = figure.add_subplot(grid[1, columns:]), next(letters)
    _recovery(axes, scores, arms, block, angles, data, letter)
    style.panel_title(axes, letter, f"what the {block} block recovers")

    handles = [
        style.point_handle(style.MODEL_COLOURS[i], name + _note(scores, arm), style.MODEL_MARKERS[i])
        for i, (arm, name) in enumerate(zip(arms, names, strict=True))
    ]
    handles.append(Patch(**SPREAD, label=f"spread over seeds of the {names[0]} (± 1 sd)"))
    figure.legend(
        handles=[*handles, style.null_handle()], loc="outside upper center", ncols=3 if len(arms) == 3 else 2
    )
    return figure, data.table()


def _models(scores: pd.DataFrame, study: str) -> list[Arm]:
    """The plain model, then those with a twisted decoder."""
    arms = arms_of(scores)
    twisted = [a for a in arms if OTHER_FIGURE in a[0]]
    where = f"scores of study {study!r}"
    if not twisted:
        raise bad_input(
            where, "setting", [a[0] for a in arms], f"a setting with {OTHER_FIGURE!r} in its name"
        )
    plain = twisted[0][0].partition(f"_{OTHER_FIGURE}")[0]
    base = (plain, twisted[0][1])
    if base not in arms:
        raise bad_input(where, "setting", [a[0] for a in arms], f"also {plain!r}, to compare with")
    return [base, *(a for a in twisted if a[0].startswith(f"{plain}_") and a[1] == base[1])]


def _model_names(arms: list[Arm]) -> list[str]:
    return ["plain decoder", *(style.setting_label(a[0].removeprefix(f"{arms[0][0]}_")) for a in arms[1:])]


def _note(scores: pd.DataFrame, arm: Arm) -> str:
    note = finished(of_arm(scores, arm))
    return f" ({note})" if note else ""


def _block_and_angles(scores: pd.DataFrame, study: str, arms: list[Arm]) -> tuple[str, list[float]]:
    """The block that the models disagree on, and the two angles of the truth that they are scored against."""
    recovery = pick(scores, metric="recovery_cc")
    sets = [set(of_arm(recovery, arm)["twist"]) for arm in arms]
    common = set.intersection(*sets)
    twisted = of_arm(recovery, arms[1])
    twisted = twisted[twisted["twist"].isin(common) & twisted["finite"]]
    medians = twisted.groupby(["block", "twist"], sort=False)["value"].median().unstack()
    if 0.0 not in common or len(common) < 2 or medians.empty:
        found = [sorted(s) for s in sets]
        raise bad_input(f"scores of study {study!r}", "twist", found, "0 and one other angle for every model")
    block = str((medians.max(axis=1) - medians.min(axis=1)).idxmax())
    best = float(medians.loc[block].drop(0.0).idxmax())
    return block, [0.0, best]


def _paired(axes: Axes, elbo: pd.DataFrame, arms: list[Arm], data: SourceData, letter: str) -> None:
    """A line for every seed through the models, medians as bars."""
    table = _by_seed(elbo, arms)
    axes.plot(range(len(arms)), table.to_numpy().T, color="#BBBBBB", linewidth=0.8, zorder=2)
    for i, arm in enumerate(arms):
        values = table[arm].dropna()
        axes.scatter(
            *([i] * len(values), values),
            s=20,
            color=style.MODEL_COLOURS[i],
            marker=style.MODEL_MARKERS[i],
            alpha=0.65,
            linewidths=0,
            zorder=3,
        )
        median = median_of(values)
        axes.plot([i - 0.2, i + 0.2], [median, median], color=style.MODEL_COLOURS[i], linewidth=2.2, zorder=4)
        rows = of_arm(elbo, arm)
        data.add(letter, "seed", rows[rows["finite"]])
        data.add(letter, "left out", rows[~rows["finite"]])
        data.add(letter, "median", rows.iloc[:1], seed=None, value=median)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    axes.grid(visible=False, axis="x")


def _differences(
    axes: Axes, elbo: pd.DataFrame, arms: list[Arm], sources: list[str], data: SourceData, letter: str
) -> None:
    """Differences to the plain model in each source, over the plain model's own spread."""
    others = len(arms) - 1
    for k, source in enumerate(sources):
        table = _by_seed(pick(elbo, source=source), arms)
        spread = float(table[arms[0]].std())
        if np.isfinite(spread):
            axes.fill_between([k - 0.45, k + 0.45], -spread, spread, **SPREAD, zorder=1)
            data.add(letter, "spread", setting=arms[0][0], variant=arms[0][1], source=source, value=spread)
        for j, arm in enumerate(arms[1:]):
            difference = table[arm] - table[arms[0]]
            position = k + (j - (others - 1) / 2) * 0.4
            median = style.strip(
                axes,
                position,
                difference,
                style.MODEL_COLOURS[j + 1],
                marker=style.MODEL_MARKERS[j + 1],
                width=0.26,
                size=20,
            )
            fixed = {"setting": arm[0], "variant": arm[1], "source": source, "metric": "elbo_difference"}
            frame = pd.DataFrame({"seed": difference.index, "value": difference.to_numpy()}).dropna()
            data.add(letter, "seed", frame, **fixed)
            data.add(letter, "median", value=median, **fixed)
            if not np.isfinite(median):
                continue
            axes.annotate(
                f"{median:+.2f}".replace("-", "\N{MINUS SIGN}"),
                (position, difference.max()),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    # Linear near zero, where equal models lie; a model that falls far short must not flatten that part.
    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.margins(y=0.16)
    axes.axhline(0.0, color="black", linewidth=0.8, zorder=1.6)
    axes.set_xlim(-0.5, len(sources) - 0.5)
    axes.set_xticks(range(len(sources)), [f"{s} points" for s in sources])
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("difference of ELBO\n(nats per point; logarithmic beyond ±1)")


def _recovery(
    axes: Axes,
    scores: pd.DataFrame,
    arms: list[Arm],
    block: str,
    angles: list[float],
    data: SourceData,
    letter: str,
) -> None:
    """Recovery of one block against both truths, the two scores of a fit joined by a line."""
    rows = pick(scores, metric="recovery_cc", block=block)
    rows = rows[rows["twist"].isin(angles)]
    rows = pick(rows, source=main_source(pick(scores, metric="recovery_cc"), block))
    step = 0.26
    for j, arm in enumerate(arms):
        mine = of_arm(rows, arm).sort_values("seed")
        table = mine[mine["finite"]].pivot_table(index="seed", columns="twist", values="value")
        shift = (j - (len(arms) - 1) / 2) * step
        colour = style.MODEL_COLOURS[j]
        lines = table.reindex(columns=angles).to_numpy().T
        axes.plot(np.array([0, 1]) + shift, lines, color=colour, linewidth=0.6, alpha=0.3, zorder=2)
        for k, angle in enumerate(angles):
            at = pick(mine, twist=angle)
            good = at[at["finite"]]
            high = median_of(at["null_high"])
            style.null_band(axes, high, (k + shift - step / 2, k + shift + step / 2))
            marker = style.MODEL_MARKERS[j]
            median = style.strip(axes, k + shift, good["value"], colour, marker=marker, width=0.2, size=20)
            data.add(letter, "seed", good)
            data.add(letter, "left out", at[~at["finite"]])
            for kind, value in (("median", median), ("null_high", high)):
                data.add(letter, kind, at.iloc[:1], seed=None, value=value)
    axes.set_xlim(-0.55, 1.55)
    axes.set_ylim(0.0, 1.04)
    axes.grid(visible=False, axis="x")
    turned = f"the truth turned by c = {angles[1]:g},\nin the model's basis"
    axes.set_xticks([0, 1], ["the simulated truth (c = 0)", turned])
    axes.set_ylabel(style.metric_title("recovery_cc"))


def _by_seed(elbo: pd.DataFrame, arms: list[Arm]) -> pd.DataFrame:
    """Values of the finished fits, a row a seed and a column an arm."""
    columns = {}
    for arm in arms:
        rows = of_arm(elbo, arm)
        columns[arm] = rows[rows["finite"]].drop_duplicates("seed").set_index("seed")["value"]
    # Tuples as labels would become a MultiIndex, which sorts and slices otherwise.
    table = pd.concat(columns.values(), axis=1).sort_index()
    table.columns = pd.Index(list(columns), tupleize_cols=False)
    return table
