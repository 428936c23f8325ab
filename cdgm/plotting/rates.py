"""What ``objectives`` shows where settings sweep one number: lines of variants along it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from cdgm.evaluation.table_slices import median_of, pick
from cdgm.plotting import style
from cdgm.plotting.lanes import Look, leakage_scale, lost, number, share_range
from cdgm.plotting.paired import EVIDENCE_LINEAR, elbo_differences, signed_scale
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import scored_on, swept
from cdgm.utils.errors import bad_input

#: Marks of a second dimension, told apart without colour.
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def draw_rates(
    scores: pd.DataFrame,
    study: str,
    sources: Sequence[str],
    blocks: Sequence[str],
    looks: dict[str, Look],
    plain: str,
) -> tuple[Figure, pd.DataFrame]:
    """A row of evidence and one of blocks for each setting before its sweep.

    Raises
    ------
    UserError
        If settings do not sweep exactly one number, or variants sweep some too.
    """
    key, scores = _swept_once(scores, study)
    numbers = sorted(scores["number"].unique())
    bases = list(dict.fromkeys(scores["base"]))
    variants = list(looks)
    word = key.replace("_", " ")
    panels = len(sources) + 1
    figure = style.new_figure(max(10.0, 3.3 * panels), 0.8 + 5.4 * len(bases))
    data = SourceData()
    evidence: list[Axes] = []
    recovery: list[Axes] = []
    leakage: list[Axes] = []
    parts = figure.subfigures(len(bases), 1, squeeze=False)[:, 0]
    for part, base in zip(parts, bases, strict=True):
        part.suptitle(style.setting_label(base), x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        mine = pick(scores, base=base)
        upper, lower = part.subfigures(2, 1)
        top = upper.subplots(1, panels, squeeze=False)[0]
        letters = iter("abcdefghijklmnop")
        best = _best(mine, plain)
        for axes, source in zip(top, sources, strict=False):
            rows = _less_best(mine, plain, best, source)
            letter = next(letters)
            for i, variant in enumerate(variants):
                _line(
                    axes,
                    pick(rows, variant=variant),
                    numbers,
                    looks[variant],
                    data,
                    letter,
                    _shift(i, variants),
                )
            title = f"{source}: ELBO less {style.variant_label(plain)}'s\nat its best, {word} {number(best)}"
            _axis(axes, letter, title, numbers, key, "nats per point, same seed")
        letter = next(letters)
        differences = elbo_differences(mine, plain)
        others = [v for v in variants if v != plain]
        lanes = [(v, s) for v in others for s in sources]
        of_source = style.colours(sources, style.SOURCE_COLOURS)
        for i, (variant, source) in enumerate(lanes):
            rows = pick(differences, variant=variant, source=source)
            look = Look(of_source[source], looks[variant].marker)
            _line(top[-1], rows, numbers, look, data, letter, _shift(i, lanes))
        name = style.variant_label(others[0]) if len(others) == 1 else "a variant"
        title = f"{name}'s ELBO less {style.variant_label(plain)}'s\nat the same {word}"
        _axis(top[-1], letter, title, numbers, key, "nats per point, same seed")
        for axes in top:
            axes.axhline(0.0, color="#555555", linewidth=0.9, linestyle=":", zorder=1.5)
        evidence += list(top)
        bottom = lower.subplots(1, 2, squeeze=False)[0]
        colours = style.colours(blocks, style.BLOCK_COLOURS)
        titles = {"recovery_cc": "a block's own truth", "leakage_r2": "another block's truth in a block"}
        units = {"recovery_cc": "mean canonical correlation", "leakage_r2": "linear R²"}
        for axes, metric in zip(bottom, titles, strict=True):
            letter = next(letters)
            found = [(v, m) for v in variants for m in scored_on(mine, metric, blocks)]
            for i, (variant, (source, block, truth)) in enumerate(found):
                rows = pick(mine, metric=metric, variant=variant, source=source, block=block, truth=truth)
                dashes = DASHES[variants.index(variant) % len(DASHES)]
                look = Look(colours[block], looks[variant].marker)
                rows = pick(rows, twist=0.0)
                _line(axes, rows, numbers, look, data, letter, _shift(i, found), dashes)
            _axis(axes, letter, titles[metric], numbers, key, units[metric])
        _notes(bottom[0], mine, variants, numbers)
        recovery.append(bottom[0])
        leakage.append(bottom[1])
    signed_scale(evidence, "y", linear=EVIDENCE_LINEAR, low=-1.0, high=1.0)
    share_range(recovery, "y", 0.0, 1.0)
    leakage_scale(leakage, "y")
    handles = _handles(variants, looks, sources, blocks)
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure, data.table()


def _swept_once(scores: pd.DataFrame, study: str) -> tuple[str, pd.DataFrame]:
    """The swept name, and the scores with its values as the column ``number``."""
    labels = {setting: swept(setting) for setting in scores["setting"].unique()}
    keys = {key for _, found in labels.values() for key in found}
    if len(keys) != 1 or any(len(found) != 1 for _, found in labels.values()):
        expected = "settings with one swept number, as in 'equal@learning_rate=0.001'"
        raise bad_input(f"scores of study {study!r}", "setting", list(labels)[:3], expected)
    if (scores["point"] != "").any():
        found = list(scores["point"].unique())[:3]
        raise bad_input(f"scores of study {study!r}", "point", found, "no sweep inside of variants")
    base = [labels[s][0] for s in scores["setting"]]
    values = [next(iter(labels[s][1].values())) for s in scores["setting"]]
    return keys.pop(), scores.assign(base=base, number=values)


def _best(scores: pd.DataFrame, plain: str) -> float:
    """The number at which the plain variant's ELBO, summed over sources, has the highest median."""
    rows = pick(scores, metric="elbo", variant=plain, finite=True)
    sums = rows.groupby(["number", "seed"])["value"].agg(["sum", "size"])
    whole = sums[sums["size"] == sums["size"].max()]
    return float(whole["sum"].groupby(level="number").median().idxmax()) if len(whole) else float("nan")


