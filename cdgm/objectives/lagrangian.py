"""One training objective from a variant: ELBOs, penalties and constraints, as one gradient a member."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cdgm.config.fit import VariantSpec
from cdgm.models.comparative_vae import Batch, ComparativeVAE, Pass
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.per_source import PerSourceGradients


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
    terms
        ``penalty/<kind>`` and, for each constraint, ``constraint/<name>`` (value), ``level/<name>`` and
        ``multiplier/<name>``, each (E,), detached.
    result
        The pass that it came from.
    """

    gradient: Tensor
    loss: Tensor
    weights: Tensor
    terms: dict[str, Tensor]
    result: Pass


class Lagrangian:
    """Objective of a stack under a variant, with the state of penalties, constraints and combiner.

    Parameters
    ----------
    model
        The stack.
    flat
        Its parameters (E, P).
    variant
        The variant, with its sweeps.
    contexts
        Context of each part (``combiner``, ``penalty/<kind>``, ``constraint/<name>``).
    """

    def __init__(
        self,
        model: ComparativeVAE,
        flat: Tensor,
        variant: VariantSpec,
        contexts: Mapping[str, ObjectiveContext],
    ) -> None:
        self.model, self.variant = model, variant
        self.combiner = variant.combiner
        self._combiner_state = self.combiner.start(contexts["combiner"])
        self.penalties: list[tuple[str, Any, Tensor, Any]] = []
        for penalty in variant.penalties:
            name = f"penalty/{penalty.kind}"
            context = contexts[name]
            self.penalties.append((name, penalty, context.numbers("weight"), penalty.start(context)))
        self.constraints = [(c, c.start(contexts[f"constraint/{c.name}"])) for c in variant.constraints]
        self.inactive = variant.needs_inactive
        self._parameters = list(model.parameters())
        self._apart = PerSourceGradients(model, flat) if self.combiner.per_source else None

    def step(self, batch: Batch, noise: Mapping[str, Tensor]) -> Step:
        """Gradient of the objective on a batch."""
        passes = self._apart.forward if self._apart else self.model
        result = passes(batch, noise, self.inactive)
        added, terms = self._added(result)
        losses = -result.elbo
        loss = losses.detach().sum(0) + (0.0 if added is None else added.detach())
        if self._apart is None:
            total = losses.sum() if added is None else losses.sum() + added.sum()
            found = torch.autograd.grad(total, self._parameters)
            gradient = torch.cat([g.flatten(1) for g in found], dim=1)
            return Step(gradient, loss, torch.ones_like(losses), terms, result)
        gradients = self._apart.gradients(losses.sum(), keep_graph=added is not None)
        gram = gradients.gram() if self.combiner.needs_gram else None
        found = self.combiner.weights(losses.detach(), gram, self._combiner_state)
        weights = torch.from_numpy(np.array(found, order="C")).to(losses)
        gradient = self._apart.combine(gradients, weights)
        if added is not None:
            gradient += self._apart.gradient_of(added.sum())
        return Step(gradient, loss, weights.T, terms, result)

    def _added(self, result: Pass) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Penalties and constraints (E,), with their graph, and what is recorded of them."""
        added: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for name, penalty, weight, state in self.penalties:
            value = penalty.value(result, self.model.design, state)
            terms[name] = value.detach()
            added = weight * value if added is None else added + weight * value
        for constraint, state in self.constraints:
            term, record = constraint.term(result, self.model.design, state)
            terms |= {f"{what}/{constraint.name}": v for what, v in record.items()}
            added = term if added is None else added + term
        return added, terms
