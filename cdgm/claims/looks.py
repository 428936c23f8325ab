"""More seeds for claims that are undecided, by a rule that is written down before. Pure functions.

A claim is looked at with the seeds of its study first, then at each of ``verdicts.looks`` that is larger,
until it is decided. It is judged on the seeds of its own last look: seeds that another claim of the study
asked for later change nothing. Each look that a claim may take spends an equal part of the error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cdgm.config.claim import VerdictRules
from cdgm.config.study import Config, Seeds
from cdgm.utils.errors import bad_input
from cdgm.workflow.plan import expand


@dataclass(frozen=True)
class Asked:
    """A study that gets more seeds.

    Attributes
    ----------
    study
        Its name.
    before, after
        Numbers of seeds.
    claims
        The undecided claims that ask for them.
    """

    study: str
    before: int
    after: int
    claims: tuple[str, ...]


def alpha_of(rules: VerdictRules, seeds: Seeds) -> float:
    """Part of the error that each look at a claim spends: the first one and those at more seeds share it."""
    return rules.alpha / (1 + sum(look > seeds.count for look in rules.looks))


def checked(config: Config, taken: Any, file: str) -> dict[str, int]:
    """Return the looks taken so far, claim to number of seeds, as a file holds them.

    Claims that the config no longer states are left out.

    Raises
    ------
    UserError
        If it is no mapping of names to looks of the config.
    """
    if not isinstance(taken, Mapping):
        raise bad_input(file, "", taken, "a mapping of claims to numbers of seeds")
    for name, look in taken.items():
        if look not in config.verdicts.looks or isinstance(look, bool):
            raise bad_input(file, str(name), look, f"one of verdicts.looks, {list(config.verdicts.looks)}")
    return {str(name): look for name, look in taken.items() if config.claims.get(str(name)) is not None}


def next_looks(
    config: Config, tables: Mapping[str, pd.DataFrame], taken: Mapping[str, int]
) -> dict[str, int]:
    """Looks after the last verdicts: each undecided claim moves on to the next one.

    Parameters
    ----------
    config
        As written, without the seeds of looks.
    tables
        Files of last verdicts to their tables (``CLAIM_COLUMNS`` of :mod:`cdgm.claims.judge`).
    taken
        Looks taken so far. A claim whose next look is taken but not judged yet, since a run was interrupted,
        stays there.

    Raises
    ------
    UserError
        If a table lacks a column, or more seeds would change the blocks of those that a study has, so that
        fits would be made anew.
    """
    looks = dict(taken)
    for file, table in tables.items():
        for column in ("claim", "claim_verdict", "n_all"):
            if column not in table:
                raise bad_input(file, "columns", list(table), f"also {column!r}")
        for name, rows in table.groupby("claim", sort=False):
            claim = config.claims.get(str(name))
            if claim is None or rows["claim_verdict"].iloc[0] != "undecided":
                continue
            seeds = config.studies[claim.study].seeds
            judged_on = looks_judged(rows, seeds)
            after = [look for look in config.verdicts.looks if look > judged_on]
            if after:
                looks[str(name)] = max(after[0], looks.get(str(name), 0))
                if seeds.count % seeds.per_file:
                    key = f"studies.{claim.study}.seeds.per_file"
                    expected = (
                        f"a divisor of count ({seeds.count}), so that more seeds leave fits as they are"
                    )
                    raise bad_input("config", key, seeds.per_file, expected)
    return looks


def looks_judged(rows: pd.DataFrame, seeds: Seeds) -> int:
    """Seeds that a claim was judged on: those that its scores have, and at least those of its study."""
    return max(seeds.count, int(pd.to_numeric(rows["n_all"]).max()))


def asked(config: Config, before: Mapping[str, int], after: Mapping[str, int]) -> list[Asked]:
    """Studies that get more seeds between two states of looks."""
    rows = []
    for study in config.studies:
        counts = [seeds_of(config, study, taken) for taken in (before, after)]
        claims = tuple(
            n for n, look in after.items() if look > before.get(n, 0) and _study(config, n) == study
        )
        if claims and counts[1] > counts[0]:
            rows.append(Asked(study, counts[0], counts[1], claims))
    return rows


def announcement(
    config: Config, before: Mapping[str, int], after: Mapping[str, int], seconds: float | None = None
) -> str:
    """What a run will add, in words: seeds, claims, stacks of fits, time; told before it starts.

    Parameters
    ----------
    config
        With the seeds that it states.
    before, after
        Claim to the look that it took last, and to the one that it is to take.
    seconds
        What a stack has cost so far, its scores included; None where that is not known.
    """
    rows = asked(config, before, after)
    if not rows:
        return "decide: no claim has been judged undecided with a look left"
    lines = [
        f"decide: {row.study}: {row.before} -> {row.after} seeds for {', '.join(row.claims)}" for row in rows
    ]
    old, new = (expand(with_looks(config, taken)).fits for taken in (before, after))
    added = [len(job.spec.members) for fit, job in new.items() if fit not in old]
    cost = "" if seconds is None else f": some {max(1, round(len(added) * seconds / 60))} minutes of one core"
    lines.append(f"decide: {sum(added)} fits in {len(added)} stacks are added to {len(old)} stacks{cost}")
    return "\n".join(lines)


def with_looks(config: Config, taken: Mapping[str, int]) -> Config:
    """The config whose studies have the seeds of the looks that their claims took."""
    studies = {
        name: study.model_copy(
            update={"seeds": study.seeds.model_copy(update={"count": seeds_of(config, name, taken)})}
        )
        for name, study in config.studies.items()
    }
    return config.model_copy(update={"studies": studies})


def seeds_of(config: Config, study: str, taken: Mapping[str, int]) -> int:
    """Number of seeds of a study, with those of the looks that its claims took."""
    looks = (look for name, look in taken.items() if _study(config, name) == study)
    return max([config.studies[study].seeds.count, *looks])


def ends(config: Config, claims: Sequence[str], taken: Mapping[str, int]) -> dict[str, int]:
    """Claims that see only some seeds of their study: the first seed that is too late for them."""
    found = {}
    for name in claims:
        study = _study(config, name)
        seeds = config.studies[study].seeds
        own = max(seeds.count, taken.get(name, 0))
        if own < seeds_of(config, study, taken):
            found[name] = seeds.first + own
    return found


def _study(config: Config, claim: str) -> str:
    stated = config.claims[claim]
    assert stated is not None  # by checked and claims_of
    return stated.study
