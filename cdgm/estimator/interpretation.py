"""Conclusions from the tables of a fit, by rules that ``docs/own_data.md`` explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE
from cdgm.reports.fit_report import BADGES, Check, Verdict
from cdgm.utils.joint_names import JOINT

#: Share of a block's variance that another member's must explain for members to agree, or to agree in part.
AGREE, AGREE_IN_PART = 0.8, 0.5
#: KL of a block in nats a row, below which the model does not use the block.
EMPTY = 0.1
#: HSIC, over the 95 % quantile of its null, from which a dependence of blocks is a strong doubt.
DEPENDENT = 3.0
#: Share of the way from chance to perfect accuracy from which sources or labels count as predicted.
PREDICTED = 0.2
#: Share of the usual number of steps below which a training is short.
SHORT = 0.5
#: Share of the whole rise of the ELBO that falls on the last third of a training that has not settled.
RISING = 0.03
#: Records of a training below which its course cannot be seen.
FEWEST_RECORDS = 5
#: Entries of the glossary whose strong doubts leave nothing to interpret.
DECISIVE = ("stability", "kl", "member", "settled", "asymmetry")


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
    """

    members: str
    several: str
    moved: str


OWN_FITS = Advice(
    members="members",
    several="unknown for a single member: fit several (n_members=4, --members 4).",
    moved="Use other members, fewer dimensions of the block, or variant private-warm-up.",
)


def interpret(
    elbo: pd.DataFrame | None,
    leakage: pd.DataFrame,
    stability: pd.DataFrame | None,
    label: str = "the label",
    batch: str = "",
    advice: Advice = OWN_FITS,
) -> list[Check]:
    """Draw conclusions from the tables of a fit, strongest objections first.

    Parameters
    ----------
    elbo, leakage, stability
        Tables of :mod:`cdgm.estimator.scores`; ``stability`` is None for a single member, ``elbo`` for
        latents of another method.
    label, batch
        Names of the labels and of the batches that ``leakage`` scores.
    advice
        What to do about what is found.
    """
    found = [] if elbo is None else [*_diverged(elbo), *_empty_blocks(elbo)]
    return by_severity([*found, *_stability(stability, advice), *_leakage(leakage, label, batch, advice)])


def by_severity(checks: Sequence[Check]) -> list[Check]:
    """Sort checks by their verdicts, strongest objections first."""
    return sorted(checks, key=lambda check: list(BADGES).index(check.verdict))


def check_training(history: pd.DataFrame, usual_steps: int, early_stopping: bool) -> list[Check]:
    """Check whether training was long enough.

    Parameters
    ----------
    history
        Columns seed, step, quantity and value of one training.
    usual_steps
        Steps that fits of such data have by default.
    early_stopping
        Whether validation rows decided when training ended: then there is nothing to check.
    """
    if early_stopping:
        return []
    curves = history[history["quantity"] == "elbo"].groupby(["step", "seed"])["value"].mean().unstack()
    n, steps = len(curves), int(history["step"].max())
    start, middle, end = (
        curves.iloc[int(a * n) : max(int(b * n), int(a * n) + 1)].median()
        for a, b in ((0.0, 0.1), (0.6, 0.8), (0.9, 1.0))
    )
    length = f"{steps:,} steps, of {usual_steps:,} by default for such data"
    rises = ((end - middle) / (end - start)).dropna()
    if n < FEWEST_RECORDS or rises.empty:
        text = f"{length}: too few to see whether the ELBO has settled. Train longer."
        return [Check("training", text, "doubt", "settled", reason=f"training was short ({steps:,} steps)")]
    late = float(rises.median())
    rising, short = late > RISING, steps < SHORT * usual_steps
    course = f"the last third of training still brought {late:.0%} of the rise of the ELBO"
    if rising and short:
        reason = f"training was short ({steps:,} of the usual {usual_steps:,} steps) and has not settled"
        return [Check("training", f"{length}; {course}. Train longer.", "doubt", "settled", reason=reason)]
    if rising:
        text = f"{course}. Train longer."
        return [Check("training", text, "minor", "settled", reason="training has not settled")]
    if short:
        text = f"{length}. The ELBO was flat at the end."
        return [Check("training", text, "minor", "settled", reason=f"training was short ({steps:,} steps)")]
    return [Check("training", "the ELBO was flat at the end.", "good", "settled")]


