"""What the detection of faults reads: the stacks of a target's simulated studies, and how they group."""

from __future__ import annotations

from typing import Any

from cdgm.config.fit import VariantSpec
from cdgm.config.study import Config
from cdgm.workflow.plan import Plan

#: Group of fits whose likelihood is not that of the noise.
MISSPECIFIED = "wrong likelihood"


def detection_rows(config: Config, plan: Plan, target: str) -> list[dict[str, Any]]:
    """One row a stack: its study, fit and evaluation, and the groups that it belongs to.

    ``family`` is the study, and ``terms`` the penalties of the variant, constrained ones too. Fits with a
    likelihood of another kind than the noise are a group of their own. Designs in which nothing can move
    have no rows.
    """
    rows = []
    for study, stacks in plan.studies.items():
        if config.studies[study].target != target:
            continue
        for row in stacks:
            fit = plan.fits[plan.evaluations[row.evaluation].fit]
            design = fit.spec.model.design
            if not fit.simulated or not any(design.comparisons(block) for block in design.blocks):
                continue
            noise = plan.simulations[fit.spec.dataset].spec.noise.kind
            wrong = MISSPECIFIED if noise != fit.spec.model.likelihood.kind else ""
            rows.append(
                {
                    "study": study,
                    "fit": plan.evaluations[row.evaluation].fit,
                    "evaluation": row.evaluation,
                    "family": wrong or study,
                    "terms": wrong or terms_of(fit.spec.members[0].variant),
                }
            )
    return rows


def terms_of(variant: VariantSpec) -> str:
    """Kinds of penalties of a variant, constrained ones too, joined by +; or whether it has a KL schedule."""
    constrained = [getattr(c, "penalty", None) for c in variant.constraints]
    kinds = {p.kind for p in (*variant.penalties, *constrained) if p is not None}
    return "+".join(sorted(kinds)) or ("kl_schedule" if variant.kl_schedule else "none")
