"""One training objective from a variant: ELBOs, penalties and constraints, as one gradient a member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cdgm.models.comparative_vae import Batch, ComparativeVAE, Pass
from cdgm.specs import VariantSpec


@dataclass(frozen=True)
class Step:
    """Gradient of one step and what the history records of it.

    Attributes
    ----------
    gradient
        (E, P), before clipping.
    loss
        Total loss of each member (E,), detached.
    weights
        The combiner's weight of each source (K, E).
    result
        The pass that it came from.
    """

    gradient: Tensor
    loss: Tensor
    weights: Tensor
    result: Pass


class Lagrangian:
    """Objective of a stack under a variant.

    Holds the constraints' state; everything else is a pure function of the batch.
    """

    def __init__(self, variant: VariantSpec, model: ComparativeVAE) -> None:
        self.variant, self.model = variant, model
        self.parameters = list(model.parameters())
        self.states: list[Any] = [c.start(model.n_members) for c in variant.constraints]

    def step(self, batch: Batch, noise: dict[str, Tensor]) -> Step:
        """Gradient of the objective on a batch."""
        result = self.model(batch, noise)
        added = result.elbo.new_zeros(self.model.n_members)
        for penalty in self.variant.penalties:
            added = added + penalty.weight * penalty.value(result, self.model.design)
        for i, constraint in enumerate(self.variant.constraints):
            term, self.states[i] = constraint.term(result, self.model.design, self.states[i])
            added = added + term
        losses = -result.elbo
        gradient, weights = self.variant.combiner.gradient(losses, added, self.parameters)
        return Step(gradient, (losses.sum(0) + added).detach(), weights, result)
