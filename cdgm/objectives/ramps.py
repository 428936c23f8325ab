"""Numbers of the objective that ramps change over the first steps of a training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from cdgm.config.ramp import Ramp
from cdgm.objectives.context import ObjectiveContext

Key = TypeVar("Key", bound=Hashable)


class Ramps(Generic[Key]):
    """Values of ramps, step by step: of blocks' KL weights, or of shares of penalties' weights.

    Parameters
    ----------
    ramps
        The ramp of each member (E), by what it is of.
    context
        Where a stack's numbers are, and of which type.
    """

    def __init__(self, ramps: Mapping[Key, Sequence[Ramp]], context: ObjectiveContext) -> None:
        self._ramps = ramps
        self._longest = max((ramp.longest for each in ramps.values() for ramp in each), default=0)
        self._dtype, self._device = context.dtype, context.device
        self._step = 0
        self._values: dict[Key, Tensor] = {}

    def of_step(self) -> dict[Key, Tensor]:
        """Values in the next step (E,)."""
        if self._step < self._longest:
            self._values = {
                key: torch.tensor([r.at(self._step) for r in each], dtype=self._dtype, device=self._device)
                for key, each in self._ramps.items()
            }
            self._step += 1
        return self._values
