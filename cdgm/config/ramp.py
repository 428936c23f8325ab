"""Ramps: numbers of the objective that change linearly over the first steps of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field, model_serializer, model_validator

from cdgm.config.design import Design
from cdgm.utils.registry import PerMember, Strict, Sweep, whole


class Ramp(Strict):
    """A weight that changes linearly and then stays.

    In step s (0-based) it is ``start + (end - start) * min(1, (s + 1) / steps)``, so the last step of the
    ramp has the final weight already. Each number can be a list, which is swept.

    Attributes
    ----------
    start, end
        Weight from which and to which it goes, ``from`` and ``to`` in the config.
    steps
        Optimiser steps from one to the other.
    share
        In place of steps: their share of all steps of a training, in (0, 1].
    """

    start: Annotated[float | Sweep, PerMember(minimum=0)] = Field(alias="from")
    end: Annotated[float | Sweep, PerMember(minimum=0)] = Field(alias="to")
    steps: Annotated[int | Sweep, PerMember(minimum=1), AfterValidator(whole)] | None = None
    share: Annotated[float | Sweep, PerMember(above=0, maximum=1)] | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Ramp:
        if self.steps is None and self.share is None:
            raise ValueError("got neither steps nor share, expected one of them")
        if self.steps is not None and self.share is not None:
            raise ValueError("got both steps and share, expected one of them and null for the other")
        return self

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        """By the names of the config, of which ``from`` is none in Python."""
        values = {"from": self.start, "to": self.end, "steps": self.steps, "share": self.share}
        return {n: list(v) if isinstance(v, Sweep) else v for n, v in values.items() if v is not None}

    def over(self, training_steps: int) -> Ramp:
        """The same ramp with its length in steps of a training."""
        if self.share is None:
            return self
        shares = self.share if isinstance(self.share, Sweep) else (self.share,)
        steps = [max(1, round(share * training_steps)) for share in shares]
        length = steps if isinstance(self.share, Sweep) else steps[0]
        return Ramp.model_validate({"from": self.start, "to": self.end, "steps": length})

    def at(self, step: int) -> float:
        """Weight in a step (0-based), of a ramp in steps that is not swept; exactly ``end`` at last."""
        start, end, steps = cast("tuple[float, float, int]", (self.start, self.end, self.steps))
        share = min(1.0, (step + 1) / steps)
        return (1.0 - share) * start + share * end

    @property
    def longest(self) -> int:
        """Steps until it stays, the largest number of a sweep; 0 for a share, which fits any training."""
        if self.steps is None:
            return 0
        return int(max(self.steps)) if isinstance(self.steps, Sweep) else self.steps


KLSchedule = dict[str, Ramp]
"""Ramps of KL weights by ``private``, ``shared`` or the name of a block."""


def ramps_of_blocks(schedule: Mapping[str, Ramp], design: Design) -> dict[str, Ramp]:
    """The ramp of each block whose KL weight has one, in the order of the design.

    ``private`` means all blocks of one source and ``shared`` all blocks of several, also where a block bears
    that name.

    Raises
    ------
    ValueError
        If the design lacks such a block, or a block has two ramps.
    """
    found: dict[str, Ramp] = {}
    for key, ramp in schedule.items():
        if key in ("private", "shared"):
            blocks = [b for b, sources in design.blocks.items() if (len(sources) == 1) == (key == "private")]
        else:
            blocks = [key] if key in design.blocks else []
        if not blocks:
            has = f"private, shared or a block: {list(design.blocks)}"
            raise ValueError(f"kl_schedule names {key!r}, the design has no such block, expected {has}")
        for block in blocks:
            if block in found:
                raise ValueError(f"kl_schedule gives block {block!r} two ramps, the second by {key!r}")
            found[block] = ramp
    return {block: found[block] for block in design.blocks if block in found}


def stated(ramps: Mapping[str, Ramp]) -> str:
    """A sentence on ramps of blocks' KL weights without sweeps, and on the objective that they end in."""
    ways = [f"{b} from {r.start:g} to {r.end:g} over {r.steps:,} steps" for b, r in ramps.items()]
    other = [f"{block} {ramp.end:g}" for block, ramp in ramps.items() if ramp.end != 1]
    end = f"KL weights are 1 but for {', '.join(other)}" if other else "all KL weights are 1"
    return f"KL weights change at first: {', '.join(ways)}. In the final objective {end}."
