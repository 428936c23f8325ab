"""One training objective from a variant: ELBOs, penalties and constraints, as one gradient a member."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from cdgm.config.fit import VariantSpec
from cdgm.config.ramp import ramps_of_blocks
from cdgm.models.block_posterior import Pull
from cdgm.models.comparative_vae import Batch, ComparativeVAE, Pass, Posterior
from cdgm.models.elbo_gradient import ElboGradient, Pulls
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.ramps import Ramps

#: A batch with the noise of its blocks.
Drawn = tuple[Batch, Mapping[str, Tensor]]


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
        ``penalty/<kind>``, for each constraint ``constraint/<name>`` (value), ``level/<name>`` and
        ``multiplier/<name>``, and under a schedule ``kl_weight/<source>/<block>``, each (E,), detached.
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
        Context of each part (``combiner``, ``penalty/<kind>``, ``constraint/<name>``, ``kl_schedule``).
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
        ramped = [f"penalty/{penalty.kind}" for penalty in variant.penalties if penalty.ramp is not None]
        self._shares = Ramps(
            {name: [p.ramp for p in contexts[name].members] for name in ramped}, contexts["combiner"]
        )
        self.constraints = [(c, c.start(contexts[f"constraint/{c.name}"])) for c in variant.constraints]
        members = contexts["kl_schedule"].members if variant.kl_schedule else ()
        schedules = [ramps_of_blocks(member.kl_schedule, model.design) for member in members]
        blocks = ramps_of_blocks(variant.kl_schedule, model.design)
        of_blocks = {block: [schedule[block] for schedule in schedules] for block in blocks}
        self._kl_weights = Ramps(of_blocks, contexts["combiner"])
        self.inactive = variant.needs_inactive
        self._gradient = ElboGradient(model, flat, apart=self.combiner.per_source)
        second = self.combiner.weight_rows is not None
        self._of_weights = ElboGradient(model, flat, apart=True) if second else None

    def step(self, batch: Batch, noise: Mapping[str, Tensor], for_weights: Drawn | None = None) -> Step:
        """Gradient of the objective on a batch; the gradient is overwritten in the next step.

        Parameters
        ----------
        batch, noise
            Rows of the sources, and noise of the blocks.
        for_weights
            A second batch with its noise, from which the combiner's weights are found if it has
            ``weight_rows``.
        """
        with torch.inference_mode():
            return self._step(batch, noise, for_weights)

    def _step(self, batch: Batch, noise: Mapping[str, Tensor], for_weights: Drawn | None) -> Step:
        result = self._gradient.forward(batch, noise, self.inactive)
        weights = self._kl_weights.of_step()
        losses = _weighted_losses(result, self.model.design.sources, weights)
        loss, pulls, terms = losses.sum(0), None, {}
        if self.penalties or self.constraints:
            with torch.inference_mode(False), torch.enable_grad():
                added, pulls, terms = self._added(result)
            loss = loss + added
        if weights:  # of all blocks, so that the last record states the whole objective
            one = torch.ones_like(loss)
            terms |= {f"kl_weight/{source}/{b}": weights.get(b, one) for source, b in result.kl}
        self._gradient.backward(pulls, weights)
        together, apart = self._gradient.together, self._gradient.apart
        if apart is None:
            return Step(together, loss, torch.ones_like(losses), terms, result)
        gram = None
        if self.combiner.needs_gram:
            judged = apart if for_weights is None else self._second(*for_weights, weights)
            gram = torch.bmm(judged, judged.mT).double().cpu().numpy()
        found = self.combiner.weights(losses, gram, self._combiner_state)
        shares = torch.from_numpy(np.array(found, order="C")).to(losses)
        # Only what several sources use is weighed; what one uses alone is in `together`, as are penalties.
        gradient = torch.baddbmm(together.unsqueeze(1), shares.unsqueeze(1), apart).squeeze(1)
        return Step(gradient, loss, shares.T, terms, result)

    def _second(self, batch: Batch, noise: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
        """Gradients of the sources (E, K, P) on the batch that only weights are found from."""
        assert self._of_weights is not None
        self._of_weights.forward(batch, noise)
        self._of_weights.backward(None, weights)
        assert self._of_weights.apart is not None
        return self._of_weights.apart

    def _added(self, result: Pass) -> tuple[Tensor, Pulls, dict[str, Tensor]]:
        """Penalties and constraints: their sum (E,), its gradients, and what is recorded of them."""
        result, leaves = _with_leaves(result)
        parts: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        shares = self._shares.of_step()
        for name, penalty, weight, state in self.penalties:
            value = penalty.value(result, self.model.design, state)
            terms[name] = value.detach()
            parts.append((shares[name] * weight if name in shares else weight) * value)
        for constraint, state in self.constraints:
            term, record = constraint.term(result, self.model.design, state)
            terms |= {f"{what}/{constraint.name}": v for what, v in record.items()}
            parts.append(term)
        added = reduce(torch.add, parts)
        return added.detach(), _pulls(added, leaves), terms


def _weighted_losses(result: Pass, sources: Sequence[str], weights: Mapping[str, Tensor]) -> Tensor:
    """Negative ELBO of each source with these weights (E,) of blocks' KL divergences, (K, E)."""
    losses = -result.elbo
    for (source, block), kl in result.kl.items():
        if block in weights:
            losses[sources.index(source)] += (weights[block] - 1.0) * kl
    return losses


def _with_leaves(result: Pass) -> tuple[Pass, dict[tuple[str, str], dict[str, Tensor]]]:
    """A pass whose posteriors and divergences gather gradients, and these tensors by (source, block)."""
    leaves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for key, p in {**result.posteriors, **result.inactive}.items():
        held = {"mean": p.mean, "log_variance": p.log_variance, "sample": p.sample}
        if key in result.kl:
            held["kl"] = result.kl[key]
        leaves[key] = {name: value.clone().requires_grad_() for name, value in held.items()}
    known = {key: p.covariates for key, p in {**result.posteriors, **result.inactive}.items()}
    posteriors = {
        key: Posterior(held["mean"], held["log_variance"], held["sample"], covariates=known[key])
        for key, held in leaves.items()
    }
    return (
        Pass(
            elbo=result.elbo,
            kl={key: leaves[key]["kl"] for key in result.kl},
            posteriors={key: posteriors[key] for key in result.posteriors},
            inactive={key: posteriors[key] for key in result.inactive},
        ),
        leaves,
    )


def _pulls(added: Tensor, leaves: Mapping[tuple[str, str], Mapping[str, Tensor]]) -> Pulls:
    """Gradients of a sum over members by the leaves."""
    if not added.requires_grad:
        return {}
    flat = [(key, name, leaf) for key, held in leaves.items() for name, leaf in held.items()]
    found = cast(
        "tuple[Tensor | None, ...]",  # torch's own type forgets what is unused
        torch.autograd.grad(
            added, [leaf for _, _, leaf in flat], grad_outputs=torch.ones_like(added), allow_unused=True
        ),
    )
    pulls: dict[tuple[str, str], dict[str, Tensor]] = {}
    for (key, name, _), gradient in zip(flat, found, strict=True):
        if gradient is not None:
            pulls.setdefault(key, {})[name] = gradient
    return {key: Pull(**gradients) for key, gradients in pulls.items()}
