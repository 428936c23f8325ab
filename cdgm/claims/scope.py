"""Select the claims of a page, and those that this configuration cannot judge. Pure functions.

A page belongs to a workflow target (``all``, ``perturbseq``, ...) or to a single study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from cdgm.claims.expected_scores import Score, matching, scores_of
from cdgm.claims.looks import alpha_of, ends
from cdgm.config.claim import Claim
from cdgm.config.study import Config
from cdgm.workflow.plan import dump


def claims_of(config: Config, target: str) -> dict[str, Claim]:
    """Claims on the page of a target.

    The page of ``all`` lists every claim, so that it is complete; that of another target lists the claims on
    its own studies.
    """
    return {
        name: claim
        for name, claim in config.claims.items()
        if claim is not None and target in ("all", config.studies[claim.study].target)
    }


def not_run(config: Config, target: str) -> dict[str, str]:
    """Claims on the page of a target that cannot be judged there, with the reasons.

    An overlay may take a study out of its target, or leave out variants and swept values. The claims on them
    are then shown as not run: that is no mistake.
    """
    claims = claims_of(config, target)
    reasons = _unanswered(config, claims)
    for name, claim in claims.items():
        built_by = config.studies[claim.study].target
        if built_by == "none":
            reasons[name] = f"Study {claim.study} is left out of all targets."
        elif built_by != target:
            reasons[name] = f"Study {claim.study} is built and judged by the target {built_by}."
    return reasons


def judging_of_target(config: Config, target: str, taken: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Input of the job that judges the claims on the page of a target, as plain values.

    ``taken`` are the looks at more seeds (:mod:`cdgm.claims.looks`); ``config`` is without their seeds.
    """
    return _input(config, claims_of(config, target), not_run(config, target), taken or {})


def judging_of_study(config: Config, study: str, taken: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Input of the job that judges the claims on one study, whatever its target, as plain values."""
    claims = {n: claim for n, claim in config.claims.items() if claim is not None and claim.study == study}
    return _input(config, claims, _unanswered(config, claims), taken or {})


def judged_studies(job: Mapping[str, Any]) -> list[str]:
    """Studies whose tables the judging job needs."""
    return list(dict.fromkeys(claim["study"] for name, claim in job["claims"] if name not in job["not_run"]))


def _input(
    config: Config, claims: Mapping[str, Claim], reasons: Mapping[str, str], taken: Mapping[str, int]
) -> dict[str, Any]:
    # Claims are pairs, because the order of keys in JSON is not fixed.
    return {
        "claims": [[name, dump(claim)] for name, claim in claims.items()],
        "not_run": dict(reasons),
        "alpha": {n: alpha_of(config.verdicts, config.studies[c.study].seeds) for n, c in claims.items()},
        "ends": ends(config, list(claims), taken),
    }


def _unanswered(config: Config, claims: Mapping[str, Claim]) -> dict[str, str]:
    """Claims that name a score or a figure which their study lacks, with the reasons."""
    scores = cache(lambda study: scores_of(config, config.studies[study]))
    missing = {
        name: f"figure {claim.figure!r}"
        if claim.figure not in config.studies[claim.study].figures
        else next(_missing(claim, scores(claim.study)), None)
        for name, claim in claims.items()
    }
    return {
        name: f"Study {claims[name].study} has no {what} in this configuration."
        for name, what in missing.items()
        if what
    }


def _missing(claim: Claim, scores: Sequence[Score]) -> Iterator[str]:
    """Columns and values that a claim names and its study lacks."""
    for condition, selector in ((c, s) for c in claim.each_condition() for s in c.selectors):
        found, column = matching(selector, scores)
        if column == "point":
            yield f"point {selector.point!r} of variant {selector.variant!r}"
        elif column:
            yield f"{column} {selector.given[column]!r}"
        elif not condition.over_fits and sum(score.certain for score in found) > 1:
            # An overlay added a variant or a setting that the claim does not tell apart.
            yield f"single score with {selector}"
