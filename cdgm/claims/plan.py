"""Which claims a run can judge, and what the config has to hold for them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from cdgm.claims.selectors import Score, pick, scores_of
from cdgm.config.claim import Claim
from cdgm.config.study import Config
from cdgm.workflow.plan import dump


def claims_of(config: Config, target: str) -> dict[str, Claim]:
    """Claims that the files of a workflow target list.

    ``all`` lists every claim, so that its page is complete; another target just those on its own studies.
    """
    return {
        name: claim
        for name, claim in config.claims.items()
        if claim is not None and target in ("all", config.studies[claim.study].target)
    }


def judged_studies(config: Config, target: str) -> list[str]:
    """Studies whose tables the claims of a target are judged by, in the order of the config."""
    left_out = not_run(config, target)
    named = {claim.study for name, claim in claims_of(config, target).items() if name not in left_out}
    return [study for study in config.studies if study in named]


def not_run(config: Config, target: str) -> dict[str, str]:
    """Claims of a target that can't be judged in it, and why.

    An overlay may take a study out of its target or leave out variants and swept values. The claims on
    them are then shown as not run: that is no mistake.
    """
    reasons = {}
    scores = cache(lambda study: scores_of(config, config.studies[study]))
    for name, claim in claims_of(config, target).items():
        built_by = config.studies[claim.study].target
        if built_by == "none":
            reasons[name] = f"Study {claim.study} is left out of all targets."
        elif built_by != target:
            reasons[name] = f"Study {claim.study} is built and judged by the target {built_by}."
        elif missing := next(_missing(claim, scores(claim.study)), None):
            reasons[name] = f"Study {claim.study} has no {missing} in this configuration."
    return reasons


def as_job(config: Config, target: str) -> dict[str, Any]:
    """What the judging job is told, as plain values; claims as pairs, for JSON's keys have no order."""
    return {
        "claims": [[name, dump(claim)] for name, claim in claims_of(config, target).items()],
        "not_run": not_run(config, target),
    }


def _missing(claim: Claim, scores: Sequence[Score]) -> Iterator[str]:
    """What a claim names and its study does not have, as a column and a value."""
    for selector in claim.selectors():
        found, column = pick(selector, scores)
        if column == "point":
            yield f"point {selector.point!r} of variant {selector.variant!r}"
        elif column:
            yield f"{column} {selector.given[column]!r}"
        elif sum(score.certain for score in found) > 1:
            # An overlay added a variant or a setting that the claim does not tell apart.
            yield f"single score with {selector}"
