"""Train one replicate stack: many members of equal shapes in one process, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from cdgm.config.fit import FitSpec
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.models.source_data import SourceData, assemble
from cdgm.models.stacks import flatten_parameters, weight_mask
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.lagrangian import Drawn, Lagrangian
from cdgm.training.batches import dropout_masks, shuffled_indices, standard_normals
from cdgm.training.device import device_of
from cdgm.training.heap import keep_freed_memory
from cdgm.training.history import History
from cdgm.training.optimiser import FrozenAwareAdam
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


def member_streams(spec: FitSpec, stage: str, *names: str | int) -> list[np.random.Generator]:
    """One random stream a member, named by stage, data set, seed and ``names``, and by nothing else.

    ``names`` are what shapes the draw (a block, a layer's sizes). The variant and all settings of the
    training stay out of the name, so fits of one seed start from equal weights and see equal batches and
    equal noise: their differences are those of what is compared. Members of a sweep share their seed's
    streams; further starts of a seed have their own. A member's stream does not depend on its neighbours in
    the stack.
    """
    return [
        stream(
            stage, spec.dataset, *names, m.seed, *(("start", m.start) if m.start else ()), root=spec.root_seed
        )
        for m in spec.members
    ]


def noise_streams(
    spec: FitSpec, model: ComparativeVAE, inactive: bool, *names: str
) -> dict[str, list[list[np.random.Generator]]]:
    """Streams of the posteriors' noise, block to a list (sources x E): one a source, block and member."""
    return {
        block: [member_streams(spec, "noise", *names, s, block, dim) for s in model.encoded(block, inactive)]
        for block, dim in spec.model.dims.items()
    }


def dropout_streams(
    spec: FitSpec, model: ComparativeVAE, inactive: bool, *names: str
) -> dict[tuple[str, int], tuple[int, list[list[np.random.Generator]]]]:
    """Width and streams (sources x E) of the dropout of each (network, hidden layer); empty without dropout.

    The rate is no part of a stream's name: what a small one drops, a larger one drops too.
    """
    if not spec.model.dropout:
        return {}
    networks = {
        f"encoders.{block}": (model.encoded(block, inactive), spec.model.encoder_hidden)
        for block in spec.model.dims
    } | {"decoder": (spec.model.design.sources, spec.model.decoder_hidden)}
    return {
        (network, i): (
            width,
            [member_streams(spec, "dropout", *names, s, network, i, width) for s in sources],
        )
        for network, (sources, widths) in networks.items()
        for i, width in enumerate(widths)
    }


def build_model(spec: FitSpec, n_features: int, n_covariates: int = 0) -> ComparativeVAE:
    """An untrained stack with the start values of ``spec``, on the CPU.

    Every layer has a stream of its own, named by its place and its sizes: models that differ in the
    dimension of one block share the start values of all layers of equal sizes. A ``start`` of the training
    then writes its own over some of them.
    """
    model = ComparativeVAE(spec.model, n_features, len(spec.members), n_covariates)
    model.to(getattr(torch, spec.training.precision))
    model.reset(lambda layer, sizes: member_streams(spec, "initialise", layer, *sizes))
    if spec.training.start is not None:
        spec.training.start.apply(model, [member.seed for member in spec.members], spec.root_seed)
    return model


def train(
    spec: FitSpec,
    x: Mapping[str, np.ndarray],
    replicates: Sequence[int],
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
    covariates: Mapping[str, np.ndarray] | None = None,
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
        Called after each record of the history with the number of steps since the last call.
    watch
        Called after each record of the history with the number of finished steps, the stack and which
        members are finite (E,); True ends training. It must not modify its arguments.
    covariates
        Covariates of each source's training rows (R, n, C), for a model that has some.
    """
    keep_freed_memory()
    training, design = spec.training, spec.model.design
    dtype, device = getattr(torch, training.precision), device_of(training.device)
    data = {
        source: SourceData(
            x[source], replicates, spec.model.likelihood, dtype, device, (covariates or {}).get(source)
        )
        for source in design.sources
    }
    first = data[design.sources[0]]
    model = build_model(spec, first.n_features, first.n_covariates).to(device)
    flat = flatten_parameters(model, model.n_members)
    objective = Lagrangian(
        model, flat, spec.variant, _contexts(spec, {s: d.n for s, d in data.items()}, device)
    )
    optimiser = FrozenAwareAdam(flat, training, weight_mask(model))
    history = History(design, training)

    batches = _batches(spec, model, data, objective.inactive, training.batch_size)
    # Streams of their own, so that the steps see the same rows and noise with and without a second batch.
    rows = spec.variant.combiner.weight_rows
    second = None if rows is None else _batches(spec, model, data, False, rows, "weights")
    held = 0 if training.start is None else round(training.start.decoder_held * training.steps)
    decoder = flat[:, sum(p[0].numel() for p in model.encoders.parameters()) :]
    reported = 0
    for step in range(training.steps):
        with torch.inference_mode():  # a third of the time of small operations is autograd's bookkeeping
            result = objective.step(*next(batches), None if second is None else next(second))
            before = decoder.clone() if step < held else None
            norm = optimiser.step(result.gradient, result.loss)
            # Adam's averages go on: without them its first step would be the largest of all.
            if before is not None:
                decoder.copy_(before)
        if spec.variant.combiner.needs_gram:
            history.every_step(result)
        if history.due(step):
            history.record(step, result, norm, optimiser.learning_rate)
            if progress is not None:
                progress(step + 1 - reported)
                reported = step + 1
            if watch is not None and watch(step + 1, model, optimiser.alive.cpu().numpy()):
                break
    return TrainedStack(model.cpu(), optimiser.alive.cpu().numpy(), history.arrays())


def _batches(
    spec: FitSpec,
    model: ComparativeVAE,
    data: Mapping[str, SourceData],
    inactive: bool,
    rows: int,
    *names: str,
) -> Iterator[Drawn]:
    """Endless batches of ``rows`` of each source with noise for the blocks, from streams with ``names``."""
    indices = {
        source: shuffled_indices(member_streams(spec, "batches", *names, source), of_source.n, rows)
        for source, of_source in data.items()
    }
    like = getattr(torch, spec.training.precision), next(model.parameters()).device
    noise = standard_normals(noise_streams(spec, model, inactive, *names), spec.model.dims, rows, *like)
    layers = dropout_streams(spec, model, inactive, *names)
    masks = dropout_masks(
        {layer: streams for layer, (_, streams) in layers.items()},
        {layer: width for layer, (width, _) in layers.items()},
        spec.model.dropout,
        rows,
        *like,
    )
    while True:
        batch = assemble(data, {source: next(index) for source, index in indices.items()})
        yield replace(batch, masks=next(masks)) if layers else batch, next(noise)


def _contexts(
    spec: FitSpec, sizes: Mapping[str, int], device: torch.device | str = "cpu"
) -> dict[str, ObjectiveContext]:
    """Context of each part of the variant, by the name of its stream."""
    variants = [member.variant for member in spec.members]
    parts: dict[str, list[Any]] = {"combiner": [v.combiner for v in variants]}
    for i, penalty in enumerate(spec.variant.penalties):
        parts[f"penalty/{penalty.kind}"] = [v.penalties[i] for v in variants]
    for i, constraint in enumerate(spec.variant.constraints):
        parts[f"constraint/{constraint.name}"] = [v.constraints[i] for v in variants]
    if spec.variant.kl_schedule:
        parts["kl_schedule"] = variants
    return {
        name: ObjectiveContext(
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
