"""Weights of the blocks' KL divergences in the loss, which ramps change over the training."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cdgm.config.ramp import Ramp, ramps_of_blocks
from cdgm.objectives.context import ObjectiveContext


class KLWeights:
    """Weight of each block's KL divergence, step by step.

    The ELBO weighs all of them by 1. Which block is cheap while training is young decides where information
    goes that two blocks could hold.

    Parameters
    ----------
    context
        Context whose members are the variants.
    """

    def __init__(self, context: ObjectiveContext) -> None:
        schedules = [ramps_of_blocks(variant.kl_schedule, context.design) for variant in context.members]
        self._ramps = {block: _numbers([s[block] for s in schedules]) for block in schedules[0]}
        self._longest = max(float(steps.max()) for _, _, steps in self._ramps.values())
        self._dtype, self._device = context.dtype, context.device
        self._step = 0
        self._weights: dict[str, Tensor] = {}

    def of_step(self) -> dict[str, Tensor]:
        """Weights of the next step, block to (E,); a block without a ramp is not there and weighs 1."""
        if self._step < self._longest:
            self._step += 1
            self._weights = {
                block: torch.from_numpy(_weights(self._step, *ramp)).to(self._device, self._dtype)
                for block, ramp in self._ramps.items()
            }
        return self._weights


def _numbers(ramps: list[Ramp]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end and steps of each member's ramp, each (E,)."""
    start, end, steps = np.array([(r.start, r.end, r.steps) for r in ramps], dtype=np.float64).T
    return start, end, steps


def _weights(done: int, start: np.ndarray, end: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Weights (E,) in a step (1-based); in this form they end exactly at ``end``."""
    share = np.minimum(1.0, done / steps)
    return (1.0 - share) * start + share * end
