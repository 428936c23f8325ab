"""Adam for a stack: clipping and freezing of each member on its own."""

# Torch's own types are partial (norm, step).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import torch
from torch import Tensor

from cdgm.config.fit import TrainingSpec


class FrozenAwareAdam:
    """Adam under a one-cycle schedule, with clipping and freezing of each member on its own.

    A member whose loss or gradient is not finite is frozen at its last finite parameters for good:
    a gradient of zero would not hold it, since Adam's momentum goes on. This does not change the
    numbers of other members.
    """

    def __init__(self, flat: Tensor, training: TrainingSpec) -> None:
        self.flat, self.clip = flat, training.clip
        self.alive: Tensor = torch.ones(flat.shape[0], dtype=torch.bool, device=flat.device)
        adam, schedule = training.optimiser, training.schedule
        self._adam = torch.optim.Adam(
            [flat], lr=training.learning_rate, betas=adam.betas, eps=adam.eps, fused=True
        )
        # One step more than is taken: the schedule cannot step past its end.
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._adam,
            max_lr=training.learning_rate,
            total_steps=training.steps + 1,
            pct_start=schedule.pct_start,
            div_factor=schedule.div_factor,
            final_div_factor=schedule.final_div_factor,
            cycle_momentum=False,
        )
        #: Learning rate of the last step taken; before the first, that of the first.
        self.learning_rate: float = self._adam.param_groups[0]["lr"]
        self._frozen: Tensor | None = None

    def step(self, gradient: Tensor, loss: Tensor) -> Tensor:
        """Take one step.

        Parameters
        ----------
        gradient
            (E, P), overwritten.
        loss
            (E,); a member whose loss is not finite is frozen.

        Returns
        -------
        Tensor
            Norm of each member's gradient before clipping (E,).
        """
        norm = gradient.norm(dim=1)
        finite = self.alive & norm.isfinite() & loss.isfinite()
        if not torch.equal(finite, self.alive):
            self.alive = finite
            self._frozen = self.flat.detach().clone()
        gradient *= (self.clip / norm.clamp(min=self.clip)).unsqueeze(1)
        if self._frozen is not None:
            gradient[~self.alive] = 0.0
        self.flat.grad = gradient
        self.learning_rate = self._adam.param_groups[0]["lr"]
        self._adam.step()
        self._schedule.step()
        if self._frozen is not None:
            self.flat[~self.alive] = self._frozen[~self.alive]
        return norm
