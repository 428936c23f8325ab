"""Train one replicate stack: many members of equal shapes in one process, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cdgm.config.design import Design
from cdgm.config.fit import FitSpec, TrainingSpec
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.lagrangian import Lagrangian, Step
from cdgm.objectives.setup import Setup
from cdgm.training.batches import SourceData, assemble, shuffled_indices, standard_normals
from cdgm.training.device import device_of
from cdgm.utils.files import canonical_json
from cdgm.utils.random_streams import stream

#: Decides whether training ends early: see :func:`train`.
Watch = Callable[[int, ComparativeVAE, np.ndarray], bool]


@dataclass(frozen=True)
class TrainedStack:
    """A trained stack.

    Attributes
    ----------
    model
        The stack; a member that diverged holds its last finite parameters.
    finite
        Whether each member stayed finite to the end (E,).
    history
        ``step`` (T,), ``learning_rate`` (T,), ``elbo/<source>``, ``kl/<source>/<block>``,
        ``weight/<source>``, ``gradient_norm`` and the variant's own (:class:`Step`), each (T, E). Where
        weights move, ``each/weight/<source>`` has those of every step (steps, E).
    """

    model: ComparativeVAE
    finite: np.ndarray
    history: dict[str, np.ndarray]


def member_streams(spec: FitSpec, stage: str) -> list[np.random.Generator]:
    """One generator a member; it does not depend on the member's neighbours in the stack."""
    fixed = spec.model_dump(mode="json", include={"model", "training"}, exclude_defaults=True)
    fixed["training"].pop("device", None)
    streams = []
    for member in spec.members:
        variant = member.variant.model_dump(mode="json", exclude_defaults=True)
        configuration = canonical_json(fixed | {"variant": variant})
        streams.append(stream(stage, spec.dataset, configuration, member.seed, root=spec.root_seed))
    return streams


def build_model(spec: FitSpec, n_features: int) -> ComparativeVAE:
    """An untrained stack with the start values of ``spec``, on the CPU."""
    model = ComparativeVAE(spec.model, n_features, len(spec.members))
    model.to(getattr(torch, spec.training.precision))
    model.reset(member_streams(spec, "initialise"))
    return model


def train(
    spec: FitSpec,
    x: Mapping[str, np.ndarray],
    replicates: Sequence[int],
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
) -> TrainedStack:
    """Train the stack that ``spec`` describes.

    Parameters
    ----------
    spec
        The fit. The trained stack is on the CPU, wherever it was trained.
    x
        Training observations of each source (R, n, D).
    replicates
        Replicate that each member is fitted to (E,).
    progress
        Told after each record of the history how many more steps are finished.
    watch
        Asked after each record of the history with the number of steps that are finished, the stack and
        which members are finite (E,): True ends training. It must change nothing that it is shown.
    """
    training, design = spec.training, spec.model.design
    dtype, device = getattr(torch, training.precision), device_of(training.device)
    data = {
        source: SourceData(x[source], replicates, spec.model.likelihood, dtype, device)
        for source in design.sources
    }
    model = build_model(spec, next(iter(data.values())).n_features).to(device)
    flat = flatten_parameters(model, model.n_members)
    objective = Lagrangian(
        model, flat, spec.variant, _setups(spec, {s: d.n for s, d in data.items()}, device)
    )
    optimiser = FrozenAwareAdam(flat, training)
    history = History(design, training)

    indices = {
        source: shuffled_indices(
            member_streams(spec, f"batches/{source}"), data[source].n, training.batch_size
        )
        for source in design.sources
    }
    sizes = {
        block: (training.batch_size * len(model.encoded(block, objective.inactive)), spec.model.dims[block])
        for block in design.blocks
    }
    noise = standard_normals(member_streams(spec, "noise"), sizes, dtype, device)
    told = 0
    for step in range(training.steps):
        batch = assemble(data, {source: next(index) for source, index in indices.items()})
        result = objective.step(batch, next(noise))
        norm = optimiser.step(result.gradient, result.loss)
        if spec.variant.combiner.needs_gram:
            history.every_step(result)
        if history.due(step):
            history.record(step, result, norm, optimiser.learning_rate)
            if progress is not None:
                progress(step + 1 - told)
                told = step + 1
            if watch is not None and watch(step + 1, model, optimiser.alive.cpu().numpy()):
                break
    return TrainedStack(model.cpu(), optimiser.alive.cpu().numpy(), history.arrays())


