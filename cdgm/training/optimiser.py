"""Adam for a stack: clipping and freezing of each member on its own."""

# Torch's own types are partial (norm, step).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim.adam import adam

from cdgm.config.training import TrainingSpec


class FrozenAwareAdam:
    """Adam under a one-cycle schedule, with clipping and freezing of each member on its own.

    A member whose loss or gradient is not finite is frozen at its last finite parameters for good:
    a gradient of zero would not hold it, since Adam's momentum goes on. This does not change the
    numbers of other members.

    Parameters
    ----------
    flat
        The parameters (E, P), which steps change in place.
    training
        Its schedule and options.
    decaying
        1 for each parameter of a member that weight decay is for, else 0 (P,); None for all.
    """

    def __init__(self, flat: Tensor, training: TrainingSpec, decaying: Tensor | None = None) -> None:
        self.flat, self.clip = flat, training.clip
        self._decaying = torch.ones_like(flat[0]) if decaying is None else decaying
        self.alive: Tensor = torch.ones(flat.shape[0], dtype=torch.bool, device=flat.device)
        self._options = training.optimiser
        self._averages = torch.zeros_like(flat), torch.zeros_like(flat)
        self._steps: Tensor = torch.zeros((), dtype=torch.float32, device=flat.device)
        self._rates = learning_rates(training)
        #: Learning rate of the last step taken; before the first, that of the first.
        self.learning_rate: float = self._rates[0]
        self._next = 0
        self._frozen: Tensor | None = None

    @torch.inference_mode()
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
        finite = self.alive & (norm + loss).isfinite()
        if not torch.equal(finite, self.alive):
            self.alive = finite
            self._frozen = self.flat.clone()
        if (norm > self.clip).any():
            gradient *= (self.clip / norm.clamp(min=self.clip)).unsqueeze(1)
        if self._frozen is not None:
            gradient[~self.alive] = 0.0
        self.learning_rate = self._rates[self._next]
        self._next += 1
        if self._options.weight_decay:
            lost = self.learning_rate * self._options.weight_decay
            self.flat.addcmul_(self.flat, self._decaying, value=-lost)
        # The function and not the class: `torch.optim.Adam` spends more time on itself than on small stacks.
        adam(
            [self.flat], [gradient], [self._averages[0]], [self._averages[1]], [], [self._steps],
            fused=True, amsgrad=False, beta1=self._options.betas[0], beta2=self._options.betas[1],
            lr=self.learning_rate, weight_decay=0.0, eps=self._options.eps, maximize=False,
        )  # fmt: skip
        if self._frozen is not None:
            self.flat[~self.alive] = self._frozen[~self.alive]
        return norm


def learning_rates(training: TrainingSpec) -> list[float]:
    """Learning rate of each step: those of torch's ``OneCycleLR``, which computes them anew in each step."""
    schedule, peak = training.schedule, training.learning_rate
    first = peak / schedule.div_factor
    last = first / schedule.final_div_factor
    # One step more than is taken: the rate of the last step is not yet the final one.
    top, end = schedule.pct_start * (training.steps + 1) - 1, training.steps
    rates: list[float] = []
    for step in range(training.steps):
        if step <= top:
            rates.append(_along_cosine(first, peak, step / top if top > 0 else 1.0))
        else:
            rates.append(_along_cosine(peak, last, (step - top) / (end - top)))
    return rates


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (1 + math.cos(math.pi * share))
