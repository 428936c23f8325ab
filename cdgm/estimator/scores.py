"""Scores that need no truth: ELBOs, agreement of members, and traces of blocks, sources and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdgm.estimator.interpretation import (
    by_severity,
    check_crossing,
    check_effect,
    check_training,
    interpret,
    summarise,
)
from cdgm.estimator.leakage import floors, leakage_rows
from cdgm.estimator.leakage_checks import OWN_FITS, TOLD_FITS, Advice
from cdgm.estimator.split import HELD_OUT, TRAIN
from cdgm.evaluation.metrics.stability import pair_rows
from cdgm.reports.fit_report import Check
from cdgm.utils.errors import UserError
from cdgm.utils.files import write_csv
from cdgm.utils.progress import progress
from cdgm.utils.random_streams import stream

if TYPE_CHECKING:
    from cdgm.estimator.queries import Queries

LEAKAGE_COLUMNS = [
    "member", "seed", "metric", "block", "source", "value", "null_mean", "null_high", "p", "trace",
    "rows", "split",
]  # fmt: skip
STABILITY_COLUMNS = [
    "block", "member_a", "member_b", "active_a", "active_b", "agreement", "null_high",
    "r2", "r2_null_high", "rows", "split",
]  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """Tables of a fit; for their columns see the methods of ``ComparativeModel``.

    Attributes
    ----------
    elbo
        Has a column ``elbo_train`` more: the ELBO of training rows, from one posterior sample a row.
    leakage
        See :func:`leakage_table`.
    stability
        None for a single member.
    genes, effects
        Ranking and differential expression of the first private block; None without one.
    private
        Blocks that belong to some of the sources only.
    label, batch
        Names of the labels and of the batches; ``batch`` is "" without.
    advice
        What to do about what is found.
    whole
        Checks of the fit as a whole: length of training, batches beside sources, size of the effect.
    """

    elbo: pd.DataFrame
    leakage: pd.DataFrame
    stability: pd.DataFrame | None
    genes: pd.DataFrame | None
    effects: pd.DataFrame | None
    private: tuple[str, ...]
    label: str
    batch: str
    advice: Advice
    whole: tuple[Check, ...]

    @classmethod
    def of(cls, model: Queries, split: str | None = None) -> Scores:
        """Score a trained model; ELBOs are on held-out rows unless ``split`` is given."""
        elbo, train = model.get_elbo(split or HELD_OUT), model.get_elbo(TRAIN, draws=1)
        # Both tables list members and sources in the same order.
        elbo.insert(list(elbo.columns).index("elbo") + 1, "elbo_train", train["elbo"])
        design = model.model_spec.design
        private = tuple(b for b, driven in design.blocks.items() if len(driven) < len(design.sources))
        observed, ensemble = model.observations, model.ensemble
        registration, usual = observed.registration, model.protocol["training"]["steps"]
        batch = (registration and registration.scored_batch) or ""
        ended = np.flatnonzero(ensemble.stopping.stopped_early) if ensemble.stopping else ()
        checks = check_training(model.history, usual, [model.seeds[e] for e in ended])
        batches = observed.batch
        if batches is not None:
            checks += check_crossing(observed.source, batches, batch)
        effects = model.differential_expression() if private else None
        if effects is not None:
            checks += check_effect(elbo, effects, private)
        return cls(
            elbo,
            model.get_leakage(split=split),
            model.stability(split=split) if len(ensemble.members()) > 1 else None,
            model.rank_genes() if private else None,
            effects,
            private,
            (registration and registration.labels_key) or "the label",
            batch,
            TOLD_FITS if batch in model.model_spec.covariates else OWN_FITS,
            tuple(checks),
        )

    def checks(self) -> list[Check]:
        """Conclusions, strongest objections first; see :mod:`cdgm.estimator.interpretation`."""
        found = interpret(self.elbo, self.leakage, self.stability, self.label, self.batch, self.advice)
        return by_severity([*self.whole, *found])

    def summary(self) -> Check:
        """One sentence on the whole fit."""
        return summarise(self.checks(), self.private)

    def write(self, folder: Path) -> None:
        """Write the tables that exist into a folder, a CSV file each."""
        tables = {
            "elbo": self.elbo,
            "leakage": self.leakage,
            "stability": self.stability,
            "genes": self.genes,
            "differential_expression": self.effects,
        }
        for name, table in tables.items():
            if table is not None:
                write_csv(folder / f"{name}.csv", table, digits=6)


def elbo_table(model: Queries, split: str, draws: int) -> pd.DataFrame:
    """See ``ComparativeModel.get_elbo``."""
    x = model.network_input(split)
    elbo, kl = model.ensemble.bounds(x, draws, model.network_covariates(split))
    rows = []
    for e, seed in enumerate(model.seeds):
        for source, values in elbo.items():
            one = {
                "member": e, "seed": seed, "finite": bool(model.ensemble.finite[e]), "split": split,
                "source": source, "rows": x[source].shape[1], "elbo": float(values[e]),
            }  # fmt: skip
            rows.append(one | {f"kl_{b}": float(v[e]) for (s, b), v in kl.items() if s == source})
    return pd.DataFrame(rows)


def stability_table(model: Queries, split: str, draws: int) -> pd.DataFrame:
    """Agreement of each pair of members on each block, after the best linear alignment.

    A block is identified up to a rotation at best, so single coordinates cannot be compared. Members that
    disagree at equally good ELBOs show that data and model do not determine the block. Members that agree do
    not prove that they do: they share architecture and training, which may favour one of many equally
    good answers.

    Parameters
    ----------
    model
        A trained model of two members or more.
    split
        Rows that are compared: for each block those of the sources that it drives.
    draws
        Permutations of the null, drawn for the first pair and used for all.

    Returns
    -------
    DataFrame
        A row a block and pair. ``active_a``, ``active_b``: principal axes of each member's block with a
        variance above .05. ``agreement``: mean canonical correlation over the larger of these numbers, where
        a missing axis counts 0; directions are fitted on half of the rows and scored on the other. ``r2``:
        share of the variance of one member's block that the other's explains linearly, the lower of both
        directions, scored likewise; weak axes count little. ``null_high``, ``r2_null_high``: 95 % quantiles
        of both with rows permuted. NaN where both blocks are empty.

    Raises
    ------
    UserError
        If fewer than two members are finite.
    """
    members = model.ensemble.members()
    if len(members) < 2:
        raise UserError(
            f"stability: got {len(members)} finite member, expected two or more: make it with n_members=4"
        )
    design = model.model_spec.design
    means = model.posterior_means(split)
    of_blocks = {
        block: np.concatenate([means[s, block] for s in design.sources if s in driven], axis=1)
        for block, driven in design.blocks.items()
    }
    return agreement_table(of_blocks, draws, split, members)


def agreement_table(
    latents: Mapping[str, np.ndarray], draws: int, split: str, members: Sequence[int] | None = None
) -> pd.DataFrame:
    """Agreement of fits on each block: see :func:`stability_table`.

    Parameters
    ----------
    latents
        Block to latents of the same rows (E, n, d).
    draws
        Permutations of the null.
    split
        Name of the rows, for the table.
    members
        Positions of the fits that are compared; by default all.
    """
    rows = []
    with progress("agreement of members", len(latents), "blocks") as advance:
        for block, whole in latents.items():
            pairs = pair_rows(whole, stream("own data", "stability", block, root=0), draws, members)
            rows += [{"block": block, **pair, "split": split} for pair in pairs]
            advance(1)
    return pd.DataFrame(rows, columns=STABILITY_COLUMNS)


def leakage_table(model: Queries, member: int | str, split: str, draws: int) -> pd.DataFrame:
    """Traces of blocks, sources and labels where there should be none, each against its permutation null.

    Parameters
    ----------
    model
        A trained model.
    member
        Which fit, or ``"all"``.
    split
        Rows that are scored: ``held_out``, ``train`` or ``all``.
    draws
        Permutations of each null.

    Returns
    -------
    DataFrame
        A row a member and question. ``metric`` names the question:

        ``hsic``
            Do two blocks depend on each other, over the rows of a source that both drive? Unbiased HSIC on
            500 rows at most, ``p`` from permutations.
        ``source_mixing``
            Does a shared block separate the sources? Share of a source's own cells among 50 neighbours,
            over expectation: 1 mixed, 2 apart (for two sources).
        ``source_separation``
            The same as one number: balanced accuracy of predicting the source from neighbours.
        ``source_separation_linear``
            How much of it a shift of the means explains: balanced accuracy of a linear discriminant
            (:func:`cdgm.evaluation.metrics.source_mixing.linear_separation`).
        ``knn_accuracy``
            Do neighbours in a block predict the labels of a source's cells? Only with labels. A trace in the
            shared block is leakage only for labels of something that the target alone has.
        ``batch_accuracy``
            Do neighbours in a block predict the batch of a source's cells? Only with ``batch_key``.
        ``axis_asymmetry``
            Has a shared block an axis that is alive in one source and idle in another? Largest ratio of an
            axis's variances, ``source`` names both (``target&background``): 1 if nothing moved, above 3 if a
            dimension of the first one's own block did (:mod:`cdgm.evaluation.metrics.asymmetric_axes`).

        ``null_mean``, ``null_high`` are mean and 95 % quantile over permutations; ``trace`` is True where
        the value lies above the latter. With ``batch_key`` all permutations but those of batches stay within
        batches, and ``floor`` is the score that the sums of the cells' values alone reach.
    """
    members, design = model.ensemble.members(member), model.model_spec.design
    means, rows = model.posterior_means(split), model.split.rows(split)
    observed = model.observations
    labels = {s: observed.labels_of(s)[rows[s]] for s in design.sources}
    known = {s: observed.batches_of(s) for s in design.sources}
    found_batches = {s: values[rows[s]] for s, values in known.items() if values is not None}
    batches = found_batches or None
    found = []
    with progress("leakage", len(members), "members") as advance:
        for e in members:
            rng = stream("own data", "leakage", model.seeds[e], root=0)
            own = leakage_rows(
                design, {key: values[e] for key, values in means.items()}, labels, rng, draws, batches
            )
            found += [{"member": e, "seed": model.seeds[e], "split": split} | r for r in own]
            advance(1)
    table = pd.DataFrame(found).assign(trace=lambda t: t["value"] > t["null_high"])
    if batches is None:
        return table[LEAKAGE_COLUMNS]
    sums = {s: observed.x[s][rows[s]].sum(axis=1, dtype=np.float64) for s in design.sources}
    table["floor"] = floors(table, design, sums, labels, batches)
    at = LEAKAGE_COLUMNS.index("p")
    return table[[*LEAKAGE_COLUMNS[:at], "floor", *LEAKAGE_COLUMNS[at:]]]
