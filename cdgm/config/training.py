"""The types of a training; they need pydantic alone, as all types of a fit."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from cdgm.utils.registry import Strict, field_of

if TYPE_CHECKING:
    from cdgm.training.starts.base import Start
else:
    Start = field_of("cdgm.training.starts:STARTS")

Decay = Annotated[float, Field(ge=0, lt=1)]


class AdamSpec(Strict):
    """Options of Adam (Kingma & Ba 2015), named as :class:`torch.optim.Adam` does.

    Attributes
    ----------
    betas
        Decay of the moving averages of the gradient and of its square; constant over the training.
    eps
        Term added to the denominator.
    weight_decay
        In each step weights lose this share times the learning rate, apart from the gradient (AdamW,
        Loshchilov & Hutter 2019). Biases and parameters of the likelihood do not decay.
    """

    kind: Literal["adam"] = "adam"
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0, le=1_000, exclude_if=operator.not_)] = 0.0


class OneCycleSpec(Strict):
    """Options of the one-cycle schedule (Smith & Topin 2018), named as in torch's ``OneCycleLR``.

    The learning rate rises from ``learning_rate / div_factor`` to ``learning_rate`` and falls to its
    initial value over ``final_div_factor``, both along a cosine. Adam's betas do not cycle.

    Attributes
    ----------
    pct_start
        Share of the steps in which it rises.
    div_factor, final_div_factor
        Peak over initial, and initial over final learning rate.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    div_factor: Annotated[float, Field(ge=1)] = 25.0
    final_div_factor: Annotated[float, Field(ge=1)] = 1e4


class TrainingSpec(Strict):
    """How a stack is trained.

    Attributes
    ----------
    steps
        Optimiser steps.
    batch_size
        Rows per source and step.
    learning_rate
        Largest learning rate, the peak of the schedule.
    clip
        Largest norm of a member's gradient.
    log_every
        Steps between records of the history.
    optimiser, schedule
        See the types.
    precision
        Floating point type.
    device
        Where a stack is trained; the random numbers are the same everywhere.
    start
        Where training begins in place of random weights (plug-in); absent means there.
    """

    steps: int = Field(ge=1, le=100_000_000)
    batch_size: int = Field(ge=2, le=1_000_000)
    learning_rate: float = Field(gt=0, le=1_000)
    clip: float = Field(gt=0)
    log_every: int = Field(ge=1)
    optimiser: AdamSpec = AdamSpec()
    schedule: OneCycleSpec = OneCycleSpec()
    precision: Literal["float32", "float64"] = "float32"
    device: Literal["cpu", "auto", "cuda"] = "cpu"
    start: Start | None = None

    @model_validator(mode="after")
    def _check(self) -> TrainingSpec:
        share = self.learning_rate * self.optimiser.weight_decay
        if share >= 1:
            raise ValueError(
                f"optimiser.weight_decay times learning_rate is {share:g}, expected less than 1: "
                "it is what weights lose in a step"
            )
        return self
