"""Verdicts on claims, from the tables of studies. Pure functions.

Every condition is an estimate over seeds with an interval, held against a value that was written down before
the run. A verdict needs the *whole* interval on one side: an estimate that happens to lie on the right side
proves nothing, and one that happens to lie on the wrong side refutes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from cdgm.claims_config import AnyOf, Claim, Condition, Selector
from cdgm.errors import UserError
from cdgm.plotting.tables import rows_of
from cdgm.streams import stream

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not run"]

DRAWS = 10_000
ALPHA = 0.05
#: Fewest seeds that a verdict can rest on. The widest interval for a median that n values can give, from
#: the smallest to the largest, misses it with probability 2^(1 - n): 6 % for five seeds, 12 % for four.
FEWEST_SEEDS = 5

CLAIM_COLUMNS = [
    "claim", "statement", "source", "study", "figure", "condition", "alternative", "statistic", "estimate",
    "low", "high", "relation", "value", "n", "n_all", "verdict", "group_verdict", "claim_verdict",
    "optimisation", "note",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What the table says about one condition.

    Attributes
    ----------
    condition
        The condition.
    alternative
        The place of an ``any_of`` that it was judged at; empty otherwise.
    estimate, low, high
        Statistic over seeds with its interval; NaN without any.
    n, n_all
        Seeds that count, and all seeds that either score has.
    verdict
        Of this condition alone.
    """

    condition: Condition
    alternative: str
    estimate: float
    low: float
    high: float
    n: int
    n_all: int
    verdict: Verdict


@dataclass(frozen=True)
class Judged:
    """One entry of a claim's list of conditions: a condition, or several alternatives to choose from."""

    name: str
    verdict: Verdict
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim with everything that led to its verdict.

    Attributes
    ----------
    optimisation
        ``optimisation differs`` if a condition on the quality of the fit failed; ``fits agree`` if all such
        conditions hold; ``undecided`` if one is open; empty without such conditions.
    reason
        Why the claim was not run; empty for one that was.
    """

    name: str
    claim: Claim
    verdict: Verdict
    optimisation: str
    judged: tuple[Judged, ...]
    reason: str = ""


def judge(
    claims: Mapping[str, Claim], tables: Mapping[str, pd.DataFrame], not_run: Mapping[str, str], root: int
) -> list[ClaimVerdict]:
    """Verdicts on all claims, in their order.

    Parameters
    ----------
    claims
        Name to claim.
    tables
        Study to its long table of scores (``SCORE_COLUMNS`` of :mod:`cdgm.tables`).
    not_run
        Names of claims that can't be judged here, and why.
    root
        Root seed; the draws of a condition depend on it and on the condition's place alone.

    Raises
    ------
    UserError
        If a claim's study has no table, or a selector matches no row, or several rows of a seed.
    """
    verdicts = []
    for name, claim in claims.items():
        if name in not_run:
            verdicts.append(_unjudged(name, claim, not_run[name]))
            continue
        if claim.study not in tables:
            raise UserError(f"claim {name!r}: no table of study {claim.study!r}")
        rows = rows_of({"scores": tables[claim.study]}, "scores", claim.study)
        judged = []
        for i, clause in enumerate(claim.conditions):
            where = f"claim {name!r}, condition {clause.name!r}"
            rng = stream("claims", name, i, root=root)
            judged.append(
                _any_of(clause, rows, where, rng)
                if isinstance(clause, AnyOf)
                else _single(clause, rows, where, rng)
            )
        verdict = all_of([entry.verdict for entry in judged])
        verdicts.append(ClaimVerdict(name, claim, verdict, _optimisation(judged), tuple(judged)))
    return verdicts


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Verdict on a conjunction: one that fails decides, and so does none that is open."""
    if "not reproduced" in verdicts:
        return "not reproduced"
    return "reproduced" if all(v == "reproduced" for v in verdicts) else "inconclusive"