def summarise(checks: Sequence[Check], private: Sequence[str]) -> Check:
    """Sum checks up in one sentence about the private blocks.

    Parameters
    ----------
    checks
        All checks of a fit.
    private
        Blocks that belong to some of the sources only; usually ``salient``.

    Returns
    -------
    Check
        Its text is the sentence, its verdict that of the checks which decide.
    """
    some = "this fit"
    if private:
        some = f"the {' and the '.join(private)} block{'s' * (len(private) > 1)} of this fit"
    about = [c for c in checks if not c.blocks or not private or set(c.blocks) & set(private)]
    strong = [c for c in about if c.verdict == "doubt" and c.term in DECISIVE]
    weak = [c for c in about if c.verdict in ("doubt", "minor") and c not in strong]
    cases: tuple[tuple[Verdict, str, list[Check]], ...] = (
        ("doubt", f"Do not interpret {some}: ", strong),
        ("ask", f"Before you interpret {some}, make sure that ", [c for c in about if c.verdict == "ask"]),
        ("minor", f"Interpret {some} with care: ", weak),
        ("open", f"Do not rely on {some} yet: ", [c for c in about if c.verdict == "open"]),
    )
    for verdict, beginning, found in cases:
        if reasons := _listed(found):
            return Check("summary", f"{beginning}{reasons}.", verdict, "")
    good = _listed([c for c in about if c.verdict == "good"])
    because = f": {good}" if good else ""
    text = f"No check speaks against {some}, which does not prove that it is right{because}."
    return Check("summary", text, "good", "")


def _diverged(elbo: pd.DataFrame) -> Iterator[Check]:
    finite = elbo.groupby("member")["finite"].all()
    if not finite.all():
        lost = f"{int((~finite).sum())} of {len(finite)} members diverged"
        verdict: Verdict = "doubt" if 2 * finite.sum() <= len(finite) else "minor"
        text = f"{lost} and are left out: try a smaller learning rate."
        yield Check("members that diverged", text, verdict, "member", reason=lost)


def _empty_blocks(elbo: pd.DataFrame) -> Iterator[Check]:
    for column in (c for c in map(str, elbo.columns) if c.startswith("kl_")):
        block, values = column.removeprefix("kl_"), elbo[column][elbo["finite"]].dropna()
        if len(values) and values.median() < EMPTY:
            text = f"it contains {values.median():.2f} nats per cell: the model does not use the block."
            yield Check(f"{block} block", text, "doubt", "kl", (block,), f"the {block} block is empty")


def _stability(table: pd.DataFrame | None, advice: Advice) -> Iterator[Check]:
    if table is None:
        yield Check("stability", advice.several, "open", "stability", reason="one seed cannot show stability")
        return
    for block, rows in _groups(table, "block"):
        about, worst = f"stability of the {block} block", rows.sort_values("r2").iloc[0]
        value = float(worst["r2"])
        if rows["r2"].isna().all():
            text = f"the block is empty in all {advice.members}: nothing to compare."
            yield Check(about, text, "doubt", "stability", (block,))
            continue
        verdict: Verdict
        if value >= AGREE:
            verdict, meaning, reason = "good", "the same block, up to a linear map", "seeds agree"
        elif value >= AGREE_IN_PART:
            verdict, meaning, reason = "minor", "the same block only in part", "seeds agree only in part"
        else:
            verdict, meaning, reason = "doubt", "another block", "seeds disagree"
        pairs = f"{'the worst of ' * (len(rows) > 1)}{len(rows)} pair{'s' * (len(rows) > 1)}"
        text = (
            f"{pairs} of {advice.members}: r2 {value:.2f} (unrelated blocks: "
            f"{max(0.0, rows['r2_null_high'].max()):.2f} at most), mean "
            f"canonical correlation {worst['agreement']:.2f}. Other seeds find {meaning}."
        )
        yield Check(about, text, verdict, "stability", (block,), f"{reason} (r2 {value:.2f})")


def _leakage(table: pd.DataFrame, label: str, batch: str, advice: Advice) -> Iterator[Check]:
    asked = dict(_groups(table, "metric"))
    nothing = table.iloc[:0]
    for (pair, source), rows in _groups(asked.get("hsic", nothing), "block", "source"):
        yield _independence(tuple(pair.split(JOINT)), source, rows)
    mixing = asked.get("source_separation", nothing)
    for block, rows in _groups(mixing, "block"):
        yield _mixing(block, rows)
    asymmetry = asked.get("axis_asymmetry", nothing).dropna(subset="value")
    for (block, sources), rows in _groups(asymmetry, "block", "source"):
        alive, idle = sources.split(JOINT)
        yield _asymmetry(block, alive, idle, rows, advice)
    shared = set(mixing["block"])
    for (block, source), rows in _groups(asked.get("knn_accuracy", nothing), "block", "source"):
        yield _labels(block, source, rows, label, block in shared)
    for (block, source), rows in _groups(asked.get("batch_accuracy", nothing), "block", "source"):
        yield _batches(block, source, rows, batch)


def _independence(blocks: tuple[str, ...], source: str, rows: pd.DataFrame) -> Check:
    about, named = "independence of blocks", " and ".join(blocks)
    if not rows["trace"].any():
        text = f"{named} show no dependence over {source} cells: HSIC is within its limit."
        return Check(about, text, "good", "hsic", blocks)
    value, limit = rows["value"].median(), rows["null_high"].median()
    ratio = value / limit if limit > 0 else np.inf
    size = f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"
    size = f"HSIC {value:.2g}, {size} times its limit" if 1 < ratio < np.inf else f"HSIC {value:.2g}"
    text = f"{named} depend on each other over {source} cells in {_traced(rows)}: {size}."
    verdict: Verdict = "doubt" if _most(rows) and ratio > DEPENDENT else "minor"
    return Check(about, text, verdict, "hsic", blocks, f"{named} depend on each other ({size})")


