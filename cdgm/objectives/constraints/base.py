"""What a constraint is: a quantity to be held at or under a level by a multiplier of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from cdgm.config.design import Design
from cdgm.objectives.context import ObjectiveContext
from cdgm.utils.registry import PerMember, Plugin, Sweep

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Pass, Posteriors


NULL_ROWS = 1_024
"""Rows behind a null: far more than a batch has, so that the level is one that matters."""


class Constraint(Plugin):
    """A quantity g with ``g <= level``, in the Lagrangian as ``multiplier (g - level)``.

    Dual ascent (Platt & Barr 1988): in every step the multiplier moves by ``rate`` times the moving
    average of ``g - level`` and is projected to at least 0. Each member has its own.

    Attributes
    ----------
    rate
        Step of the multiplier, in nats for each unit of the quantity squared; per member.
    average
        Decay of the moving average: how much of it is kept from one step to the next.
    warm_up
        Steps before the multiplier moves.
    decay
        Steps after the warm-up in which the rate halves: after s steps it is ``rate / (1 + s / decay)``. Its
        sum has no bound, so a multiplier reaches its place from anywhere, and its noise ends (Robbins &
        Monro 1951). 0: the rate is constant.
    proportional
        Strength of a second term ``proportional`` times the averaged violation, which acts at once and
        damps oscillations; absent means off.
    """

    rate: Annotated[float | Sweep, PerMember(above=0)]
    average: float = Field(ge=0, lt=1)
    warm_up: int = Field(ge=0)
    decay: int = Field(0, ge=0)
    proportional: float = Field(0.0, ge=0)

    needs_inactive: ClassVar[bool] = False
    """Whether it looks at posteriors of blocks in sources where they are inactive."""

    can_assess: ClassVar[bool] = True
    """Whether :meth:`assess` is defined."""
    sign: ClassVar[float] = 1.0
    """1 for a quantity to be held at or under its level, -1 for one to be held at or over it."""

    @property
    def name(self) -> str:
        """Name in histories and tables; each is there once in a variant."""
        return self.kind

    def check(self, design: Design) -> None:
        """Refuse a design in which the quantity does not exist, with a ValueError."""

    @abstractmethod
    def assess(self, members: Sequence[Any], posteriors: Posteriors, design: Design) -> tuple[Tensor, Tensor]:
        """Value and level (E,) on given rows, outside training.

        Parameters
        ----------
        members
            The constraint as each member has it (E).
        posteriors
            Posteriors of all (source, block), (E, n, d).
        design
            Sources and blocks.
        """

    @abstractmethod
    def begin(self, context: ObjectiveContext) -> Any:
        """State of :meth:`measure` before the first step."""

    @abstractmethod
    def measure(self, result: Pass, design: Design, state: Any) -> tuple[Tensor, Tensor]:
        """The quantity (E,), with its graph, and its level now (E,); may change ``state`` in place.

        A level that is not known yet is NaN; nothing is held then.
        """

    def start(self, context: ObjectiveContext) -> Multiplier:
        """Multiplier and averages before the first step."""
        return Multiplier(context.numbers("rate"), self.begin(context))

    def term(self, result: Pass, design: Design, state: Multiplier) -> tuple[Tensor, dict[str, Tensor]]:
        """Term (E,) of the Lagrangian in this step, and a record of value, level and multiplier.

        The multiplier that enters is the one before this step's move, as in simultaneous gradient
        descent and ascent.
        """
        import torch

        value, level = self.measure(result, design, state.inner)
        with torch.no_grad():  # the term is linear in the value, so that its graph is a single operation
            known = level.isfinite()
            violation = self.sign * (value - level)
            violation = violation.where(known, violation.new_zeros(()))
            average = state.averaged(violation, known, self.average)
            strength = state.multiplier
            if state.steps > self.warm_up:
                if self.proportional:
                    strength = (strength + self.proportional * average).clamp(min=0)
                steps = state.steps - self.warm_up
                rate = state.rate / (1 + steps / self.decay) if self.decay else state.rate
                state.multiplier = (state.multiplier + rate * average).clamp(min=0)
            slope = torch.where(known, self.sign * strength, 0.0)
            rest = strength * violation - slope * value
        record = {"constraint": value.detach(), "level": level, "multiplier": strength}
        return torch.addcmul(rest, slope, value), record


class Multiplier:
    """State of a constraint in a stack: one multiplier a member.

    Attributes
    ----------
    multiplier
        (E,), starting at 0.
    steps
        Steps taken.
    inner
        What the constraint's own quantity keeps.
    """

    def __init__(self, rate: Tensor, inner: Any) -> None:
        self.rate, self.inner = rate, inner
        self.multiplier = rate.new_zeros(rate.shape)
        self.steps = 0
        self._sum = rate.new_zeros(rate.shape)
        self._weight = rate.new_zeros(rate.shape)

    def averaged(self, value: Tensor, known: Tensor, decay: float) -> Tensor:
        """Moving average of each member (E,), the newest value included.

        It is unbiased from the first value on. A step in which a member's value is not ``known`` (E,)
        leaves its average unchanged; without any value the average is 0.
        """
        import torch

        self.steps += 1
        self._sum = torch.where(known, decay * self._sum + (1 - decay) * value, self._sum)
        self._weight = torch.where(known, decay * self._weight + (1 - decay), self._weight)
        return self._sum / self._weight.where(self._weight > 0, 1.0)
