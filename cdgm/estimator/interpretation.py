"""Conclusions from the tables of a fit, by rules that ``docs/own_data.md`` explains."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

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
#: Standard errors that this rise must exceed: the ELBOs of minibatches scatter by tens of nats.
ERRORS = 2.0
#: False discovery rate at which genes are called.
CALLED = 0.05
#: Records of a training below which its course cannot be seen.
FEWEST_RECORDS = 5
#: Entries of the glossary whose strong doubts forbid to interpret a block.
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


def check_training(history: pd.DataFrame, usual_steps: int, ended: Collection[int] = ()) -> list[Check]:
    """Check whether training was long enough.

    Judged are the members that early stopping did not end, by the ELBO of validation rows where there are
    some, else by that of minibatches.

    Parameters
    ----------
    history
        Columns seed, step, quantity and value of one training.
    usual_steps
        Steps that fits of such data have by default.
    ended
        Seeds of the members that early stopping ended before the last step.
    """
    quantity = "elbo_validation" if (history["quantity"] == "elbo_validation").any() else "elbo"
    curves = history[history["quantity"] == quantity].groupby(["step", "seed"])["value"].mean().unstack()
    # A member that diverged ends without a value.
    running = curves.drop(columns=list(ended)).loc[:, lambda table: table.iloc[-1].notna()]
    steps, members = int(history["step"].max()), len(ended) + running.shape[1]
    if ended and 2 * len(ended) >= members:
        text = (
            f"the validation ELBO of {len(ended)} of {members} members stopped rising before the last step."
        )
        return [Check("training", text, "good", "settled", reason="training has settled", size="flat")]
    length = f"{steps:,} steps, of {usual_steps:,} by default for such data"
    rise = _late_rise(running)
    if rise is None:
        text = f"{length}: too few to see whether the ELBO has settled. Train longer."
        reason = f"training was short ({steps:,} steps)"
        return [Check("training", text, "doubt", "settled", (), reason, f"{steps:,} steps")]
    late, error, share = rise
    rising, short = share > RISING and late > ERRORS * error, steps < SHORT * usual_steps
    course = f"the last third still brought {late:.2g} nats per cell, {share:.0%} of the rise of the ELBO"
    size = f"{late:+.2g} nats" if rising else "flat"
    if rising and short:
        reason = f"training was short ({steps:,} of the usual {usual_steps:,} steps) and has not settled"
        text = f"{length}; {course}. Train longer."
        return [Check("training", text, "doubt", "settled", (), reason, size)]
    if rising:
        reason = f"training has not settled ({size})"
        return [Check("training", f"{course}. Train longer.", "minor", "settled", (), reason, size)]
    if short:
        text = f"{length}. The ELBO was flat at the end, as it is wherever the learning rate has fallen."
        reason = f"training was short ({steps:,} steps)"
        return [Check("training", text, "minor", "settled", (), reason, f"{steps:,} steps")]
    return [
        Check(
            "training", "the ELBO was flat at the end.", "good", "settled", (), "training has settled", size
        )
    ]


def _late_rise(curves: pd.DataFrame) -> tuple[float, float, float] | None:
    """Rise of ELBOs (records, members) over the last third: nats, standard error, and share of the whole.

    Between the records from .6 to .8 and those from .9 on; the whole rise begins at the first tenth. None
    where the course cannot be seen.
    """
    n = len(curves)
    start, middle, end = (
        curves.iloc[int(a * n) : max(int(b * n), int(a * n) + 1)]
        for a, b in ((0.0, 0.1), (0.6, 0.8), (0.9, 1.0))
    )
    late, whole = end.median() - middle.median(), end.median() - start.median()
    shares = (late / whole).dropna()
    if n < FEWEST_RECORDS or shares.empty:
        return None
    # Half of the mean squared step between records is their variance, whatever their course.
    variance = float((curves.iloc[int(0.6 * n) :].diff() ** 2).mean().median()) / 2
    error = float(np.sqrt(variance * (1 / len(middle) + 1 / len(end)) / curves.shape[1]))
    return float(late.median()), error, float(shares.median())


def check_crossing(sources: np.ndarray, batches: np.ndarray, name: str) -> list[Check]:
    """Check whether batches have cells of every source: else a model cannot tell a batch from an effect.

    Parameters
    ----------
    sources, batches
        Source and batch of each cell (n,).
    name
        Name of the batches; cells whose batch is "" are left out.
    """
    table = pd.crosstab(batches[batches != ""], sources[batches != ""])
    lone = table[(table == 0).any(axis=1)]
    share = float(lone.to_numpy().sum() / len(sources))
    about = f"{name} and sources"
    if lone.empty:
        return [Check(about, f"every {name} has cells of all sources.", "good", "batches", size="all")]
    cells = f"{share:.0%} of the cells are of a {name} without cells of some source"
    text = f"{cells}: there the model cannot tell the effect from the {name}."
    return [Check(about, text, "doubt" if share > 0.5 else "minor", "batches", (), cells, f"{share:.0%}")]


def check_effect(elbo: pd.DataFrame, effects: pd.DataFrame, private: Sequence[str]) -> list[Check]:
    """How much the first private block holds and changes: a size, and no objection.

    That no gene is called is none either: the test finds half of the moved genes, and fewer where many moved.

    Parameters
    ----------
    elbo
        Table of :mod:`cdgm.estimator.scores`.
    effects
        Table of ``ComparativeModel.differential_expression`` on the block.
    private
        Blocks that belong to some of the sources only.
    """
    block, finite = private[0], elbo[elbo["finite"]]
    nats = finite[f"kl_{block}"].dropna().median()
    if not nats >= EMPTY:
        return []
    about, held = f"size of the effect in the {block} block", f"{nats:.2g} nats per cell"
    effects = effects.sort_values("size", ascending=False, kind="stable")
    first, mean = effects.iloc[0], next(c for c in effects if c in ("lfc_mean", "difference_mean"))
    sizes = f"typical change of a gene {effects['size'].median():.2g}{' in log2' * (mean == 'lfc_mean')}"
    strongest = f"largest of {first['gene']} ({first[mean]:+.2g} on average)"
    if effects["q_value"].isna().all():
        text = f"{held}; {sizes}, {strongest}."
        return [Check(about, text, "note", "effect", (block,), held, held)]
    called = int((effects["q_value"] < CALLED).sum())
    genes = f"{called:,} of {len(effects):,} genes"
    text = (
        f"{held}; {sizes}, {strongest}. {genes} change more than most do, at a false discovery rate of 5 %."
    )
    reason = f"{held}, {genes} called" if called else held
    return [Check(about, text, "note", "effect", (block,), reason, held)]


def summarise(checks: Sequence[Check], private: Sequence[str]) -> Check:
    """Sum checks up in one sentence about the private blocks, and one about the others if they are in doubt.

    Parameters
    ----------
    checks
        All checks of a fit.
    private
        Blocks that belong to some of the sources only; usually ``salient``.

    Returns
    -------
    Check
        Its text is what may be concluded, its verdict that of the checks which decide.
    """
    verdict, text = _conclusion(checks, private)
    shared = [c for c in checks if c.verdict == "doubt" and c.blocks and private]
    shared = [c for c in shared if not set(c.blocks) & set(private)]
    if shared:
        blocks = " and the ".join(dict.fromkeys(block for check in shared for block in check.blocks))
        text += f" Do not use the {blocks} block as a space of what the sources share: {_listed(shared)}."
        verdict = "minor" if verdict == "good" else verdict
    return Check("summary", text, verdict, "")


def _conclusion(checks: Sequence[Check], private: Sequence[str]) -> tuple[Verdict, str]:
    """What may be concluded on the private blocks."""
    about = [c for c in checks if not c.blocks or not private or set(c.blocks) & set(private)]
    notes = _listed([c for c in about if c.verdict == "note"])
    some = "this fit"
    if private:
        some = f"the {' and the '.join(private)} block{'s' * (len(private) > 1)} of this fit"
    sized = f"{some} ({notes})" if notes else some
    doubts = [c for c in about if c.verdict == "doubt"]
    if any(c.term in DECISIVE for c in doubts):
        doubts = sorted(doubts, key=lambda check: check.term not in DECISIVE)
        return "doubt", f"Do not interpret {some}: {_listed(doubts)}."
    unknown = [c for c in about if c.verdict == "open"]
    weak = [c for c in about if c.verdict in ("doubt", "minor")]
    weak = _listed([*weak, *unknown] if weak else [])
    ask = _listed([c for c in about if c.verdict == "ask"])
    if weak and ask:
        return "minor", f"Interpret {sized} with care: {weak}; and make sure that {ask}."
    if weak:
        return "minor", f"Interpret {sized} with care: {weak}."
    if ask:
        return "ask", f"Before you interpret {sized}, make sure that {ask}."
    if why := _listed(unknown):
        return "open", f"Do not rely on {sized} yet: {why}."
    good = _listed([c for c in about if c.verdict == "good"])
    because = f": {good}" if good else ""
    return "good", f"No check speaks against {sized}, which does not prove that it is right{because}."


def _diverged(elbo: pd.DataFrame) -> Iterator[Check]:
    finite = elbo.groupby("member")["finite"].all()
    if not finite.all():
        lost = f"{int((~finite).sum())} of {len(finite)} members diverged"
        verdict: Verdict = "doubt" if 2 * finite.sum() <= len(finite) else "minor"
        text = f"{lost} and are left out: try a smaller learning rate."
        size = f"{int((~finite).sum())} of {len(finite)}"
        yield Check("members that diverged", text, verdict, "member", (), lost, size)


def _empty_blocks(elbo: pd.DataFrame) -> Iterator[Check]:
    for column in (c for c in map(str, elbo.columns) if c.startswith("kl_")):
        block, values = column.removeprefix("kl_"), elbo[column][elbo["finite"]].dropna()
        if len(values) and values.median() < EMPTY:
            text = f"it contains {values.median():.2f} nats per cell: the model does not use the block."
            size, reason = f"{values.median():.2f} nats", f"the {block} block is empty"
            yield Check(f"{block} block", text, "doubt", "kl", (block,), reason, size)


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
        yield Check(
            about, text, verdict, "stability", (block,), f"{reason} (r2 {value:.2f})", f"r2 {value:.2f}"
        )


def _listed(checks: Sequence[Check]) -> str:
    """Join the reasons of checks as a sentence does: a, b and c; with semicolons if one has an "and"."""
    reasons = [check.reason for check in checks if check.reason]
    if len(reasons) > 1 and any(" and " in reason for reason in reasons):
        return "; ".join(reasons)
    return " and ".join(filter(None, [", ".join(reasons[:-1]), *reasons[-1:]]))
