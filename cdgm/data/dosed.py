"""Continuous doses with known effects on real counts, some of which grow while others fall.

Cells are split at random into two sources. A target cell gets a dose of each of several agents; molecules
of one half of an agent's genes are lost and those of the other half are multiplied, the more the higher the
dose, and more in some cells than in others: the effect depends on the cell's own state, the first principal
component of what was measured. Optional flaws are those of real screens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from cdgm.config.dataset import BACKGROUND, TARGET, Doses
from cdgm.data.count_matrix import Csr
from cdgm.utils.errors import UserError

ESCAPER = "escaper"


@dataclass(frozen=True)
class Dosed:
    """Result of :func:`give_doses`.

    Attributes
    ----------
    counts
        New counts, CSR (cells, genes).
    source
        ``"background"`` or ``"target"``, (cells,).
    label
        Agent of the highest dose of a target cell, or ``"escaper"``; empty for background cells, (cells,).
    batch
        ``"1"`` or ``"2"``, (cells,).
    dose
        Doses between 0 and 1, (cells, agents) float32; 0 where a cell got none.
    genes, program
        Positions of the genes that an agent acts on, and what it does to each, same shapes.
    """

    counts: Csr
    source: np.ndarray
    label: np.ndarray
    batch: np.ndarray
    dose: np.ndarray
    genes: np.ndarray
    program: np.ndarray


def give_doses(counts: Csr, options: Doses, rng: np.random.Generator) -> Dosed:
    """Split cells at random into two sources and give doses to those of the target.

    A molecule of a gene that falls stays with probability exp(-a), and a count x of a gene that rises gets
    Poisson(x (exp(a) - 1)) more, with a = strength x dose x (1 + dependence x state) and a state between -1
    and 1. A cell that would lose all of its molecules keeps them all.

    Parameters
    ----------
    counts
        Integer counts, CSR (cells, genes); not changed.
    options
        Number, size and flaws of the effects.
    rng
        Source of all randomness.

    Raises
    ------
    UserError
        If there are too few expressed genes or cells.
    """
    cells, genes = counts.shape
    total = np.asarray(counts.sum(axis=0)).ravel()
    if options.most_expressed > (expressed := int((total > 0).sum())):
        raise UserError(
            f"doses: most_expressed: got {options.most_expressed}, expected at most the {expressed} genes "
            "with a count"
        )
    in_target = round(options.target_fraction * cells)
    if in_target < 2 or cells - in_target < 2:
        raise UserError(
            f"doses: target_fraction: got {options.target_fraction} of {cells} cells, expected at least 2 "
            "cells in each source"
        )
    order = rng.permutation(cells)
    target, background = order[:in_target], order[in_target:]
    source = np.full(cells, BACKGROUND, dtype=object)
    source[target] = TARGET
    # The order is random already, so that the first cells of each source are a random draw of it.
    dosed = [
        target[round(options.escapers * in_target) :],
        background[: round(options.contaminated * len(background))],
    ]
    exposed = np.concatenate(dosed)
    dose = np.zeros((cells, options.agents))
    dose[exposed] = rng.uniform(size=(len(exposed), options.agents))
    names = np.array([f"agent {i + 1}" for i in range(options.agents)], dtype=object)
    label = np.where(dose.any(axis=1), names[dose.argmax(axis=1)], ESCAPER)
    label[source == BACKGROUND] = ""

    candidates = np.argsort(-total, kind="stable")[: options.most_expressed]
    drawn = rng.choice(candidates, size=options.agents * options.genes_per_agent, replace=False)
    sign = np.tile(np.where(np.arange(options.genes_per_agent) % 2, 1.0, -1.0), options.agents)
    agent = np.repeat(np.arange(options.agents), options.genes_per_agent)
    # Rows of effects (agents, genes): -1 falls, 1 rises, 0 is left alone.
    effect = np.zeros((options.agents, genes))
    effect[agent, drawn] = sign
    strength = options.strength * dose * (1.0 + options.dependence * _state(counts))[:, None]

    in_second = rng.uniform(size=cells) < 0.5 + 0.5 * options.confounding * np.where(source == TARGET, 1, -1)
    lost = (
        np.abs(rng.normal(0.0, options.batch_effect, size=genes)) if options.batch_effect else np.zeros(genes)
    )

    # On the stored entries alone; only the state of cells needs a dense matrix.
    entries = counts.tocoo()
    change = np.einsum("na,an->n", strength[entries.row], effect[:, entries.col])
    change -= lost[entries.col] * in_second[entries.row]
    kept = rng.binomial(entries.data, np.exp(np.minimum(change, 0.0)))
    more = rng.poisson(entries.data * np.expm1(np.maximum(change, 0.0)))
    new = counts.copy()
    new.data = (kept + more).astype(counts.dtype)
    empty = np.asarray(new.sum(axis=1)).ravel() == 0
    restored = np.repeat(empty, np.diff(counts.indptr))
    new.data[restored] = counts.data[restored]
    new.eliminate_zeros()
    program = [f"{names[a]}, {'rises' if s > 0 else 'falls'}" for a, s in zip(agent, sign, strict=True)]
    batch = np.where(in_second, "2", "1").astype(object)
    return Dosed(new, source, label, batch, dose.astype(np.float32), drawn, np.array(program, dtype=object))


def _state(counts: Csr) -> np.ndarray:
    """State of each cell between -1 and 1 (cells,): the first component of log-normalised counts."""
    values = counts.toarray().astype(np.float64)
    totals = np.maximum(values.sum(axis=1, keepdims=True), 1.0)
    values = np.log1p(values / totals * np.median(totals))
    values -= values.mean(axis=0)
    last = values.shape[1] - 1
    axis = eigh(values.T @ values, subset_by_index=[last, last])[1][:, 0]
    score = values @ (axis * np.sign(axis[np.abs(axis).argmax()]))
    return np.tanh(score / max(float(score.std()), 1e-12))
