"""Scores that need no truth: ELBOs, agreement of members, and traces of blocks, sources and labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cdgm.config.design import Design
from cdgm.estimator.interpretation import by_severity, check_training, interpret, summarise
from cdgm.estimator.split import HELD_OUT, TRAIN
from cdgm.evaluation.metrics.asymmetric_axes import axis_asymmetry
from cdgm.evaluation.metrics.independence import TEST_POINTS, hsic_test
from cdgm.evaluation.metrics.label_scores import NEIGHBOURS, knn_accuracy, neighbours
from cdgm.evaluation.metrics.latent_space_scores import score_space
from cdgm.evaluation.metrics.nulls import row, summary
from cdgm.evaluation.metrics.stability import pair_rows
from cdgm.reports.fit_report import Check
from cdgm.utils.errors import UserError
from cdgm.utils.files import write_csv
from cdgm.utils.joint_names import JOINT
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
MIXING = ("source_mixing", "source_separation")
#: Cells among which neighbours are sought, at most: the cost grows with the square.
MOST_CELLS = 12_000


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
    genes
        None without a private block.
    private
        Blocks that belong to some of the sources only.
    label
        Name of the labels.
    training
        Whether training was long enough.
    """

    elbo: pd.DataFrame
    leakage: pd.DataFrame
    stability: pd.DataFrame | None
    genes: pd.DataFrame | None
    private: tuple[str, ...]
    label: str
    training: tuple[Check, ...]

    @classmethod
    def of(cls, model: Queries, split: str | None = None) -> Scores:
        """Score a trained model; ELBOs are on held-out rows unless ``split`` is given."""
        elbo, train = model.get_elbo(split or HELD_OUT), model.get_elbo(TRAIN, draws=1)
        # Both tables list members and sources in the same order.
        elbo.insert(list(elbo.columns).index("elbo") + 1, "elbo_train", train["elbo"])
        design = model.model_spec.design
        private = tuple(b for b, driven in design.blocks.items() if len(driven) < len(design.sources))
        registration, ensemble = model.observations.registration, model.ensemble
        usual = model.protocol["training"]["steps"]
        return cls(
            elbo,
            model.get_leakage(split=split),
            model.stability(split=split) if len(ensemble.members()) > 1 else None,
            model.rank_genes() if private else None,
            private,
            (registration and registration.labels_key) or "the label",
            tuple(check_training(model.history, usual, ensemble.stopping is not None)),
        )

    def checks(self) -> list[Check]:
        """Conclusions, strongest objections first; see :mod:`cdgm.estimator.interpretation`."""
        return by_severity([*self.training, *interpret(self.elbo, self.leakage, self.stability, self.label)])

    def summary(self) -> Check:
        """One sentence on the whole fit."""
        return summarise(self.checks(), self.private)

    def write(self, folder: Path) -> None:
        """Write ``elbo.csv``, ``leakage.csv``, ``stability.csv`` and ``genes.csv``, those that exist."""
        for name in ("elbo", "leakage", "stability", "genes"):
            table = getattr(self, name)
            if table is not None:
                write_csv(folder / f"{name}.csv", table, digits=6)


