"""Verdicts on claims, from the tables of studies. Pure functions.

Every condition compares a median over seeds, or a share of seeds, with a threshold that was written down
before the run. A verdict needs the *whole* interval on one side: an estimate that happens to lie on the
right side proves nothing, and one that happens to lie on the wrong side refutes nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from cdgm.claims.condition_verdicts import Errors, Finding, Verdict, find, not_run
from cdgm.config.claim import AnyOf, Claim, Condition
from cdgm.evaluation.intervals import ALPHA
from cdgm.evaluation.table_slices import rows_of
from cdgm.utils.errors import UserError

CLAIM_COLUMNS = [
    "claim", "statement", "source", "cites", "study", "figure", "role", "condition", "why", "alternative",
    "estimate", "low", "high", "coverage", "relation", "value", "distance", "n", "n_all", "verdict", "reason",
    "group_verdict", "claim_verdict", "optimisation", "note",
]  # fmt: skip

#: Verdicts that refute a condition, the stronger one first.
REFUTED: tuple[Verdict, ...] = ("contradicted", "equivalent")


@dataclass(frozen=True)
class Judged:
    """One entry of a claim's list: a precondition, a condition, or several alternatives to choose from."""

    name: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    role: Literal["precondition", "condition"] = "condition"


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim with everything that led to its verdict.

    Attributes
    ----------
    optimisation
        ``optimisation differs`` if a condition on the quality of the fit failed; ``fits agree`` if all such
        conditions hold; ``undecided`` if one is open; empty without such conditions.
    reason
        Why the claim was not run, or what its preconditions say if they do not hold; else empty.
    """

    name: str
    claim: Claim
    verdict: Verdict
    optimisation: str
    judged: tuple[Judged, ...]
    reason: str = ""

    @property
    def closest(self) -> Finding | None:
        """The finding nearest to its threshold, which a little more or less would have turned."""
        found = [f for entry in self.judged for f in entry.findings if math.isfinite(f.distance)]
        return min(found, key=lambda finding: abs(finding.distance), default=None)


def judge(
    claims: Mapping[str, Claim],
    tables: Mapping[str, pd.DataFrame],
    reasons: Mapping[str, str],
    alphas: Mapping[str, float] | None = None,
    ends: Mapping[str, int] | None = None,
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
    alphas
        Error that claims may spend in this look; ``ALPHA`` where a claim is not named.
    ends
        First seed that is too late for a claim, where it does not see all seeds of its study
        (:mod:`cdgm.claims.looks`).

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
        if ends and name in ends:
            rows = rows[rows["seed"] < ends[name]]
        alpha = (alphas or {}).get(name, ALPHA)
        where = f"claim {name!r}, {{}} {{!r}}"
        needs = [
            _judged(c, rows, where.format("precondition", c.name), alpha, len(claim.needs), "precondition")
            for c in claim.needs
        ]
        judged = [
            _judged(c, rows, where.format("condition", c.name), alpha, len(claim.conditions))
            for c in claim.conditions
        ]
        verdict, reason = combined(
            all_of([entry.verdict for entry in needs]), all_of([entry.verdict for entry in judged])
        )
        optimisation = _optimisation(judged)
        verdicts.append(ClaimVerdict(name, claim, verdict, optimisation, (*needs, *judged), reason))
    return verdicts


def all_of(verdicts: Sequence[Verdict]) -> Verdict:
    """A conjunction is refuted by any condition that is, supported if all are, and undecided otherwise."""
    for refuted in REFUTED:
        if refuted in verdicts:
            return refuted
    return "supported" if all(v == "supported" for v in verdicts) else "undecided"


def one_of(verdicts: Sequence[Verdict]) -> Verdict:
    """A disjunction is supported by any alternative that is, refuted if all are, and undecided otherwise."""
    if "supported" in verdicts:
        return "supported"
    if not all(v in REFUTED for v in verdicts):
        return "undecided"
    return "equivalent" if all(v == "equivalent" for v in verdicts) else "contradicted"


def combined(needs: Verdict, conditions: Verdict) -> tuple[Verdict, str]:
    """Verdict on a claim from those on its preconditions and on its conditions, with a reason."""
    if needs in REFUTED:
        return "not testable", "A precondition does not hold, so there is nothing to test."
    if needs == "undecided":
        return "undecided", "Whether the preconditions hold is undecided."
    return conditions, ""


def claims_table(verdicts: Sequence[ClaimVerdict]) -> pd.DataFrame:
    """One row for each condition, and for each alternative of one: ``CLAIM_COLUMNS``."""
    rows = []
    for result in verdicts:
        shared = {
            "claim": result.name,
            **{
                name: getattr(result.claim, name)
                for name in ("statement", "source", "cites", "study", "figure")
            },
            "claim_verdict": result.verdict,
            "optimisation": result.optimisation,
            "note": " ".join(filter(None, [result.claim.note, result.reason])),
        }
        for entry in result.judged:
            for finding in entry.findings:
                name = finding.condition.name
                relation, value = finding.condition.wanted
                own = {
                    "role": entry.role,
                    "why": finding.condition.why,
                    "condition": name if entry.name == name else f"{entry.name}: {name}",
                    "relation": relation,
                    "value": value,
                    "group_verdict": entry.verdict,
                }
                rows.append(shared | vars(finding) | own)
    return pd.DataFrame(rows, columns=CLAIM_COLUMNS)


def _judged(
    clause: Condition | AnyOf,
    rows: pd.DataFrame,
    where: str,
    alpha: float,
    clauses: int,
    role: Literal["precondition", "condition"] = "condition",
) -> Judged:
    """Judge one of several clauses that all have to hold.

    Of m alternatives the best is picked, so each may spend alpha / m in support. What is refuted is refuted
    by one of k conditions, those of all clauses at one alternative of each, so each may spend alpha / k.
    """
    alternatives = clause.alternatives()
    errors = Errors(alpha / len(alternatives), alpha / (clauses * len(alternatives[0][1])))
    found = [
        [find(c, rows, f"{where} at {at}" if at else where, errors, at) for c in conditions]
        for at, conditions in alternatives
    ]
    verdict = one_of([all_of([finding.verdict for finding in here]) for here in found])
    return Judged(clause.name, verdict, tuple(itertools.chain(*found)), role)


def _optimisation(judged: Sequence[Judged]) -> str:
    """Combine the verdicts on the conditions that ask for the quality of fits."""
    asked: Iterable[list[Verdict]] = (
        [f.verdict for f in entry.findings if f.condition.optimisation] for entry in judged
    )
    verdicts: list[Verdict] = [one_of(of_entry) for of_entry in asked if of_entry]
    if not verdicts:
        return ""
    words = {"supported": "fits agree", "contradicted": "optimisation differs"}
    return words.get(all_of(verdicts), "undecided")


def _unjudged(name: str, claim: Claim, reason: str) -> ClaimVerdict:
    judged = []
    clauses = [("precondition", clause) for clause in claim.needs]
    for role, clause in [*clauses, *(("condition", clause) for clause in claim.conditions)]:
        findings = (not_run(c, at) for at, conditions in clause.alternatives() for c in conditions)
        judged.append(Judged(clause.name, "not run", tuple(findings), role))
    return ClaimVerdict(name, claim, "not run", "", tuple(judged), reason)