def _less_best(scores: pd.DataFrame, plain: str, best: float, source: str) -> pd.DataFrame:
    """ELBOs of one source less that of the plain fit of the same seed at its best number."""
    rows = pick(scores, metric="elbo", source=source)
    ground = pick(rows, variant=plain, number=best, finite=True).drop_duplicates("seed")
    value = rows["value"] - rows["seed"].map(ground.set_index("seed")["value"])
    finite = rows["finite"] & np.isfinite(value)
    return rows.assign(value=value, finite=finite, metric="elbo_less_best")


def _shift(i: int, of: Sequence[object]) -> float:
    """Place of a line's strip within a number's column."""
    return (i - (len(of) - 1) / 2) * 0.7 / max(len(of), 1)


def _line(
    axes: Axes,
    rows: pd.DataFrame,
    numbers: Sequence[float],
    look: Look,
    data: SourceData,
    letter: str,
    shift: float,
    dashes: object = "-",
) -> None:
    """A strip of seeds at each number, medians joined; numbers are evenly spaced."""
    medians = []
    for i, value in enumerate(numbers):
        lane = pick(rows, number=value).sort_values("seed")
        if lane.empty:
            medians.append((i + shift, np.nan))
            continue
        high = median_of(lane["null_high"])
        style.null_band(axes, high, (i + shift - 0.08, i + shift + 0.08))
        good = lane[lane["finite"]]
        median = style.strip(
            axes, i + shift, good["value"], look.colour, width=0.15, marker=look.marker, size=14
        )
        medians.append((i + shift, median))
        data.add(letter, "seed", good)
        data.add(letter, "left out", lane[~lane["finite"]])
        data.add(letter, "median", lane.iloc[:1], seed=None, value=median)
        if np.isfinite(high):
            data.add(letter, "null_high", lane.iloc[:1], seed=None, value=high)
    axes.plot(*np.transpose(medians), color=look.colour, linewidth=1.0, linestyle=dashes, zorder=2.5)


def _axis(axes: Axes, letter: str, title: str, numbers: Sequence[float], key: str, unit: str) -> None:
    style.panel_title(axes, letter, title)
    axes.set_xlim(-0.5, len(numbers) - 0.5)
    axes.xaxis.set_major_locator(FixedLocator(range(len(numbers))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(range(len(numbers)), [number(v) for v in numbers])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(key.replace("_", " "))
    axes.set_ylabel(unit)


def _notes(axes: Axes, scores: pd.DataFrame, variants: Sequence[str], numbers: Sequence[float]) -> None:
    """Which fits are missing, above the numbers."""
    for i, value in enumerate(numbers):
        texts = []
        for variant in variants:
            mine = pick(scores, number=value, variant=variant)
            note = "not fitted" if mine.empty else lost(mine)
            if note:
                texts.append(f"{style.variant_label(variant)}:\n{note}")
        if texts:
            place = (i, 0.5)
            axes.text(
                *place,
                "\n".join(texts),
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="center",
                fontsize=7.5,
                color="#555555",
            )


def _handles(
    variants: Sequence[str], looks: dict[str, Look], sources: Sequence[str], blocks: Sequence[str]
) -> list[object]:
    handles: list[object] = []
    for variant in variants:
        look = looks[variant]
        dashes = DASHES[variants.index(variant) % len(DASHES)]
        text = style.variant_label(variant)
        handles.append(
            Line2D([], [], color=look.colour, marker=look.marker, markersize=5, linestyle=dashes, label=text)
        )
    of_source = style.colours(sources, style.SOURCE_COLOURS)
    handles += [style.point_handle(of_source[s], f"ELBO of {s}") for s in sources]
    of_block = style.colours(blocks, style.BLOCK_COLOURS)
    handles += [style.point_handle(of_block[b], f"{b} block") for b in blocks]
    return [*handles, style.null_handle()]
