"""Figure ``cells_tradeoff``: what each variant puts into which space of cells, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from cdgm.evaluation.table_slices import (
    BASELINES,
    Tables,
    main_source,
    median_of,
    need,
    order_of,
    pick,
    rows_of,
)
from cdgm.plotting import style
from cdgm.plotting.lanes import (
    COLOURS,
    MARKERS,
    Look,
    lanes,
    line_label,
    looks_of,
    lost,
    name_lanes,
    share_range,
)
from cdgm.plotting.paired import EVIDENCE_LINEAR, elbo_differences, signed_scale
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import Line, lines_of, of_line, plain_variant, private_blocks
from cdgm.utils.errors import bad_input

LABELS = "knn_accuracy"
MIXING = "source_mixing"
DASHES = {"pca": "-", "pca_background": ":", "contrastive_pca": (0, (6, 2)), "oracle": (0, (3, 1, 1, 1))}


@dataclass(frozen=True)
class _Spaces:
    """Whose labels are judged, against what, and the two spaces that they are looked for in."""

    source: str
    truth: str
    shared: str
    private: str


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """Four panels a setting: labels against labels, mixing against labels, paired evidence, KL.

    Raises
    ------
    UserError
        If no kNN scores or no mixing was scored, or there is no private space beside a shared one.
    """
    scores = rows_of(tables, "scores", study)
    labelled = need(scores, study, metric=LABELS)
    need(scores, study, metric=MIXING)
    spaces = _spaces(tables, study, labelled)
    plain = plain_variant(tables, study)
    lines = lines_of(scores)
    looks = _looks(lines)
    settings = list(dict.fromkeys(scores["setting"]))
    if plain:
        scores = pd.concat([scores, elbo_differences(scores, plain)], ignore_index=True)

    height = 4.4 + 0.9 + 0.3 * len(lines)
    names = -(-(len(lines) + 6) // 5)
    figure = style.new_figure(10.0, 0.5 + 0.24 * names + height * len(settings))
    data = SourceData()
    parts = figure.subfigures(len(settings), 1, squeeze=False)[:, 0]
    for part, setting in zip(parts, settings, strict=True):
        mine = pick(scores, setting=setting)
        if len(settings) > 1:
            part.suptitle(style.setting_label(setting), x=0.01, ha="left", fontweight="bold")
        top, bottom = part.subfigures(2, 1, height_ratios=[4.4, 0.9 + 0.3 * len(lines)])
        _trade(top, mine, lines, looks, spaces, data)
        _costs(bottom, tables, study, mine, lines, spaces, plain, setting, data)
    figure.legend(handles=_handles(scores, lines, looks), loc="outside upper center", ncols=5)
    return figure, data.table()


def _spaces(tables: Tables, study: str, labelled: pd.DataFrame) -> _Spaces:
    own = labelled[~labelled["variant"].isin(BASELINES)]
    source, truth = own[["source", "truth"]].iloc[0] if len(own) else ("", "")
    scored = set(pick(own, source=source, truth=truth)["block"])
    blocks = [b for b in order_of(tables, study)[1] if b in scored]
    private = [b for b in private_blocks(tables, study) if b in scored]
    shared = [b for b in blocks if b not in private]
    if not private or not shared:
        expected = "a shared and a private block"
        raise bad_input(f"scores of study {study!r}", "block", sorted(scored), expected)
    return _Spaces(source, truth, shared[0], private[0])


def _looks(lines: list[Line]) -> dict[Line, Look]:
    """A look for each line; when colours are used up they come back with other markers."""
    looks = list(looks_of([line_label(line) for line in lines]).values())
    turned = [
        Look(look.colour, MARKERS[(i + 3 * (i // len(COLOURS))) % len(MARKERS)])
        for i, look in enumerate(looks)
    ]
    return dict(zip(lines, turned, strict=True))


def _trade(
    part: SubFigure,
    rows: pd.DataFrame,
    lines: list[Line],
    looks: dict[Line, Look],
    spaces: _Spaces,
    data: SourceData,
) -> None:
    labels = pick(rows, metric=LABELS, source=spaces.source, truth=spaces.truth)
    high = pick(labels, block=spaces.private)
    left, right = part.subplots(1, 2, sharey=True)
    mixing = pick(rows, metric=MIXING, source=spaces.source, block=spaces.shared)
    for axes, letter, along in (
        (left, "a", pick(labels, block=spaces.shared)),
        (right, "b", mixing),
    ):
        for line in lines:
            _cloud(axes, of_line(along, line), of_line(high, line), looks[line], letter, data)
        _references(axes, high, letter, data)
        end = median_of(high.loc[~high["variant"].isin(BASELINES), "null_high"])
        if np.isfinite(end):
            axes.axhspan(-1.0, end, facecolor=style.NULL_COLOUR, alpha=0.8, zorder=0.3)
        end = median_of(along.loc[~along["variant"].isin(BASELINES), "null_high"])
        if np.isfinite(end):
            axes.axvspan(-1.0, end, facecolor=style.NULL_COLOUR, alpha=0.8, zorder=0.3)
            data.add(letter, "null_high", along.iloc[:1], variant=None, seed=None, value=end)
    _ranges(left, right, data.table())
    left.set_xlabel(f"labels in {spaces.shared} space (balanced kNN accuracy; low is good)")
    left.set_ylabel(f"labels in {spaces.private} space (balanced kNN accuracy)")
    right.set_xlabel(
        f"{spaces.source} cells among neighbours in {spaces.shared} space,\nover expectation (1: mixed)"
    )
    right.axvline(1.0, color="black", linewidth=0.9, linestyle=":", zorder=1.8)
    style.panel_title(left, "a", "labels: where they are, where they should not be")
    style.panel_title(right, "b", "labels against mixing of sources")


def _ranges(left: Axes, right: Axes, drawn: pd.DataFrame) -> None:
    """Ranges from what is drawn: bands have no end, and references are on the vertical axis only."""
    marks = drawn[drawn["kind"].isin(["seed", "null_high", "reference"])]
    for axes, letter, least in ((left, "a", 0.08), (right, "b", 0.08)):
        mine = marks[marks["panel"] == letter]
        found = pd.concat([mine["x"], mine.loc[mine["kind"] == "null_high", "value"]]).dropna()
        found = pd.concat([found, pd.Series([1.0])]) if letter == "b" else found
        if len(found):
            middle, reach = (found.min() + found.max()) / 2, max(np.ptp(found), least) / 2
            axes.set_xlim(middle - 1.12 * reach, middle + 1.12 * reach)
    heights = marks["y"].dropna()
    if len(heights):
        margin = 0.08 * max(np.ptp(heights), 0.08)
        left.set_ylim(heights.min() - margin, heights.max() + margin)


def _cloud(
    axes: Axes, along: pd.DataFrame, high: pd.DataFrame, look: Look, letter: str, data: SourceData
) -> None:
    """Seeds of a line as small marks and the median of each score as a large one."""
    both = along.merge(high[["seed", "value", "finite"]], on="seed", suffixes=("", "_high"))
    good = both[both["finite"] & both["finite_high"]].sort_values("seed")
    lost_ones = both[~(both["finite"] & both["finite_high"])]
    data.add(letter, "seed", good, x=good["value"].to_numpy(), y=good["value_high"].to_numpy())
    data.add(letter, "left out", lost_ones)
    if good.empty:
        return
    axes.scatter(
        good["value"],
        good["value_high"],
        s=14,
        marker=look.marker,
        color=look.colour,
        alpha=0.45,
        linewidths=0,
        zorder=3,
    )
    x, y = good["value"].median(), good["value_high"].median()
    axes.scatter(
        x, y, s=75, marker=look.marker, color=look.colour, edgecolor="white", linewidths=0.8, zorder=4
    )
    data.add(letter, "median", good.iloc[:1], seed=None, value=x, x=x, y=y)


def _references(axes: Axes, high: pd.DataFrame, letter: str, data: SourceData) -> None:
    """Baselines have one space only: a line at what it holds."""
    for variant, dashes in DASHES.items():
        mine = pick(high, variant=variant)
        value = median_of(mine["value"])
        if np.isfinite(value):
            axes.axhline(value, color=style.REFERENCE_COLOUR, linewidth=1.1, linestyle=dashes, zorder=2)
            data.add(letter, "reference", mine.iloc[:1], seed=None, value=value, y=value)


def _costs(
    part: SubFigure,
    tables: Tables,
    study: str,
    rows: pd.DataFrame,
    lines: list[Line],
    spaces: _Spaces,
    plain: str,
    setting: str,
    data: SourceData,
) -> None:
    sources, blocks = order_of(tables, study)
    of_source = style.colours(sources, style.SOURCE_COLOURS)
    differences = pick(rows, metric="elbo_difference")
    members = [(s, "", "", of_source[s]) for s in sources if (differences["source"] == s).any()]
    panels = list(part.subplots(1, 2 if members else 1, sharey=True, squeeze=False)[0])
    if members:
        _evidence(panels[0], differences, lines, members, plain, setting, data)
    kl = pick(rows, metric="kl")
    colour = style.colours(blocks, style.BLOCK_COLOURS)[spaces.private]
    right = panels[-1]
    place = main_source(kl, spaces.private), spaces.private, "", colour
    lanes(right, kl, lines, [place], data, "d")
    name_lanes(right, lines)
    share_range([right], "x", 0.0)
    panels[0].set_yticks(range(len(lines)), [_label(line, rows) for line in lines])
    style.panel_title(right, "d", f"KL of {spaces.private}")
    right.set_xlabel("nats per point (near 0: the space is empty)")


def _evidence(
    axes: Axes,
    rows: pd.DataFrame,
    lines: list[Line],
    members: list[tuple[str, str, str, str]],
    plain: str,
    setting: str,
    data: SourceData,
) -> None:
    lanes(axes, rows, lines, members, data, "c")
    name_lanes(axes, lines)
    axes.axvline(0.0, color="black", linewidth=0.9, linestyle=":", zorder=1.8)
    if (plain, "") in lines:
        place = (0.0, lines.index((plain, "")))
        axes.annotate("reference", place, (4, 0), textcoords="offset points", va="center", fontsize=7.5)
    signed_scale([axes], "x", linear=10 * EVIDENCE_LINEAR, low=-1.0, high=2.0)
    axes.legend(
        handles=[style.point_handle(m[3], m[0]) for m in members],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(members),
        borderaxespad=0.1,
    )
    style.panel_title(axes, "c", f"held-out ELBO less {style.variant_label(plain)}'s")
    axes.set_xlabel("nats per point, same seed")


def _label(line: Line, rows: pd.DataFrame) -> str:
    mine = of_line(rows, line)
    note = "not fitted" if mine.empty else lost(mine)
    return line_label(line) + (f"\n({note})" if note else "")


def _handles(scores: pd.DataFrame, lines: list[Line], looks: dict[Line, Look]) -> list[object]:
    handles: list[object] = [
        style.dot_handle(looks[line].colour, line_label(line), looks[line].marker) for line in lines
    ]
    for variant, dashes in DASHES.items():
        if (scores["variant"] == variant).any():
            label = style.variant_label(variant)
            handles.append(
                Line2D([], [], color=style.REFERENCE_COLOUR, linewidth=1.1, linestyle=dashes, label=label)
            )
    return [*handles, style.null_handle()]
