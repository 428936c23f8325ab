"""Conclusions from the tables of a fit, by rules that ``docs/own_data.md`` explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from cdgm.estimator.leakage_checks import OWN_FITS, Advice, leakage_checks
from cdgm.reports.fit_report import BADGES, Check, Verdict

#: Share of a block's variance that another member's must explain for members to agree, or to agree in part.
AGREE, AGREE_IN_PART = 0.8, 0.5
#: KL of a block in nats a row, below which the model does not use the block.
EMPTY = 0.1
#: Share of the usual number of steps below which a training is short.
SHORT = 0.5
#: Share of the whole rise of the ELBO that falls on the last third of a training that has not settled.
RISING = 0.03
#: Records of a training below which its course cannot be seen.
FEWEST_RECORDS = 5
#: Entries of the glossary whose strong doubts leave nothing to interpret.
DECISIVE = ("stability", "kl", "member", "settled", "asymmetry")


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
    return by_severity(
        [*found, *_stability(stability, advice), *leakage_checks(leakage, label, batch, advice)]
    )


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


def check_crossing(sources: np.ndarray, batches: np.ndarray, name: str) -> list[Check]:
    """Check whether batches have cells of every source: else a model cannot tell a batch from an effect.

    Parameters
    ----------
    sources, batches
        Source and batch of each cell (n,).
    name
        Name of the batches.
    """
    table = pd.crosstab(batches, sources)
    lone = table[(table == 0).any(axis=1)]
    share = float(lone.to_numpy().sum() / len(sources))
    about = f"{name} and sources"
    if lone.empty:
        return [Check(about, f"every {name} has cells of all sources.", "good", "batches")]
    cells = f"{share:.0%} of the cells are of a {name} without cells of some source"
    text = f"{cells}: there the model cannot tell the effect from the {name}."
    return [Check(about, text, "doubt" if share > 0.5 else "minor", "batches", reason=cells)]


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
    for block in dict.fromkeys(map(str, table["block"])):
        rows = table[table["block"] == block]
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


def _listed(checks: Sequence[Check]) -> str:
    """Join the reasons of checks as a sentence does: a, b and c."""
    reasons = [check.reason for check in checks if check.reason]
    return " and ".join(filter(None, [", ".join(reasons[:-1]), *reasons[-1:]]))