def elbo_table(model: Queries, split: str, draws: int) -> pd.DataFrame:
    """See ``ComparativeModel.get_elbo``."""
    x = model.network_input(split)
    elbo, kl = model.ensemble.bounds(x, draws)
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
    design, rows = model.model_spec.design, []
    means = model.ensemble.means(model.network_input(split))
    with progress("agreement of members", len(design.blocks), "blocks") as advance:
        for block, driven in design.blocks.items():
            whole = np.concatenate([means[s, block] for s in design.sources if s in driven], axis=1)
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
        ``knn_accuracy``
            Do neighbours in a block predict the labels of a source's cells? Only with labels. A trace in the
            shared block is leakage only for labels of something that the target alone has.
        ``axis_asymmetry``
            Has a shared block an axis that is alive in one source and idle in another? Largest ratio of an
            axis's variances, ``source`` names both (``target&background``): 1 if nothing moved, above 3 if a
            dimension of the first one's own block did (:mod:`cdgm.evaluation.metrics.asymmetric_axes`).

        ``null_mean``, ``null_high`` are mean and 95 % quantile over permutations; ``trace`` is True where
        the value lies above the latter.
    """
    members, sources = model.ensemble.members(member), model.model_spec.design.sources
    means, rows = model.ensemble.means(model.network_input(split)), model.split.rows(split)
    source = np.concatenate([np.full(len(rows[s]), s) for s in sources])
    label = np.concatenate([model.observations.labels_of(s)[rows[s]] for s in sources])
    found = []
    with progress("leakage", len(members), "members") as advance:
        for e in members:
            rng = stream("own data", "leakage", model.seeds[e], root=0)
            of_member = {key: values[e] for key, values in means.items()}
            own = [*_dependence(model.model_spec.design, of_member, draws, rng)]
            own += _separation(model.model_spec.design, of_member, source, label, draws, rng)
            own += _asymmetry(model.model_spec.design, of_member, draws, rng)
            found += [{"member": e, "seed": model.seeds[e], "p": np.nan, "split": split} | r for r in own]
            advance(1)
    table = pd.DataFrame(found).assign(trace=lambda t: t["value"] > t["null_high"])
    return table[LEAKAGE_COLUMNS]


def _dependence(
    design: Design, means: Mapping[tuple[str, str], np.ndarray], draws: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """HSIC of each pair of blocks on the rows of each source that both drive."""
    for source in design.sources:
        for first, second in combinations(design.active(source), 2):
            x, y = means[source, first], means[source, second]
            value, p, null = hsic_test(x, y, rng, draws)
            found = row(source, JOINT.join([first, second]), "", "hsic", value, null)
            yield _reported(found) | {"p": p, "rows": min(len(x), TEST_POINTS)}


def _asymmetry(
    design: Design, means: Mapping[tuple[str, str], np.ndarray], draws: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Axes of each shared block that are alive in one source alone."""
    for block in design.blocks:
        for alive, idle in design.comparisons(block):
            above, below = means[alive, block], means[idle, block]
            value, p, null = axis_asymmetry(above, below, rng, draws)
            found = row(JOINT.join([alive, idle]), block, "", "axis_asymmetry", value, null)
            yield _reported(found) | {"p": p, "rows": len(above) + len(below)}


def _separation(
    design: Design,
    means: Mapping[tuple[str, str], np.ndarray],
    source: np.ndarray,
    label: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """How well each block separates the sources that share it, and labels."""
    for block, driven in design.blocks.items():
        inside = np.isin(source, driven)
        latent = np.concatenate([means[s, block] for s in design.sources if s in driven])
        some = np.sort(rng.permutation(len(latent))[:MOST_CELLS])
        latent, own, labels = latent[some], source[inside][some], label[inside][some]
        # Without labels only the mixing of sources is scored, and nothing where one source is alone.
        for found in score_space(latent, own, np.full(len(own), ""), block, rng=rng, draws=draws):
            if found["metric"] in MIXING:
                yield _reported(found) | {"rows": len(own)}
        for name in driven:
            rows = (own == name) & (labels != "")
            codes = np.unique(labels[rows], return_inverse=True)[1]
            if len(codes) < 3 or codes.max() == 0:
                continue
            nearest = neighbours(latent[rows], NEIGHBOURS, rng)
            drawn = np.array([knn_accuracy(rng.permutation(codes), nearest) for _ in range(draws)])
            value = knn_accuracy(codes, nearest)
            found = _reported(row(name, block, "", "knn_accuracy", value, summary(drawn)))
            yield found | {"p": (1 + (drawn >= value).sum()) / (1 + draws), "rows": len(codes)}


def _reported(found: Mapping[str, object]) -> dict[str, Any]:
    return {key: found[key] for key in ("metric", "block", "source", "value", "null_mean", "null_high")}
