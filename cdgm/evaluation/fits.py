"""Score a trained stack on held-out data: one table of tidy rows a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cdgm.config.evaluation import EvaluationSpec
from cdgm.config.fit import FitSpec
from cdgm.config.latent_twist import Twist
from cdgm.data.bundle import Bundle
from cdgm.data.cell_table import CellTable
from cdgm.evaluation.metrics.asymmetric_axes import axis_asymmetry
from cdgm.evaluation.metrics.independence import spread_rows
from cdgm.evaluation.metrics.nulls import row
from cdgm.evaluation.metrics.split_half import halves
from cdgm.evaluation.metrics.truth_scores import Nulls, draw_nulls, score_member
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.models.inference import held_out_bounds, posterior_means, posteriors
from cdgm.objectives.constraints.base import NULL_ROWS
from cdgm.utils.joint_names import JOINT
from cdgm.utils.random_streams import stream

Blocks = Mapping[str, np.ndarray]
Rows = list[dict[str, Any]]
# Split, source and block to posterior means (E, n, d).
Means = dict[tuple[str, str, str], np.ndarray]


def embed(model: ComparativeVAE, bundle: Bundle, members: Sequence[int]) -> Means:
    """Posterior means of all rows of a bundle, for each replicate in ``members`` (E,)."""
    means = {}
    for split, sources in bundle.x.items():
        covariates = bundle.covariates_of(split, model.spec.covariates)
        for source in model.design.sources:
            known = (covariates or {}).get(source)
            for block, mean in posterior_means(model, sources[source], members, source, known).items():
                means[split, source, block] = mean
    return means


def member_rows(member: int, spec: FitSpec, finite: np.ndarray, rows: Rows) -> Rows:
    """Rows of one member, with the columns that identify it."""
    this = spec.members[member]
    which = {"point": this.point, "seed": this.seed, "member": member, "finite": bool(finite[member])}
    return [which | r for r in rows]


def bound_rows(
    spec: FitSpec, evaluation: EvaluationSpec, model: ComparativeVAE, bundle: Bundle, members: Sequence[int]
) -> list[Rows]:
    """Held-out ELBOs, KL terms and learned noise, a list of rows for each member."""
    generators = [
        stream("evaluate", "bounds", spec.dataset, m.seed, root=spec.root_seed) for m in spec.members
    ]
    covariates = bundle.covariates_of("test", spec.model.covariates)
    elbo, kl = held_out_bounds(
        model, bundle.x["test"], members, generators, evaluation.elbo_draws, covariates
    )
    learned = model.likelihood.summary(dict(model.likelihood_parameters))
    return [
        [
            *(row(source, "", "", "elbo", value[e]) for source, value in elbo.items()),
            *(row(source, block, "", "kl", value[e]) for (source, block), value in kl.items()),
            *(row("", "", "", name, value[e].item()) for name, value in learned.items()),
        ]
        for e in range(model.n_members)
    ]


def axis_rows(spec: FitSpec, evaluation: EvaluationSpec, means: Means, splits: Sequence[str]) -> list[Rows]:
    """Asymmetry of the axes of shared blocks over all rows of some splits, for each member."""
    rows: list[Rows] = [[] for _ in spec.members]
    design = spec.model.design
    for block in design.blocks:
        for pair in design.comparisons(block):
            alive, idle = (
                np.concatenate([means[s, source, block] for s in splits], axis=1) for source in pair
            )
            for e, member in enumerate(spec.members):
                rng = stream("evaluate", "axes", spec.dataset, block, *pair, member.seed, root=spec.root_seed)
                value, _, null = axis_asymmetry(alive[e], idle[e], rng, evaluation.null_draws)
                rows[e].append(row(JOINT.join(pair), block, "", "axis_asymmetry", value, null))
    return rows


def constraint_rows(
    spec: FitSpec, model: ComparativeVAE, bundle: Bundle, members: Sequence[int]
) -> list[Rows]:
    """Value and level of each constraint on training and on held-out rows, for each member.

    Both are formed on as many rows as the constraint's own null has, or on all where a source has fewer.
    """
    rows: list[Rows] = [[] for _ in spec.members]
    constraints = [c for c in spec.variant.constraints if c.can_assess]
    if not constraints:
        return rows
    for split, ending in (("train", "_train"), ("test", "")):
        generators = [
            stream("evaluate", "constraints", split, spec.dataset, m.seed, root=spec.root_seed)
            for m in spec.members
        ]
        some = {s: spread_rows(values.shape[1], NULL_ROWS) for s, values in bundle.x[split].items()}
        x = {s: bundle.x[split][s][:, rows] for s, rows in some.items()}
        covariates = bundle.covariates_of(split, spec.model.covariates)
        if covariates is not None:
            covariates = {s: values[:, some[s]] for s, values in covariates.items()}
        found = posteriors(model, x, members, generators, covariates)
        for constraint in constraints:
            i = spec.variant.constraints.index(constraint)
            own = [member.variant.constraints[i] for member in spec.members]
            value, level = constraint.assess(own, found, spec.model.design)
            for e, of_member in enumerate(rows):
                name = constraint.name
                of_member.append(row("", name, "", f"constraint_value{ending}", value[e].item()))
                of_member.append(row("", name, "", f"constraint_level{ending}", level[e].item()))
    return rows


def score_simulation(
    spec: FitSpec, evaluation: EvaluationSpec, bundle: Bundle, members: Sequence[int], means: Means
) -> Iterator[Rows]:
    """Recovery, leakage and their relatives against the simulated truth, member after member."""
    # Members of a point of a sweep share a null: it depends on sizes and on how full the blocks are.
    nulls: dict[str, Nulls] = {}
    for e, replicate in enumerate(members):
        truths = {
            source: {block: values[replicate] for block, values in blocks.items()}
            for source, blocks in bundle.truth["test"].items()
        }
        estimates = {
            source: {block: means["test", source, block][e] for block in blocks}
            for source, blocks in truths.items()
        }
        rng = stream("evaluate", "permutations", spec.dataset, spec.members[e].seed, root=spec.root_seed)
        point = spec.members[e].point
        if point not in nulls:
            nulls[point] = draw_nulls(estimates, truths, rng, draws=evaluation.null_draws)
        twisted = twisted_truths(evaluation, own_basis(spec, estimates, truths))
        yield score_member(estimates, truths, twisted, rng, nulls[point])


def own_basis(
    spec: FitSpec, estimates: Mapping[str, Blocks], truths: Mapping[str, Blocks]
) -> Mapping[str, Blocks]:
    """Truths in the basis in which a model with a twist turns its pairs; the same truths for others.

    A block is identified up to a rotation at best, and which coordinates a twisted decoder pairs is
    its own choice of one. So before its twist is laid on the truth, the truth is rotated to the model's
    untwisted means: the orthogonal Procrustes map, fitted on the half of the points that scores do not use.
    """
    twist = spec.model.twist
    if twist is None:
        return truths
    rotated = {}
    for source, blocks in truths.items():
        rotated[source] = dict(blocks)
        if twist.block in blocks and twist.by in blocks:
            untwisted = twist.apply(dict(estimates[source]), np, inverse=True)[twist.block]
            truth = blocks[twist.block]
            fitted, _ = halves(len(truth))
            width = max(untwisted.shape[1], truth.shape[1])
            a, b = (np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (truth, untwisted))
            u, _, vt = np.linalg.svd(a[fitted].T @ b[fitted])
            rotated[source][twist.block] = (a @ (u @ vt))[:, : truth.shape[1]]
    return rotated


def twisted_truths(
    evaluation: EvaluationSpec, truths: Mapping[str, Blocks]
) -> dict[float, dict[str, dict[str, np.ndarray]]]:
    """Truths under each twist that is scored, for the sources in which both its blocks are active."""
    if evaluation.twist is None:
        return {}
    block, by = evaluation.twist.block, evaluation.twist.by
    return {
        angle: {
            source: Twist(angle=angle, block=block, by=by).apply(dict(blocks), np)
            for source, blocks in truths.items()
            if block in blocks and by in blocks
        }
        for angle in evaluation.twist.angles
    }


def score_cells(
    spec: FitSpec,
    evaluation: EvaluationSpec,
    cells: CellTable,
    means: Means,
    batches: Sequence[str] = (),
) -> Iterator[Rows]:
    """Label, clustering and mixing scores of each latent space, member after member.

    All cells of both splits are scored: labels never enter training, so there is nothing to hold out. Columns
    of ``batches`` are scored whether or not the model was told them.
    """
    # Here and not above: evaluations of simulations are many and short, and need none of what this loads.
    from cdgm.evaluation.metrics.latent_space_scores import batch_rows, score_space

    for e, member in enumerate(spec.members):
        rows: Rows = []
        own = cells.of(member.seed)
        for block in spec.model.design.blocks:
            latent = own.join({(split, s): m[e] for (split, s, b), m in means.items() if b == block})
            rng = stream("evaluate", "cells", spec.dataset, block, member.seed, root=spec.root_seed)
            rows += score_space(
                latent, own.source, own.label, block, strata=own.strata, rng=rng,
                draws=evaluation.null_draws,
            )  # fmt: skip
            for name in batches:
                rng = stream(
                    "evaluate", "batches", spec.dataset, block, name, member.seed, root=spec.root_seed
                )
                batch = own.table[name].to_numpy(dtype=str)
                rows += batch_rows(latent, own.source, batch, block, name, rng, evaluation.null_draws)
        yield rows