def one_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Verdict on alternatives: one that holds decides, and so does none that is open."""
    if "reproduced" in verdicts:
        return "reproduced"
    return "not reproduced" if all(v == "not reproduced" for v in verdicts) else "inconclusive"


def numbers(condition: Condition, rows: pd.DataFrame, where: str) -> tuple[np.ndarray, int]:
    """Each seed's number for a condition, and how many seeds there are.

    Two scores are taken from one another seed by seed. A score without seeds (a baseline's, seed -1)
    is the same for all of them. Seeds that one of the scores lacks, that diverged, or whose number is not
    finite are left out; they count among all seeds.

    Returns
    -------
    ndarray, int
        Numbers (n,) in the order of seeds, and the number of seeds that any of the scores has.
    """
    series = [_by_seed(selector, rows, where) for selector in condition.selectors]
    seeds = sorted(set().union(*(s.index for s in series if not _is_constant(s))) or {-1})
    columns = [
        np.full(len(seeds), s.iloc[0]) if _is_constant(s) else s.reindex(seeds).to_numpy() for s in series
    ]
    values = columns[0]
    if condition.minus is not None:
        values = values - columns[1]
    elif condition.over is not None:
        divisor = np.where(columns[1] == 0, np.nan, columns[1])
        values = values / divisor
    if condition.absolute:
        values = np.abs(values)
    return values[np.isfinite(values)], len(seeds)


def interval(
    condition: Condition, values: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Estimate over seeds and its interval of coverage 1 - alpha.

    Percentile bootstrap over seeds; for ``share`` the exact binomial interval (Clopper & Pearson 1934), since a
    resampled share of 0 or 1 never moves. The bootstrap of ``min`` and ``max`` can't go beyond the seeds at
    hand: these speak of the seeds that were run.
    """
    if len(values) == 0:
        return math.nan, math.nan, math.nan
    if condition.statistic == "share":
        return _share(int(_right_side(values, condition.relation, condition.value).sum()), len(values), alpha)
    form = {"median": np.median, "min": np.min, "max": np.max}[condition.statistic]
    resampled = form(values[rng.integers(len(values), size=(DRAWS, len(values)))], axis=1)
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return float(form(values)), float(low), float(high)


def fewest_seeds(alternatives: int) -> int:
    """Seeds that a verdict needs: one more for each doubling of the alternatives.

    With one seed more, the widest interval misses the median half as often: the share of error
    that Bonferroni leaves to each of twice as many alternatives.
    """
    return FEWEST_SEEDS + math.ceil(math.log2(alternatives))


def decide(condition: Condition, low: float, high: float, n: int, n_all: int, alternatives: int) -> Verdict:
    """Verdict on a condition by its interval.

    Inconclusive with too few seeds (:func:`fewest_seeds`), and if more than half of all seeds are missing or
    diverged: those that remain are a selection.
    """
    if n < fewest_seeds(alternatives) or 2 * n < n_all:
        return "inconclusive"
    relation, value = condition.wanted
    ends = np.array([low, high])
    right = _right_side(ends, relation, value)
    if right.all():
        return "reproduced"
    return "inconclusive" if right.any() else "not reproduced"


def claims_table(verdicts: Sequence[ClaimVerdict]) -> pd.DataFrame:
    """One row for each condition, and for each alternative of one: ``CLAIM_COLUMNS``."""
    rows = []
    for result in verdicts:
        claim = result.claim
        shared = {
            "claim": result.name,
            "statement": claim.statement,
            "source": claim.source,
            "study": claim.study,
            "figure": claim.figure,
            "claim_verdict": result.verdict,
            "optimisation": result.optimisation,
            "note": " ".join(filter(None, [claim.note, result.reason])),
        }
        for entry in result.judged:
            for f in entry.findings:
                c = f.condition
                single = entry.name == c.name
                relation, value = c.wanted
                statistic = c.statistic if c.share is None else f"share ({c.relation} {c.value:g})"
                rows.append(
                    shared
                    | {
                        "condition": c.name if single else f"{entry.name}: {c.name}",
                        "alternative": f.alternative,
                        "statistic": statistic,
                        "estimate": f.estimate,
                        "low": f.low,
                        "high": f.high,
                        "relation": relation,
                        "value": value,
                        "n": f.n,
                        "n_all": f.n_all,
                        "verdict": f.verdict,
                        "group_verdict": entry.verdict,
                    }
                )
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def _single(condition: Condition, rows: pd.DataFrame, where: str, rng: np.random.Generator) -> Judged:
    finding = _find(condition, rows, where, rng)
    return Judged(condition.name, finding.verdict, (finding,))


def _any_of(group: AnyOf, rows: pd.DataFrame, where: str, rng: np.random.Generator) -> Judged:
    """All alternatives, each with an interval so wide that the best of them is not picked by luck (Bonferroni).

    Within an alternative no correction is needed: all of its conditions have to hold.
    """
    findings, verdicts = [], []
    for place in group.any_of:
        here = [
            _find(c.at(place), rows, f"{where} at {place}", rng, str(place), len(group.any_of))
            for c in group.conditions
        ]
        findings += here
        verdicts.append(all_of([f.verdict for f in here]))
    return Judged(group.name, one_of(verdicts), tuple(findings))


def _find(
    condition: Condition,
    rows: pd.DataFrame,
    where: str,
    rng: np.random.Generator,
    alternative: str = "",
    alternatives: int = 1,
) -> Finding:
    values, n_all = numbers(condition, rows, where)
    estimate, low, high = interval(condition, values, ALPHA / alternatives, rng)
    verdict = decide(condition, low, high, len(values), n_all, alternatives)
    return Finding(condition, alternative, estimate, low, high, len(values), n_all, verdict)


def _by_seed(selector: Selector, rows: pd.DataFrame, where: str) -> pd.Series:
    """The selected score of each seed, NaN for fits that diverged."""
    kept = rows
    for column, wanted in selector.given.items():
        if column not in rows:
            raise UserError(f"{where}: the table has no column {column!r}, which {{{selector}}} names")
        found = kept[column]
        match = np.isclose(found, wanted) if column == "twist" else (found.fillna("") == wanted).to_numpy()
        if not match.any():
            held = sorted(found.fillna("").unique().tolist())
            shown = f"{held[:8]}{' and more' if len(held) > 8 else ''}"
            raise UserError(
                f"{where}: no rows match {{{selector}}}: got {column} {wanted!r}, expected one of {shown}"
            )
        kept = kept[match]
    twice = kept[kept.duplicated("seed", keep=False)]
    if len(twice):
        columns = ("setting", "variant", "point", "source", "block", "truth", "twist")
        differ = {
            c: sorted(twice[c].unique().tolist()) for c in columns if c in twice and twice[c].nunique() > 1
        }
        seed = int(twice["seed"].iloc[0])
        raise UserError(
            f"{where}: {{{selector}}} matches {int((kept['seed'] == seed).sum())} rows of seed {seed},"
            f" expected one; they differ in {differ}"
        )
    return kept.set_index("seed")["value"].where(kept.set_index("seed")["finite"])


def _is_constant(series: pd.Series) -> bool:
    return list(series.index) == [-1]


def _right_side(values: np.ndarray, relation: str, value: float) -> np.ndarray:
    return values >= value if relation == "at_least" else values <= value


def _share(k: int, n: int, alpha: float) -> tuple[float, float, float]:
    from scipy.stats import beta

    low = 0.0 if k == 0 else float(beta.ppf(alpha / 2, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - alpha / 2, k + 1, n - k))
    return k / n, low, high


def _optimisation(judged: Sequence[Judged]) -> str:
    """What the conditions on the quality of fits say together."""
    asked = ([f.verdict for f in entry.findings if f.condition.optimisation] for entry in judged)
    verdicts = [one_of(of_entry) for of_entry in asked if of_entry]
    if not verdicts:
        return ""
    words = {"reproduced": "fits agree", "not reproduced": "optimisation differs"}
    return words.get(all_of(verdicts), "undecided")


def _unjudged(name: str, claim: Claim, reason: str) -> ClaimVerdict:
    judged = []
    for clause in claim.conditions:
        group = isinstance(clause, AnyOf)
        places = (
            [(str(p), c.at(p)) for p in clause.any_of for c in clause.conditions] if group else [("", clause)]
        )
        findings = (Finding(c, at, math.nan, math.nan, math.nan, 0, 0, "not run") for at, c in places)
        judged.append(Judged(clause.name, "not run", tuple(findings)))
    return ClaimVerdict(name, claim, "not run", "", tuple(judged), reason)
