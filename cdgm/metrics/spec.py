"""How fits are scored: the config type."""

from __future__ import annotations

from pydantic import Field

from cdgm.plugins import Strict


class TwistScoring(Strict):
    """Score fits against twisted truths too: the data law is the same for every angle."""

    block: str
    by: str
    angles: tuple[float, ...] = Field(min_length=1)


class EvaluationSpec(Strict):
    """How fits are scored.

    Attributes
    ----------
    elbo_draws
        Posterior samples a held-out row.
    null_draws
        Permutations of each score's null.
    twist
        Twisted truths to score against; absent means none.
    """

    elbo_draws: int = Field(ge=1)
    null_draws: int = Field(ge=10)
    twist: TwistScoring | None = None