def _mixing(block: str, rows: pd.DataFrame) -> Check:
    about, value = f"sources in the {block} block", rows["value"].median()
    chance = 1 / (1 + rows["source"].iloc[0].count(JOINT))
    numbers = f"balanced accuracy {value:.2f}; {chance:.2f} if sources mix, 1 if they are apart"
    if not rows["trace"].any():
        text = f"neighbours do not reveal the source of a cell ({numbers})."
        return Check(about, text, "good", "separation", (block,))
    far = _most(rows) and value - chance > PREDICTED * (1 - chance)
    text = f"neighbours reveal the source of a cell in {_traced(rows)} ({numbers})."
    reason = f"the {block} block reveals the source of a cell"
    return Check(about, text, "doubt" if far else "minor", "separation", (block,), reason)


def _asymmetry(block: str, alive: str, idle: str, rows: pd.DataFrame, advice: Advice) -> Check:
    about, moved = f"axes of the {block} block", rows[rows["trace"] & (rows["value"] > ALIVE_IN_ONE)]
    scale = f"1 if sources agree; up to {ALIVE_IN_ONE:g} is no objection"
    if moved.empty:
        text = (
            f"none is alive only in the {alive}: no axis varies more than {rows['value'].max():.1f} times as "
        )
        return Check(about, f"{text}much as in the {idle} ({scale}).", "good", "asymmetry", (block,))
    members = f"{len(moved)} of {len(rows)} {advice.members if len(rows) > 1 else advice.members[:-1]}"
    has = "has" if len(moved) == 1 else "have"
    reason = f"{members} {has} a {block} axis that is alive only in the {alive}"
    size = f"{moved['value'].max():.1f} times as much as in the {idle}"
    text = (
        f"{reason}: it varies {size} ({scale}). What belongs to the {alive} alone has moved there "
        f"({advice.members[:-1]} {', '.join(map(str, moved['member']))}). {advice.moved}"
    )
    return Check(about, text, "doubt" if 2 * len(moved) > len(rows) else "minor", "asymmetry", reason=reason)


def _labels(block: str, source: str, rows: pd.DataFrame, label: str, shared: bool) -> Check:
    about, value = f"{label} in the {block} block", rows["value"].median()
    chance, high = rows["null_mean"].median(), rows["null_high"].median()
    numbers = f"with {value:.0%} balanced accuracy ({chance:.0%} by chance)"
    text = f"the {block} block predicts {label} of {source} cells {numbers}."
    if not _most(rows) or value - chance <= PREDICTED * (1 - chance):
        how = "hardly predicts" if rows["trace"].any() else "does not predict"
        text = f"the {block} block {how} {label} of {source} cells {numbers[:-1]}, {high:.0%} at most)."
        return Check(about, text, "open", "labels", (block,))
    if shared:
        meaning = "is a cell type, this is what you want; if it is the perturbation, the block leaks."
        return Check(about, f"{text} If {label} {meaning}", "open", "labels", (block,))
    meaning = (
        "is a batch or donor, the block is confounded; if it is the perturbation, this is what you want."
    )
    reason = f"{label} is not a batch or donor: the block predicts it {numbers}"
    return Check(about, f"{text} If {label} {meaning}", "ask", "labels", (block,), reason)


def _batches(block: str, source: str, rows: pd.DataFrame, batch: str) -> Check:
    """A batch that a block knows, beyond what the sizes of cells tell."""
    about, value = f"{batch} in the {block} block", rows["value"].median()
    chance, floor = rows["null_mean"].median(), rows["floor"].median()
    known = chance if np.isnan(floor) else max(chance, floor)
    size = "" if np.isnan(floor) else f", {floor:.0%} by the sizes of cells alone"
    numbers = f"{value:.0%} balanced accuracy ({chance:.0%} by chance{size})"
    if not _most(rows) or value - known <= PREDICTED * (1 - known):
        text = f"the {block} block tells little of the {batch} of {source} cells: {numbers}."
        return Check(about, text, "good", "batches", (block,))
    text = f"the {block} block predicts the {batch} of {source} cells with {numbers}."
    reason = f"the {block} block knows the {batch} ({value:.0%} against {known:.0%})"
    return Check(about, text, "minor", "batches", (block,), reason)


def _groups(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Rows by the values of columns, in the order of the table."""
    yield from table.groupby(columns[0] if len(columns) == 1 else list(columns), sort=False)


def _traced(rows: pd.DataFrame) -> str:
    return f"{int(rows['trace'].sum())} of {len(rows)} member{'s' * (len(rows) > 1)}"


def _most(rows: pd.DataFrame) -> bool:
    return 2 * rows["trace"].sum() > len(rows)


def _listed(checks: Sequence[Check]) -> str:
    """Join the reasons of checks as a sentence does: a, b and c."""
    reasons = [check.reason for check in checks if check.reason]
    return " and ".join(filter(None, [", ".join(reasons[:-1]), *reasons[-1:]]))
