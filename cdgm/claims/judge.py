"""Verdicts on claims, from the tables of studies. Pure functions.

Every condition compares a median over seeds with a threshold that was written down before the run. A verdict
needs the *whole* interval on one side: a median that happens to lie on the right side proves nothing, and one
that happens to lie on the wrong side refutes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from cdgm.claims.condition_verdicts import Finding, Verdict, find, not_run
from cdgm.config.claim import AnyOf, Claim, Condition
from cdgm.evaluation.table_slices import rows_of
from cdgm.utils.errors import UserError

CLAIM_COLUMNS = [
    "claim", "statement", "source", "study", "figure", "condition", "alternative", "estimate", "low", "high",
    "coverage", "relation", "value", "n", "n_all", "verdict", "reason", "group_verdict", "claim_verdict",
    "optimisation", "note",
]  # fmt: skip


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
    claims: Mapping[str, Claim], tables: Mapping[str, pd.DataFrame], reasons: Mapping[str, str]
) -> list[ClaimVerdict]:
    """Verdicts on all claims, in their order.

    Parameters
    ----------
    claims
        Name to claim.
    tables
        Study to its long table of scores (``SCORE_COLUMNS`` of :mod:`cdgm.evaluation.study_tables`).
    reasons
        Names of claims that can't be judged here, and why.

    Raises
    ------
    UserError
        If a claim's study has no table, or a selector matches no row, or several rows of a seed.
    """
    verdicts = []
    for name, claim in claims.items():
        if name in reasons:
            verdicts.append(_unjudged(name, claim, reasons[name]))
            continue
        if claim.study not in tables:
            raise UserError(f"claim {name!r}: no table of study {claim.study!r}")
        rows = rows_of({"scores": tables[claim.study]}, "scores", claim.study)
        judged = [_judged(c, rows, f"claim {name!r}, condition {c.name!r}") for c in claim.conditions]
        verdict = all_of([entry.verdict for entry in judged])
        verdicts.append(ClaimVerdict(name, claim, verdict, _optimisation(judged), tuple(judged)))
    return verdicts


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """A conjunction fails if any condition fails, holds if all hold, and is inconclusive otherwise."""
    if "not reproduced" in verdicts:
        return "not reproduced"
    return "reproduced" if all(v == "reproduced" for v in verdicts) else "inconclusive"


def one_of(verdicts: Sequence[Verdict]) -> Verdict:
    """A disjunction holds if any alternative holds, fails if all fail, and is inconclusive otherwise."""
    if "reproduced" in verdicts:
        return "reproduced"
    return "not reproduced" if all(v == "not reproduced" for v in verdicts) else "inconclusive"


def claims_table(verdicts: Sequence[ClaimVerdict]) -> pd.DataFrame:
    """One row for each condition, and for each alternative of one: ``CLAIM_COLUMNS``."""
    rows = []
    for result in verdicts:
        shared = {
            "claim": result.name,
            **{name: getattr(result.claim, name) for name in ("statement", "source", "study", "figure")},
            "claim_verdict": result.verdict,
            "optimisation": result.optimisation,
            "note": " ".join(filter(None, [result.claim.note, result.reason])),
        }
        for entry in result.judged:
            for finding in entry.findings:
                name = finding.condition.name
                relation, value = finding.condition.wanted
                own = {
                    "condition": name if entry.name == name else f"{entry.name}: {name}",
                    "relation": relation,
                    "value": value,
                    "group_verdict": entry.verdict,
                }
                rows.append(shared | vars(finding) | own)
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def _judged(clause: Condition | AnyOf, rows: pd.DataFrame, where: str) -> Judged:
    """Judge a condition, or all alternatives of one.

    Each alternative has an interval wide enough for the best of them (Bonferroni). Within an alternative no
    correction is needed: all of its conditions have to hold.
    """
    alternatives = clause.alternatives()
    found = [
        [find(c, rows, f"{where} at {at}" if at else where, at, len(alternatives)) for c in conditions]
        for at, conditions in alternatives
    ]
    verdict = one_of([all_of([finding.verdict for finding in here]) for here in found])
    return Judged(clause.name, verdict, tuple(itertools.chain(*found)))


def _optimisation(judged: Sequence[Judged]) -> str:
    """Combine the verdicts on the conditions that ask for the quality of fits."""
    asked: Iterable[list[Verdict]] = (
        [f.verdict for f in entry.findings if f.condition.optimisation] for entry in judged
    )
    verdicts: list[Verdict] = [one_of(of_entry) for of_entry in asked if of_entry]
    if not verdicts:
        return ""
    words = {"reproduced": "fits agree", "not reproduced": "optimisation differs"}
    return words.get(all_of(verdicts), "undecided")


def _unjudged(name: str, claim: Claim, reason: str) -> ClaimVerdict:
    judged = []
    for clause in claim.conditions:
        findings = (not_run(c, at) for at, conditions in clause.alternatives() for c in conditions)
        judged.append(Judged(clause.name, "not run", tuple(findings)))
    return ClaimVerdict(name, claim, "not run", "", tuple(judged), reason)
