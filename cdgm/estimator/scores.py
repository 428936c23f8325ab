"""Numbers that need no truth: ELBOs, and traces of one block (or of the source) in another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdgm.evaluation.metrics.independence import TEST_POINTS, hsic_test
from cdgm.evaluation.metrics.label_scores import NEIGHBOURS, knn_accuracy, neighbours
from cdgm.evaluation.metrics.latent_space_scores import score_space
from cdgm.evaluation.metrics.nulls import row, summary
from cdgm.utils.joint_names import JOINT
from cdgm.utils.random_streams import stream

if TYPE_CHECKING:
    from cdgm.estimator.trainable import Trainable

LEAKAGE_COLUMNS = [
    "member", "seed", "metric", "block", "source", "value", "null_mean", "null_high", "p", "trace",
    "rows", "split",
]  # fmt: skip
MIXING = ("source_mixing", "source_separation")
#: Neighbours are sought among this many cells at most: their cost grows with the square.
MOST_CELLS = 12_000


def elbo_table(model: Trainable, split: str, draws: int) -> pd.DataFrame:
    """See ``ComparativeVAE.get_elbo``."""
    fitted, x = model.fitted, model._stack(split)
    elbo, kl = fitted.bounds(x, draws)
    rows = []
    for e, seed in enumerate(model.seeds):
        for source, values in elbo.items():
            one = {
                "member": e, "seed": seed, "finite": bool(fitted.finite[e]), "split": split, "source": source,
                "rows": x[source].shape[1], "elbo": float(values[e]),
            }  # fmt: skip
            rows.append(one | {f"kl_{b}": float(v[e]) for (s, b), v in kl.items() if s == source})
    return pd.DataFrame(rows)


def leakage_table(model: Trainable, member: int | str, split: str, draws: int) -> pd.DataFrame:
    """Traces of blocks, sources and labels where there should be none, each against its permutation null.

    Parameters
    ----------
    model
        A trained model.
    member
        Which fit, or ``"all"``.
    split
        Rows that are looked at: ``held_out``, ``train`` or ``all``.
    draws
        Permutations of each null.

    Returns
    -------
    DataFrame
        A row a member and question. ``metric`` and what it asks:

        ``hsic``
            Do two blocks depend on each other, over the rows of a source that both drive? Unbiased HSIC on
            500 rows at most, ``p`` from permutations.
        ``source_mixing``
            Does a shared block tell the sources apart? Share of a source's own cells among 50 neighbours,
            over expectation: 1 mixed, 2 apart (of two sources).
        ``source_separation``
            The same as one number: balanced accuracy of telling the sources by neighbours.
        ``knn_accuracy``
            Do neighbours in a block tell the labels of a source's cells? Only with labels. A trace in the
            shared block is leakage just if labels are of something that the target alone has.

        ``null_mean``, ``null_high`` are mean and 95 % quantile over permutations, ``trace`` says whether the
        value lies above the latter.
    """
    fitted, design = model.fitted, model.model_spec.design
    members = fitted.members(member)
    means = fitted.means(model._stack(split))
    positions = model.split.positions(split)
    source = np.concatenate([np.full(len(positions[s]), s) for s in design.sources])
    label = np.full(len(source), "")
    if model.observed.label is not None:
        label = np.concatenate(
            [model.observed.label[model.observed.rows[s][positions[s]]] for s in design.sources]
        )
    found = []
    for e in members:
        rng = stream("own data", "leakage", model.seeds[e], root=0)
        of_member = {key: values[e] for key, values in means.items()}
        rows = [r | {"rows": n} for r, n in _dependence(design, of_member, draws, rng)]
        rows += _spaces(design, of_member, source, label, draws, rng)
        found += [{"member": e, "seed": model.seeds[e], "p": np.nan, "split": split} | r for r in rows]
    table = pd.DataFrame(found).assign(trace=lambda t: t["value"] > t["null_high"])
    return table[LEAKAGE_COLUMNS]


def _dependence(design, means: Mapping[tuple[str, str], np.ndarray], draws: int, rng: np.random.Generator):
    """HSIC of each pair of blocks on the rows of each source that both drive."""
    for source in design.sources:
        for first, second in combinations(design.active(source), 2):
            x, y = means[source, first], means[source, second]
            value, p, null = hsic_test(x, y, rng, draws)
            found = row(source, JOINT.join([first, second]), "", "hsic", value, null)
            yield {**_kept(found), "p": p}, min(len(x), TEST_POINTS)


def _spaces(design, means, source: np.ndarray, label: np.ndarray, draws: int, rng: np.random.Generator):
    """How each block's space knows sources (where they share it) and labels."""
    for block, driven in design.blocks.items():
        inside = np.isin(source, driven)
        latent = np.concatenate([means[s, block] for s in design.sources if s in driven])
        some = np.sort(rng.permutation(len(latent))[:MOST_CELLS])
        latent, own, labels = latent[some], source[inside][some], label[inside][some]
        # Without labels what is scored is how the sources mix, and where one source is alone: nothing.
        for found in score_space(latent, own, np.full(len(own), ""), block, rng=rng, draws=draws):
            if found["metric"] in MIXING:
                yield _kept(found) | {"rows": len(own)}
        for name in driven:
            rows = (own == name) & (labels != "")
            codes = np.unique(labels[rows], return_inverse=True)[1]
            if len(codes) < 3 or codes.max() == 0:
                continue
            nearest = neighbours(latent[rows], NEIGHBOURS, rng)
            drawn = np.array([knn_accuracy(rng.permutation(codes), nearest) for _ in range(draws)])
            value = knn_accuracy(codes, nearest)
            found = _kept(row(name, block, "", "knn_accuracy", value, summary(drawn)))
            yield found | {"p": (1 + (drawn >= value).sum()) / (1 + draws), "rows": len(codes)}


def _kept(found: Mapping[str, object]) -> dict[str, object]:
    return {key: found[key] for key in ("metric", "block", "source", "value", "null_mean", "null_high")}
