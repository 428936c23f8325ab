"""Figure ``objectives`` of settings that sweep one number: strips of variants along it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import pick
from cdgm.plotting.elbo_differences import elbo_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import NOTE, bands, letters, number_groups, panel_title, zero_line
from cdgm.plotting.labels import (
    OTHER_TRUTH,
    OWN_TRUTH,
    UNITS,
    missing_fits,
    number,
    setting_label,
    variant_label,
)
from cdgm.plotting.legends import block_handles, elbo_handles, legend, line_handle, strip_handles
from cdgm.plotting.scales import evidence_scale, leakage_scale, share_range
from cdgm.plotting.series import Series, block_series
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import swept_columns
from cdgm.plotting.theme import BLOCK_COLOURS, SOURCE_COLOURS, Look, colours, new_figure
from cdgm.utils.errors import bad_input

#: Lines of variants, told apart without colour.
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
EXAMPLE = "equal@learning_rate=0.001"


def draw_swept(
    scores: pd.DataFrame,
    study: str,
    sources: Sequence[str],
    blocks: Sequence[str],
    looks: Mapping[str, Look],
    plain: str,
) -> tuple[Figure, pd.DataFrame]:
    """A row of evidence and one of blocks for each setting before its sweep.

    Raises
    ------
    UserError
        If settings do not sweep exactly one number, or variants sweep some too.
    """
    one = f"settings with one swept number, as in {EXAMPLE!r}"
    for column, wrong, expected in (
        ("setting", ~scores["setting"].str.contains("@"), one),
        ("point", scores["point"] != "", "no sweep inside of variants"),
    ):
        if wrong.any():
            raise bad_input(f"scores of study {study!r}", column, scores[wrong][column].iloc[0], expected)
    (key,), scores = swept_columns(scores, study, ["number"], EXAMPLE)
    word = key.replace("_", " ")
    of_source, of_block = colours(sources, SOURCE_COLOURS), colours(blocks, BLOCK_COLOURS)
    looks = {v: replace(looks[v], line=dash) for v, dash in zip(looks, cycle(DASHES), strict=False)}
    numbers = sorted(scores["number"].unique())
    bases = list(dict.fromkeys(scores["base"]))
    figure = new_figure(max(10.0, 3.3 * (len(sources) + 1)), 0.8 + 5.4 * len(bases))
    data = FigureData()
    evidence: list[Axes] = []
    recovery: list[Axes] = []
    leakage: list[Axes] = []
    for band, base in zip(bands(figure, [setting_label(b) for b in bases]), bases, strict=True):
        mine = pick(scores, base=base)
        upper, lower = band.subfigures(2, 1, squeeze=False)[:, 0]
        top, bottom = list(upper.subplots(1, len(sources) + 1)), list(lower.subplots(1, 2))
        shown = chain(_evidence(mine, of_source, looks, plain, word), _blocks(mine, of_block, looks))
        for axes, letter, (title, unit, rows, series) in zip(top + bottom, letters(), shown, strict=False):
            groups = [{"number": value} for value in numbers]
            step = 0.7 / max(len(series), 1)
            strips(axes, rows, groups, series, data, letter, category="x", step=step, join=[0] * len(groups))
            panel_title(axes, letter, title)
            number_groups(axes, [number(value) for value in numbers])
            axes.set(xlabel=word, ylabel=unit)
        for axes in top:
            zero_line(axes, "y")
        _notes(bottom[0], mine, list(looks), numbers)
        evidence += top
        recovery.append(bottom[0])
        leakage.append(bottom[1])
    evidence_scale(evidence, "y")
    share_range(recovery, "y", 0.0, 1.0)
    leakage_scale(leakage, "y")
    handles = [
        line_handle(variant_label(v), look.colour, marker=look.marker, markersize=5, linestyle=look.line)
        for v, look in looks.items()
    ]
    legend(figure, [*handles, *elbo_handles(of_source), *block_handles(of_block), *strip_handles()])
    return figure, data.table()


#: Title, unit of values, rows and series of a panel.
Panel = tuple[str, str, pd.DataFrame, list[Series]]


def _evidence(
    scores: pd.DataFrame, sources: Mapping[str, str], looks: Mapping[str, Look], plain: str, word: str
) -> list[Panel]:
    """ELBOs of each source against the plain variant at its best number, and of all at the same number."""
    best = _best(scores, plain)
    unit, than = UNITS["elbo_difference"], variant_label(plain)
    title = f"ELBO less {than}'s\nat its best, {word} {number(best)}"
    every = [Series({"variant": variant}, look) for variant, look in looks.items()]
    panels = [(f"{s}: {title}", unit, _less_best(scores, plain, best, s), every) for s in sources]
    others = [variant for variant in looks if variant != plain]
    paired = [
        Series({"variant": v, "source": s}, Look(sources[s], looks[v].marker))
        for v in others
        for s in sources
    ]
    name = variant_label(others[0]) if len(others) == 1 else "a variant"
    title = f"{name}'s ELBO less {than}'s\nat the same {word}"
    return [*panels, (title, unit, elbo_differences(scores, plain), paired)]


def _blocks(scores: pd.DataFrame, blocks: Mapping[str, str], looks: Mapping[str, Look]) -> list[Panel]:
    """Recovery and leakage of every block under every variant."""
    panels = []
    for metric, title in (("recovery_cc", OWN_TRUTH), ("leakage_r2", f"{OTHER_TRUTH} in a block")):
        series = [
            Series({"variant": v, **one.where}, replace(look, colour=one.look.colour))
            for v, look in looks.items()
            for one in block_series(scores, metric, blocks)
        ]
        panels.append((title, UNITS[metric], pick(scores, metric=metric, twist=0.0), series))
    return panels


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


def _notes(axes: Axes, scores: pd.DataFrame, variants: Sequence[str], numbers: Sequence[float]) -> None:
    """Which fits are missing, in the middle of the panel."""
    for i, value in enumerate(numbers):
        found = {v: missing_fits(pick(scores, number=value, variant=v)) for v in variants}
        text = "\n".join(f"{variant_label(v)}:\n{note}" for v, note in found.items() if note)
        axes.text(i, 0.5, text, transform=axes.get_xaxis_transform(), ha="center", va="center", **NOTE)
