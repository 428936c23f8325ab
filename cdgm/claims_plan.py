"""Which claims a run can judge, and what the config has to hold for them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cdgm.claims_config import Claim
from cdgm.config import Config
from cdgm.plan import dump, settings_of
from cdgm.references import BASELINES


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
    for name, claim in claims_of(config, target).items():
        built_by = config.studies[claim.study].target
        if built_by == "none":
            reasons[name] = f"Study {claim.study} is left out of all targets."
        elif built_by != target:
            reasons[name] = f"Study {claim.study} is built and judged by the target {built_by}."
        elif missing := next(_missing(config, claim), None):
            reasons[name] = f"Study {claim.study} has no {missing} in this configuration."
    return reasons


def as_job(config: Config, target: str) -> dict[str, Any]:
    """What the judging job is told, as plain values."""
    return {
        "claims": {name: dump(claim) for name, claim in claims_of(config, target).items()},
        "not_run": not_run(config, target),
    }


def _missing(config: Config, claim: Claim) -> Iterator[str]:
    """Settings, variants and swept values that a claim names and its study does not have."""
    study = config.studies[claim.study]
    have: Mapping[str, set[str]] = {
        "setting": {name for name, _ in settings_of(study)},
        "variant": {*study.variants, *BASELINES},
    }
    for selector in claim.selectors():
        for column, names in have.items():
            if column in selector.given and selector.given[column] not in names:
                yield f"{column} {selector.given[column]!r}"
        if selector.point is not None and selector.variant in config.variants:
            points = {label for label, _ in config.variants[selector.variant].points()}
            if selector.point not in points:
                yield f"point {selector.point!r} of variant {selector.variant!r}"
