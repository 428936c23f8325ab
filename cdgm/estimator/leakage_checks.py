"""Conclusions from the leakage table of a fit, or of another method's latents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE
from cdgm.reports.fit_report import Check, Verdict
from cdgm.utils.joint_names import JOINT

#: HSIC, over the 95 % quantile of its null, from which a dependence of blocks is a strong doubt.
DEPENDENT = 3.0
#: Share of the way from chance to perfect accuracy from which sources, labels or batches count as predicted.
PREDICTED = 0.2


@dataclass(frozen=True)
class Advice:
    """What to do, in words of whoever made the latents.

    Attributes
    ----------
    members
        What fits that differ in nothing but their seed are called.
    several
        What to do for a look at stability.
    moved
        What to do if something has moved into a shared block.
    shifted
        What to do if a shared block encodes the sources in different places.
    batches
        What to do if a block knows the batch.
    """

    members: str
    several: str
    moved: str
    shifted: str
    batches: str

    def counted(self, number: int) -> str:
        """A number of fits, in words."""
        return f"{number} {self.members if number > 1 else self.members[:-1]}"


OWN_FITS = Advice(
    members="members",
    several="unknown for a single member: fit several (n_members=4, --members 4).",
    moved="Use other members, fewer dimensions of the block, or variant private-warm-up.",
    shifted="Variant mmd-cvae brings them together.",
    batches="The decoder was not told of it: fit again with batch_key (--batch-key).",
)
#: What the decoder was told of cannot be told again.
TOLD_FITS = replace(
    OWN_FITS,
    batches="The decoder was told of it, which removes only what shifts all cells of a batch alike: compare "
    "batches one by one before you call a difference an effect.",
)


def leakage_checks(table: pd.DataFrame, label: str, batch: str, advice: Advice) -> Iterator[Check]:
    """Draw conclusions from a table of leakage; for the arguments see :func:`.interpretation.interpret`."""
    asked = dict(_groups(table, "metric"))
    nothing = table.iloc[:0]
    for (pair, source), rows in _groups(asked.get("hsic", nothing), "block", "source"):
        yield _independence(tuple(pair.split(JOINT)), source, rows, advice)
    mixing = asked.get("source_separation", nothing)
    linear = dict(_groups(asked.get("source_separation_linear", nothing), "block"))
    for block, rows in _groups(mixing, "block"):
        yield _mixing(block, rows, linear.get(block, nothing), advice)
    asymmetry = asked.get("axis_asymmetry", nothing).dropna(subset="value")
    for (block, sources), rows in _groups(asymmetry, "block", "source"):
        alive, idle = sources.split(JOINT)
        yield _asymmetry(block, alive, idle, rows, linear.get(block, nothing), advice)
    shared = set(mixing["block"])
    # Labels that are batches are judged as such.
    labels = nothing if label == batch else asked.get("knn_accuracy", nothing)
    for block, source, rows in _best_known(labels):
        yield _labels(block, source, rows, label, batch, block in shared)
    for block, source, rows in _best_known(asked.get("batch_accuracy", nothing)):
        yield _batches(block, source, rows, batch, block in shared, advice)


def _independence(blocks: tuple[str, ...], source: str, rows: pd.DataFrame, advice: Advice) -> Check:
    about, named = "independence of blocks", " and ".join(blocks)
    value, limit = rows["value"].median(), rows["null_high"].median()
    ratio = max(0.0, value / limit) if limit > 0 else np.inf
    times = f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"
    badge = f"HSIC {times} × limit" if ratio < np.inf else f"HSIC {value:.2g}"
    if not rows["trace"].any():
        text = f"{named} show no dependence over {source} cells: HSIC is within its limit."
        return Check(about, text, "good", "hsic", blocks, "no dependence of blocks", badge)
    size = f"HSIC {value:.2g}, {times} times its limit" if 1 < ratio < np.inf else f"HSIC {value:.2g}"
    text = f"{named} depend on each other over {source} cells in {_traced(rows, advice)}: {size}."
    verdict: Verdict = "doubt" if _most(rows) and ratio > DEPENDENT else "minor"
    return Check(about, text, verdict, "hsic", blocks, f"{named} depend on each other ({size})", badge)


def _mixing(block: str, rows: pd.DataFrame, linear: pd.DataFrame, advice: Advice) -> Check:
    about, value = f"sources in the {block} block", rows["value"].median()
    chance = _chance(rows)
    numbers = f"balanced accuracy {value:.2f}; {chance:.2f} if sources mix, 1 if they are apart"
    size = f"{value:.0%}, chance {chance:.0%}"
    if not rows["trace"].any():
        text = f"neighbours do not reveal the source of a cell ({numbers})."
        return Check(about, text, "good", "separation", (block,), size=size)
    text = f"neighbours reveal the source of a cell in {_traced(rows, advice)} ({numbers})."
    if not linear.empty:
        text = f"{text} {_kind(value, linear, advice)}"
    reason = f"the {block} block reveals the source of a cell ({size})"
    return Check(about, text, "doubt" if _far(rows) else "minor", "separation", (block,), reason, size)


def _kind(value: float, linear: pd.DataFrame, advice: Advice) -> str:
    """What part of a separation a shift of means explains."""
    alone = linear["value"].median()
    if _far(linear):
        return f"Encodings are shifted: their means alone give {alone:.2f}. {advice.shifted}"
    return f"Means alone give {alone:.2f}, so it is hardly a shift of the encodings."


def _asymmetry(
    block: str, alive: str, idle: str, rows: pd.DataFrame, linear: pd.DataFrame, advice: Advice
) -> Check:
    about, moved = f"axes of the {block} block", rows[rows["trace"] & (rows["value"] > ALIVE_IN_ONE)]
    scale = f"1 if sources agree; up to {ALIVE_IN_ONE:g} is no objection"
    if moved.empty:
        text = (
            f"none is alive only in the {alive}: no axis varies more than {rows['value'].max():.1f} times as "
        )
        size, reason = f"ratio {rows['value'].max():.1f}", f"no moved {block} axis"
        text = f"{text}much as in the {idle} ({scale})."
        return Check(about, text, "good", "asymmetry", reason=reason, size=size)
    members = f"{len(moved)} of {advice.counted(len(rows))}"
    has = "has" if len(moved) == 1 else "have"
    size = f"{moved['value'].max():.1f} times as much as in the {idle}"
    if not linear.empty and _far(linear):
        reason = f"{members} {has} a {block} axis that varies more in the {alive}"
        text = (
            f"{reason}, {size} ({scale}). The means of the sources differ too, and a shift of encodings that "
            "depends on the cell makes variances unequal: this need not be a dimension that has moved."
        )
        return Check(about, text, "minor", "asymmetry", (block,), reason, f"ratio {moved['value'].max():.1f}")
    reason = f"{members} {has} a {block} axis that is alive only in the {alive}"
    text = (
        f"{reason}: it varies {size} ({scale}). What belongs to the {alive} alone has moved there "
        f"({advice.members[:-1]} {', '.join(map(str, moved['member']))}). {advice.moved}"
    )
    verdict: Verdict = "doubt" if 2 * len(moved) > len(rows) else "minor"
    return Check(about, text, verdict, "asymmetry", (), reason, f"ratio {moved['value'].max():.1f}")


def _labels(block: str, source: str, rows: pd.DataFrame, label: str, batch: str, shared: bool) -> Check:
    about, value = f"{label} in the {block} block", rows["value"].median()
    chance, high = rows["null_mean"].median(), rows["null_high"].median()
    if batch and np.allclose(rows["null_high"], rows["null_mean"]):
        text = f"all {source} cells of a {batch} have the same {label}: nothing tells the two apart."
        return Check(about, text, "open", "labels", (block,))
    numbers = f"with {value:.0%} balanced accuracy ({chance:.0%} by chance)"
    size = f"{value:.0%}, chance {chance:.0%}"
    text = f"the {block} block predicts {label} of {source} cells {numbers}."
    if not _most(rows) or value - chance <= PREDICTED * (1 - chance):
        how = "hardly predicts" if rows["trace"].any() else "does not predict"
        text = f"the {block} block {how} {label} of {source} cells {numbers[:-1]}, {high:.0%} at most)."
        return Check(about, text, "open", "labels", (block,), size=size)
    if shared:
        meaning = "is a cell type, this is what you want; if it is the perturbation, the block leaks."
        return Check(about, f"{text} If {label} {meaning}", "open", "labels", (block,), size=size)
    meaning = (
        "is a batch or donor, the block is confounded: name it as such (--batch-key). If it is the "
        "perturbation, this is what you want. If it is a cell type, the effect differs between types, or the "
        "block leaks."
    )
    reason = f"{label} is not a batch or donor: the block predicts it {numbers}"
    return Check(about, f"{text} If {label} {meaning}", "ask", "labels", (block,), reason, size)


def _batches(block: str, source: str, rows: pd.DataFrame, batch: str, shared: bool, advice: Advice) -> Check:
    """A batch that a block knows, beyond what the sizes of cells tell."""
    about, value = f"{batch} in the {block} block", rows["value"].median()
    chance, floor = rows["null_mean"].median(), rows["floor"].median()
    known = chance if np.isnan(floor) else max(chance, floor)
    alone = "" if np.isnan(floor) else f", {floor:.0%} by the sizes of cells alone"
    numbers = f"{value:.0%} balanced accuracy ({chance:.0%} by chance{alone})"
    size = f"{value:.0%}, {'floor' if known > chance else 'chance'} {known:.0%}"
    if not _most(rows) or value - known <= PREDICTED * (1 - known):
        text = f"the {block} block tells little of the {batch} of {source} cells: {numbers}."
        reason = f"little of {batch} in the {block} block ({size})"
        return Check(about, text, "good", "batches", (block,), reason, size)
    text = f"the {block} block predicts the {batch} of {source} cells with {numbers}."
    reason = f"the {block} block predicts {batch} ({size})"
    verdict: Verdict = "minor" if shared else "doubt"
    meaning = (
        "Do not use it as a space without batches."
        if shared
        else f"What the block shows may be {batch} and not the effect."
    )
    return Check(about, f"{text} {meaning} {advice.batches}", verdict, "batches", (block,), reason, size)


def _best_known(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Rows of each block on the source whose classes it predicts best, beyond chance."""
    for block, rows in _groups(table, "block"):
        beyond = (rows["value"] - rows["null_mean"]).groupby(rows["source"]).median()
        source = str(beyond.idxmax())
        yield block, source, rows[rows["source"] == source]


def _groups(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Rows by the values of columns, in the order of the table."""
    yield from table.groupby(columns[0] if len(columns) == 1 else list(columns), sort=False)


def _traced(rows: pd.DataFrame, advice: Advice) -> str:
    return f"{int(rows['trace'].sum())} of {advice.counted(len(rows))}"


def _most(rows: pd.DataFrame) -> bool:
    return 2 * rows["trace"].sum() > len(rows)


def _chance(rows: pd.DataFrame) -> float:
    """Balanced accuracy of guessing one of the sources that rows name."""
    return 1 / (1 + rows["source"].iloc[0].count(JOINT))


def _far(rows: pd.DataFrame) -> bool:
    """Whether sources are predicted in most members, and better than hardly."""
    chance = _chance(rows)
    return _most(rows) and rows["value"].median() - chance > PREDICTED * (1 - chance)
