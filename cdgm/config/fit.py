"""The types of a variant and of a fit; like all here they need pydantic alone, so planning needs no torch."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from cdgm.config.design import Design
from cdgm.config.model import ModelSpec
from cdgm.config.ramp import KLSchedule, Ramp, ramps_of_blocks
from cdgm.config.training import TrainingSpec
from cdgm.utils.registry import Strict, field_of, sweeps

if TYPE_CHECKING:
    from cdgm.objectives.combiners.base import Combiner
    from cdgm.objectives.constraints.base import Constraint
    from cdgm.objectives.penalties.base import Penalty
    from cdgm.procedures.base import Procedure as _Procedure

    Procedure = _Procedure | None
else:
    Combiner = field_of("cdgm.objectives.combiners:COMBINERS")
    Constraint = field_of("cdgm.objectives.constraints:CONSTRAINTS")
    Penalty = field_of("cdgm.objectives.penalties:PENALTIES")
    Procedure = field_of("cdgm.procedures:PROCEDURES", optional=True)

#: Values of all sweeps of a variant together, and members of a stack.
MOST_POINTS, MOST_IN_A_STACK = 1_000, 10_000


class VariantSpec(Strict):
    """A named way of fitting: how sources' objectives combine, and what is added to them.

    A number of a plug-in that may differ between members can be a list: then every seed is fitted with
    each of its values, in one stack.

    Attributes
    ----------
    combiner
        How the sources' ELBOs become one step (plug-in).
    penalties, constraints
        Terms added to the loss (plug-ins); none by default. Each kind can be there once.
    kl_schedule
        Ramps of the weights of blocks' KL divergences (:class:`cdgm.config.ramp.Ramp`), by ``private`` (all
        blocks of one source), ``shared`` (all of several) or a block's name; without one a weight is 1.
    procedure
        Several trainings from which a member follows, in place of one (plug-in); None for one.
    """

    combiner: Combiner
    penalties: tuple[Penalty, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    kl_schedule: KLSchedule = Field({})
    # Left out of saved models that have none, which so are as they were before there were procedures.
    procedure: Procedure = Field(None, exclude_if=operator.not_)

    @model_validator(mode="after")
    def _check(self) -> VariantSpec:
        for what, names in (
            ("penalties", [p.kind for p in self.penalties]),
            ("constraints", [c.name for c in self.constraints]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} holds {twice[0]!r} twice")
        points = math.prod(len(sweep) for _, sweep in sweeps(self))
        if points > MOST_POINTS:
            raise ValueError(f"sweeps over {points:,} points, expected at most {MOST_POINTS:,}")
        for penalty in self.penalties:
            if penalty.weight is None:
                raise ValueError(f"penalty {penalty.kind!r} has no weight")
        return self

    def points(self) -> list[tuple[str, VariantSpec]]:
        """Every combination of swept values: a label, empty without sweeps, and the variant there."""
        found = list(sweeps(self))
        points = []
        for values in itertools.product(*(sweep for _, sweep in found)):
            plain = self.model_dump(mode="json")
            labels = []
            for (path, _), value in zip(found, values, strict=True):
                at: Any = plain
                for key in path[:-1]:
                    at = at[key]
                at[path[-1]] = value
                labels.append(f"{self._label(path)}={value:g}")
            points.append((",".join(labels), VariantSpec.model_validate(plain) if found else self))
        return points

    def _label(self, path: tuple[str | int, ...]) -> str:
        """Name of a swept number: its option, after the name of its plug-in where this is one of several."""
        group, *rest = path
        if group in ("combiner", "procedure"):
            return ".".join(map(str, rest))
        if group == "kl_schedule":
            return ".".join(["kl", *map(str, rest)])
        plugin = getattr(self, str(group))[rest[0]]
        return ".".join([plugin.name if group == "constraints" else plugin.kind, *map(str, rest[1:])])

    @property
    def needs_inactive(self) -> bool:
        """Whether a part looks at blocks in sources where they are inactive."""
        return any(part.needs_inactive for part in (*self.penalties, *self.constraints))

    def within_covariates(self) -> VariantSpec:
        """The same variant with all penalties within covariates that can be, also those held under a level.

        Raises
        ------
        ValueError
            If there is none.
        """
        found = 0

        def within(part: Any) -> Any:
            nonlocal found
            held = getattr(part, "penalty", part)
            if "within_covariates" not in type(held).model_fields:
                return part
            found += 1
            held = held.model_copy(update={"within_covariates": True})
            return part.model_copy(update={"penalty": held}) if hasattr(part, "penalty") else held

        parts = {name: tuple(map(within, getattr(self, name))) for name in ("penalties", "constraints")}
        if not found:
            raise ValueError("no penalty that can be within covariates: expected hsic or mmd_shared")
        return VariantSpec.model_validate(self.model_copy(update=parts).model_dump(mode="json"))

    def check_design(self, design: Design) -> None:
        """Refuse a design that a part of this variant has no meaning in, with a ValueError."""
        for part in (self.combiner, *self.penalties, *self.constraints):
            part.check(design)
        ramps_of_blocks(self.kl_schedule, design)

    def check_steps(self, steps: int) -> None:
        """Refuse a training of fewer steps than a schedule takes, with a ValueError."""
        for key, ramp in self._ramps.items():
            if ramp.longest > steps:
                expected = f"at most {steps}, the steps of training"
                raise ValueError(f"{key}.steps is {ramp.longest}, expected {expected}")

    def over(self, training_steps: int) -> VariantSpec:
        """The same variant with the lengths of its ramps in steps of a training."""
        if all(ramp.share is None for ramp in self._ramps.values()):
            return self
        schedule = {key: ramp.over(training_steps) for key, ramp in self.kl_schedule.items()}
        penalties = tuple(
            p if p.ramp is None else p.model_copy(update={"ramp": p.ramp.over(training_steps)})
            for p in self.penalties
        )
        return self.model_copy(update={"kl_schedule": schedule, "penalties": penalties})

    @property
    def settled_after(self) -> int:
        """Number of steps after which the objective no longer changes by a schedule."""
        return max((ramp.longest for ramp in self._ramps.values()), default=0)

    @property
    def _ramps(self) -> dict[str, Ramp]:
        """Every ramp, by the key that it stands under."""
        of_weights = {
            f"penalties.{i}.ramp": p.ramp for i, p in enumerate(self.penalties) if p.ramp is not None
        }
        return {f"kl_schedule.{key}": ramp for key, ramp in self.kl_schedule.items()} | of_weights


@dataclass(frozen=True)
class Member:
    """One fit of a stack.

    Attributes
    ----------
    seed
        Its seed.
    point
        Which of the swept values it has, as a label; empty without sweeps.
    variant
        The variant with these values.
    start
        Which of several starts on the same data it is; 0 for the first or only one.
    """

    seed: int
    point: str
    variant: VariantSpec
    start: int = 0


class FitSpec(Strict):
    """One replicate stack: everything that decides its result, beside the data file.

    Attributes
    ----------
    dataset
        Id of the data set that it is fitted to.
    model, variant, training
        See the types.
    seeds
        One member a seed and swept value; for simulations the member is fitted to the replicate of
        that seed.
    root_seed
        Root of all random streams.
    """

    dataset: str
    model: ModelSpec
    variant: VariantSpec
    training: TrainingSpec
    seeds: tuple[int, ...] = Field(min_length=1)
    root_seed: int

    @model_validator(mode="after")
    def _check(self) -> FitSpec:
        self.variant.check_design(self.model.design)
        if self.variant.procedure is not None:
            self.variant.procedure.check(self.model)
        self.variant.check_steps(self.training.steps)
        if self.training.start is not None:
            self.training.start.check(self.model)
        if self.variant.over(self.training.steps) is not self.variant:
            raise ValueError("expected ramps whose lengths are steps: see VariantSpec.over")
        members = len(self.seeds) * math.prod(len(sweep) for _, sweep in sweeps(self.variant))
        if members > MOST_IN_A_STACK:
            raise ValueError(f"a stack has {members:,} members, expected at most {MOST_IN_A_STACK:,}")
        return self

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All members (E): for each point of the sweep, each seed."""
        return tuple(
            Member(seed, point, variant) for point, variant in self.variant.points() for seed in self.seeds
        )

    def of(self, members: Sequence[Member], model: ModelSpec | None = None) -> FitSpec:
        """The same fit of other members: some of its own, or further starts of them; of another model too."""
        copy = self.model_copy(update={} if model is None else {"model": model})
        vars(copy)["members"] = tuple(members)  # what the cached property remembers
        return copy
