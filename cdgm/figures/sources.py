"""Figure ``sources``: designs of more and more sources, each with blocks of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from cdgm.evaluation.table_slices import Tables, fits_of, order_of, pick
from cdgm.plotting import style
from cdgm.plotting.lanes import Look, lane, leakage_scale, looks_of, lost, rule_lanes, share_range
from cdgm.plotting.paired import EVIDENCE_LINEAR, elbo_differences, signed_scale
from cdgm.plotting.source_data import SourceData
from cdgm.plotting.sweeps import plain_variant
from cdgm.utils.joint_names import JOINT

COLOURS = ("#000000", "#AA4499", "#117733", "#332288", "#999933", "#882255")
TITLES = {
    "shared": ("shared block recovered", "mean canonical correlation"),
    "private": ("private blocks recovered", "mean canonical correlation"),
    "leakage": ("largest leakage", "linear R²"),
    "elbo": ("{name} ELBO\nless {plain}'s", "nats per point, same seed"),
}


@dataclass(frozen=True)
class _Entry:
    """A lane of a panel: its name, and its rows, one a fit."""

    name: str
    rows: pd.DataFrame


@style.style()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A row of panels a setting: recovery on each source, largest leakage, evidence of the worst source.

    Raises
    ------
    UserError
        If recovery or linear leakage was not scored.
    """
    scores = pick(fits_of(tables, study, "recovery_cc", "leakage_r2"), twist=0.0)
    plain = plain_variant(tables, study)
    order = order_of(tables, study)
    variants = list(dict.fromkeys(scores["variant"]))
    looks = looks_of(variants, COLOURS)
    settings = list(dict.fromkeys(scores["setting"]))
    entries = {s: _entries(pick(scores, setting=s), order, plain) for s in settings}
    kinds = [k for k in TITLES if any(entries[s][k] for s in settings)]
    others = [style.variant_label(v) for v in variants if v != plain]
    words = {
        "name": f"{others[0]}'s" if len(others) == 1 else "a variant's",
        "plain": style.variant_label(plain),
    }

    most = [max(len(found) for found in entries[s].values()) for s in settings]
    heights = [1.35 + 0.19 * len(variants) * n for n in most]
    figure = style.new_figure(10.5, 0.5 + sum(heights))
    data = SourceData()
    parts = figure.subfigures(len(settings), 1, height_ratios=heights, squeeze=False)[:, 0]
    grids = []
    for part, setting in zip(parts, settings, strict=True):
        _head(part, pick(scores, setting=setting), variants)
        panels = dict(zip(kinds, part.subplots(1, len(kinds), squeeze=False)[0], strict=True))
        for letter, (kind, axes) in zip("abcdefgh", panels.items(), strict=False):
            _panel(axes, entries[setting][kind], variants, looks, data, letter)
            title, unit = TITLES[kind]
            style.panel_title(axes, letter, title.format(**words))
            axes.set_xlabel(unit)
            if kind == "elbo":
                axes.axvline(0.0, color="#555555", linewidth=0.9, linestyle=":", zorder=1.8)
        grids.append(panels)
    _scales(grids, kinds)
    handles = [style.point_handle(looks[v].colour, style.variant_label(v), looks[v].marker) for v in variants]
    figure.legend(handles=[*handles, style.null_handle()], loc="outside upper center", ncols=len(handles) + 1)
    return figure, data.table()