def _setups(spec: FitSpec, sizes: Mapping[str, int], device: torch.device | str = "cpu") -> dict[str, Setup]:
    """What each part of the variant is told at the start, by the name of its stream."""
    variants = [member.variant for member in spec.members]
    parts = {"combiner": [v.combiner for v in variants]}
    for i, penalty in enumerate(spec.variant.penalties):
        parts[f"penalty/{penalty.kind}"] = [v.penalties[i] for v in variants]
    for i, constraint in enumerate(spec.variant.constraints):
        parts[f"constraint/{constraint.name}"] = [v.constraints[i] for v in variants]
    return {
        name: Setup(
            members=members,
            design=spec.model.design,
            dims=spec.model.dims,
            sizes=sizes,
            batch_size=spec.training.batch_size,
            dtype=getattr(torch, spec.training.precision),
            generators=member_streams(spec, name),
            device=device,
        )
        for name, members in parts.items()
    }


class FrozenAwareAdam:
    """Adam under a one-cycle schedule, with clipping and freezing of each member on its own.

    A member whose loss or gradient is not finite is frozen at its last finite parameters for good:
    a gradient of zero would not hold it, since Adam's momentum goes on. The others' numbers do not
    change by it.
    """

    def __init__(self, flat: Tensor, training: TrainingSpec) -> None:
        self.flat, self.clip = flat, training.clip
        self.alive = torch.ones(flat.shape[0], dtype=torch.bool, device=flat.device)
        self._adam = torch.optim.Adam([flat], lr=training.learning_rate, fused=True)
        # One step more than is taken: the schedule refuses to be asked past its end.
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._adam, max_lr=training.learning_rate, total_steps=training.steps + 1
        )
        self._frozen: Tensor | None = None

    @property
    def learning_rate(self) -> float:
        """Learning rate of the coming step."""
        return self._adam.param_groups[0]["lr"]

    def step(self, gradient: Tensor, loss: Tensor) -> Tensor:
        """Take one step.

        Parameters
        ----------
        gradient
            (E, P), overwritten.
        loss
            (E,), only looked at for being finite.

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
        self._adam.step()
        self._schedule.step()
        if self._frozen is not None:
            self.flat[~self.alive] = self._frozen[~self.alive]
        return norm


class History:
    """Collects what happens during training, every ``log_every`` steps and at the last one."""

    def __init__(self, design: Design, training: TrainingSpec) -> None:
        self.design, self.training = design, training
        self._rows: dict[str, list] = {}

    def due(self, step: int) -> bool:
        """Whether to record this step (0-based)."""
        return (step + 1) % self.training.log_every == 0 or step + 1 == self.training.steps

    def record(self, step: int, result: Step, norm: Tensor, learning_rate: float) -> None:
        """Add a record."""
        row = {"step": step + 1, "learning_rate": learning_rate, "gradient_norm": norm}
        for k, source in enumerate(self.design.sources):
            row[f"elbo/{source}"] = result.result.elbo[k]
            row[f"weight/{source}"] = result.weights[k]
        for (source, block), value in result.result.kl.items():
            row[f"kl/{source}/{block}"] = value
        row |= result.terms
        for name, value in row.items():
            value = value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else value
            self._rows.setdefault(name, []).append(value)

    def every_step(self, result: Step) -> None:
        """Keep the weights of this step, whether or not it is recorded."""
        for source, weight in zip(self.design.sources, result.weights, strict=True):
            self._rows.setdefault(f"each/weight/{source}", []).append(weight.cpu().numpy().copy())

    def arrays(self) -> dict[str, np.ndarray]:
        """All records as arrays, time first."""
        return {name: np.asarray(values) for name, values in self._rows.items()}
