"""Verdicts on claims, from the tables of studies. Pure functions.

Every condition is an estimate over seeds with an interval, held against a value that was written down before
the run. A verdict needs the *whole* interval on one side: an estimate that happens to lie on the right side
proves nothing, and one that happens to lie on the wrong side refutes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdgm.claims.findings import Finding, Verdict, find
from cdgm.config.claim import AnyOf, Claim, Condition
from cdgm.evaluation.table_slices import rows_of
from cdgm.utils.errors import UserError
from cdgm.utils.random_streams import stream

CLAIM_COLUMNS = [
    "claim", "statement", "source", "study", "figure", "condition", "alternative", "statistic", "estimate",
    "low", "high", "relation", "value", "n", "n_all", "verdict", "group_verdict", "claim_verdict",
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
    claims: Mapping[str, Claim], tables: Mapping[str, pd.DataFrame], not_run: Mapping[str, str], root: int
) -> list[ClaimVerdict]:
    """Verdicts on all claims, in their order.

    Parameters
    ----------
    claims
        Name to claim.
    tables
        Study to its long table of scores (``SCORE_COLUMNS`` of :mod:`cdgm.evaluation.study_tables`).
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
    finding = find(condition, rows, where, rng)
    return Judged(condition.name, finding.verdict, (finding,))


def _any_of(group: AnyOf, rows: pd.DataFrame, where: str, rng: np.random.Generator) -> Judged:
    """All alternatives, each with an interval wide enough for the best of them (Bonferroni).

    Within an alternative no correction is needed: all of its conditions have to hold.
    """
    findings, verdicts = [], []
    for place in group.any_of:
        here = [
            find(c.at(place), rows, f"{where} at {place}", rng, str(place), len(group.any_of))
            for c in group.conditions
        ]
        findings += here
        verdicts.append(all_of([f.verdict for f in here]))
    return Judged(group.name, one_of(verdicts), tuple(findings))


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
