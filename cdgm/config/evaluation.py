"""How fits are scored: the config type."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from cdgm.utils.registry import Strict, distinct


class TwistScoring(Strict):
    """Score fits against twisted truths too: the data have the same distribution for every angle."""

    block: str
    by: str
    angles: Annotated[tuple[float, ...], Field(min_length=1), AfterValidator(distinct)]

    @field_validator("angles")
    @classmethod
    def _turns(cls, angles: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in angles:
            raise ValueError("holds 0, which turns nothing: fits are scored without a twist too")
        return angles


class CeilingSpec(Strict):
    """Scores of the posterior means under the true model of a simulation, on the same points as fits.

    Attributes
    ----------
    draws
        Importance draws a point.
    """

    draws: int = Field(ge=100, le=1_000_000)


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
    ceiling
        Simulations only: score the true model too; absent means not to. Fits are scored alike either way.
    """

    elbo_draws: int = Field(ge=1, le=100_000)
    null_draws: int = Field(ge=10, le=100_000)
    twist: TwistScoring | None = None
    ceiling: CeilingSpec | None = None