def _entries(
    scores: pd.DataFrame, order: tuple[list[str], list[str]], plain: str
) -> Mapping[str, list[_Entry]]:
    """Lanes of every panel of one setting; a block is shared if it is scored on more sources than one."""
    recovery = pick(scores, metric="recovery_cc")
    active = {b: [s for s in order[0] if not pick(recovery, block=b, source=s).empty] for b in order[1]}
    shared = [b for b in order[1] if len(active[b]) > 1]
    private = [b for b in order[1] if len(active[b]) == 1]

    def recovered(block: str, source: str, name: str) -> _Entry:
        return _Entry(name, pick(recovery, block=block, source=source, truth=block))

    differences = elbo_differences(scores, plain) if plain else scores.iloc[:0]
    present = [s for s in order[0] if (differences["source"] == s).any()]
    evidence = [_Entry(f"on {s}", pick(differences, source=s)) for s in present]
    if len(present) > 1:
        evidence.append(_Entry("worst source", _extreme(differences, largest=False)))
    return {
        "shared": [
            recovered(b, s, f"{b} on {s}" if len(shared) > 1 else f"on {s}")
            for b in shared
            for s in active[b]
        ],
        "private": [recovered(b, active[b][0], b) for b in private],
        "leakage": _leaks(pick(scores, metric="leakage_r2"), shared, private),
        "elbo": evidence,
    }


def _leaks(rows: pd.DataFrame, shared: Sequence[str], private: Sequence[str]) -> list[_Entry]:
    """For every kind of direction the largest leakage of each fit, over blocks and sources."""
    found = []
    for into, block_names in (("shared", shared), ("private", private)):
        for of, truth_names in (("private", private), ("shared", shared)):
            mine = rows[rows["block"].isin(block_names) & rows["truth"].isin(truth_names)]
            if not mine.empty:
                found.append(_Entry(f"{of} in\na {into} block", _extreme(mine, largest=True)))
    return found


def _extreme(rows: pd.DataFrame, *, largest: bool) -> pd.DataFrame:
    """One row a fit, its largest or smallest value; not finite where one of its scores is not.

    The null is the largest of those of the scores.
    """
    keys = ["setting", "variant", "point", "seed"]
    groups = rows.groupby(keys, sort=False)
    values = groups["value"].max() if largest else groups["value"].min()
    table = pd.DataFrame(
        {"value": values, "finite": groups["finite"].all(), "null_high": groups["null_high"].max()}
    )
    which = "largest" if largest else "smallest"
    names = {"metric": f"{rows['metric'].iloc[0]}_{which}"}
    for column in ("source", "block", "truth"):
        names[column] = JOINT.join(dict.fromkeys(rows[column]))
    return table.reset_index().assign(**names)


def _panel(
    axes: Axes,
    entries: Sequence[_Entry],
    variants: Sequence[str],
    looks: Mapping[str, Look],
    data: SourceData,
    letter: str,
) -> None:
    there = [v for v in variants if any((e.rows["variant"] == v).any() for e in entries)]
    step = 0.8 / max(len(there), 1)
    for i, entry in enumerate(entries):
        for j, variant in enumerate(there):
            own, look = pick(entry.rows, variant=variant), looks[variant]
            place = i + (j - (len(there) - 1) / 2) * step
            lane(axes, own, place, step, look.colour, data, letter, marker=look.marker)
    rule_lanes(axes, max(len(entries), 1))
    axes.set_yticks(range(len(entries)), [entry.name for entry in entries])
    for i in range(1, len(entries)):
        if entries[i].name.startswith("worst"):
            axes.axhline(i - 0.5, color="#888888", linewidth=0.7, zorder=0.6)


def _head(part: SubFigure, scores: pd.DataFrame, variants: Sequence[str]) -> None:
    sources = pick(scores, metric="recovery_cc")["source"].nunique()
    text = f"{style.setting_label(scores['setting'].iloc[0])} ({sources} sources)"
    for variant in variants:
        mine = pick(scores, variant=variant)
        note = "not fitted" if mine.empty else lost(mine)
        if note:
            text += f"; {style.variant_label(variant)}: {note}"
    part.suptitle(text, x=0.01, ha="left", fontsize=10.5, fontweight="bold")


def _scales(grids: Sequence[Mapping[str, Axes]], kinds: Sequence[str]) -> None:
    """The same scale for all settings."""
    for kind in kinds:
        column = [grid[kind] for grid in grids]
        if kind == "leakage":
            leakage_scale(column, "x")
        elif kind == "elbo":
            signed_scale(column, "x", linear=EVIDENCE_LINEAR, low=-1.0, high=1.0)
        else:
            share_range(column, "x", 0.0, 1.0)
