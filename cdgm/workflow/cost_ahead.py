"""What a target will cost, told before its first job. Pure functions."""

from __future__ import annotations

from collections.abc import Collection

from cdgm.config.fit import FitSpec
from cdgm.config.study import Config
from cdgm.workflow.plan import Plan

#: Seconds of one core, measured with the networks of the protocol ``simulation``: of the two processes of a
#: stack, of 1,000 steps of a member with two sources, and of its scores.
OF_A_STACK, OF_1000_STEPS, OF_SCORES = 5.0, 0.4, 0.5


def seconds_of(spec: FitSpec) -> float:
    """Estimated seconds of one core that a stack takes, its scores included."""
    sources = len(spec.model.design.sources) / 2
    steps = OF_1000_STEPS * spec.training.steps / 1000
    procedure, members = spec.variant.procedure, len(spec.members)
    trained = members if procedure is None else procedure.trainings(spec.members)
    return OF_A_STACK + sources * (trained * steps + members * OF_SCORES)


def cost_ahead(config: Config, plan: Plan, target: str, there: Collection[str]) -> str:
    """What the studies of a target will add to the fits that are there, in words.

    Parameters
    ----------
    config, plan
        The whole config and its jobs.
    target
        A workflow target. Stacks on cells count as if they were simulations: too little for many genes.
    there
        Ids of fits that need not run.
    """
    rows = [
        row for study, rows in plan.studies.items() if config.studies[study].target == target for row in rows
    ]
    fits = list(dict.fromkeys(plan.evaluations[row.evaluation].fit for row in rows))
    todo = [plan.fits[fit].spec for fit in fits if fit not in there]
    if not todo:
        return f"{target}: all {len(fits)} stacks of fits are there"
    members = sum(len(spec.members) for spec in todo)
    minutes = max(1, round(sum(map(seconds_of, todo)) / 60))
    return (
        f"{target}: {members:,} fits in {len(todo)} of {len(fits)} stacks are to be made:"
        f" some {minutes} minutes of one core"
    )
