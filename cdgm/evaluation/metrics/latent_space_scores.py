"""All scores of one latent space of cells, and of the baselines, as tidy rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cdgm.evaluation.metrics.baselines import Split, library_size_space, oracle_predictions, spaces
from cdgm.evaluation.metrics.label_scores import (
    NEIGHBOURS,
    agreement,
    knn_accuracy,
    label_scores,
    neighbours,
)
from cdgm.evaluation.metrics.nulls import row, summary
from cdgm.evaluation.metrics.recovery import active_dims
from cdgm.evaluation.metrics.source_mixing import Neighbourhood
from cdgm.evaluation.metrics.split_half import as_matrix
from cdgm.utils.joint_names import JOINT

#: Beyond this many cells a seeded subsample is scored: neighbours cost n^2.
MOST_CELLS = 12_000


def score_space(
    latent: np.ndarray,
    source: np.ndarray,
    label: np.ndarray,
    block: str,
    truth: str = "label",
    strata: np.ndarray | None = None,
    strongest: str | None = None,
    rng: np.random.Generator | int = 0,
    draws: int = 50,
    within: np.ndarray | None = None,
) -> list[dict[str, object]]:
    """Score one space (one block's posterior means, or a baseline's) of cells of all sources.

    Parameters
    ----------
    latent
        (n, d).
    source
        (n,) source of each cell.
    label
        (n,) label of each cell, "" where it has none. Label scores are formed within each source that has
        two classes or more.
    block
        Name of the space, for the rows.
    truth
        Name of the label column, for the rows.
    strata
        (n,) cell type where known; adds ``source_mixing_within``.
    strongest
        Class for ``source_mixing_strongest``. By default the class with the highest mixing score in *this*
        space, chosen anew in each draw of the null; name it to compare spaces on the same class.
    rng
        Generator or seed.
    draws
        Permutations of each null.
    within
        (n,) strata, batches say, within which sources are permuted for the nulls of their mixing.

    Returns
    -------
    list of dict
        Tidy rows, as in :func:`cdgm.evaluation.metrics.truth_scores.score_member`.
    """
    rng = np.random.default_rng(rng)
    latent = as_matrix(latent)
    source, label = np.asarray(source, dtype=str), np.asarray(label, dtype=str)
    if not len(latent) == len(source) == len(label):
        raise ValueError(f"rows must pair up, got {len(latent)}, {len(source)} and {len(label)}")
    if len(latent) > MOST_CELLS:
        some = np.sort(rng.permutation(len(latent))[:MOST_CELLS])
        latent, source, label = latent[some], source[some], label[some]
        strata = None if strata is None else np.asarray(strata)[some]
        within = None if within is None else np.asarray(within)[some]
    rows = []
    for name in np.unique(source):
        own = source == name
        rows.append(row(name, block, "", "active_dims", active_dims(latent[own])))
        for metric, (value, null) in label_scores(latent[own], label[own], rng, draws).items():
            rows.append(row(name, block, truth, metric, value, null))
    if len(np.unique(source)) > 1:
        rows += _mixing_rows(latent, source, label, block, truth, strata, strongest, rng, draws, within)
    return rows


def batch_rows(
    latent: np.ndarray,
    source: np.ndarray,
    batch: np.ndarray,
    block: str,
    truth: str,
    rng: np.random.Generator | int = 0,
    draws: int = 50,
) -> list[dict[str, object]]:
    """How well neighbours predict the batch of a cell, within each source.

    Parameters
    ----------
    latent, source, block, rng, draws
        As in :func:`score_space`.
    batch
        (n,) batch of each cell.
    truth
        Name of the batches, for the rows.
    """
    rng = np.random.default_rng(rng)
    rows = []
    for name in np.unique(source):
        own = np.flatnonzero(source == name)
        own = np.sort(rng.permutation(own)[:MOST_CELLS])
        codes = np.unique(batch[own], return_inverse=True)[1]
        if len(own) < 3 or codes.max() == 0:
            continue
        nearest = neighbours(as_matrix(latent)[own], NEIGHBOURS, rng)
        null = summary(knn_accuracy(rng.permutation(codes), nearest) for _ in range(draws))
        rows.append(row(name, block, truth, "batch_accuracy", knn_accuracy(codes, nearest), null))
    return rows


def score_baselines(
    counts: np.ndarray,
    source: np.ndarray,
    label: np.ndarray,
    foreground: str,
    reference: str,
    fit: np.ndarray | None = None,
    block: str = "salient",
    truth: str = "label",
    dims: int = 10,
    strata: np.ndarray | None = None,
    batch: np.ndarray | None = None,
    rng: np.random.Generator | int = 0,
    draws: int = 50,
) -> list[dict[str, object]]:
    """Score the baselines without a deep model, the supervised ceiling, and the floor.

    Parameters
    ----------
    counts
        (n, genes) counts of all cells.
    source, label
        (n,) as in :func:`score_space`.
    foreground
        Source of interest (the one whose labels are judged).
    reference
        Source to contrast it with.
    fit
        (n,) True for cells that the baselines are fitted on, the others are scored; by default all cells
        serve for both.
    block, truth, strata, rng, draws
        As in :func:`score_space`.
    dims
        Components of each space.
    batch
        (n,) batch of each cell where known, for the floor.

    Returns
    -------
    list of dict
        Tidy rows with one more key, ``variant``: pca, pca_background, contrastive_pca, oracle or
        library_size. The oracle has knn_accuracy (its balanced accuracy), nmi and ari (its predictions as
        clusters).
    """
    rng = np.random.default_rng(rng)
    source, label = np.asarray(source, dtype=str), np.asarray(label, dtype=str)
    split = Split.of(counts, source, foreground, reference, fit)
    scored = split.scored
    rows = []

    def add(variant: str, space: np.ndarray) -> None:
        typed = None if strata is None else np.asarray(strata)[scored]
        new = score_space(
            space[scored], source[scored], label[scored], block, truth, typed, rng=rng, draws=draws
        )
        # Components have no prior that would give their variance a meaning.
        rows.extend({**r, "variant": variant} for r in new if r["metric"] != "active_dims")

    for variant, space in spaces(split, dims).items():
        add(variant, space)
    predicted = oracle_predictions(split, label)
    judged = scored & (source == foreground) & (label != "") & (predicted != "")
    for metric, (value, null) in agreement(label[judged], predicted[judged], rng, draws).items():
        rows.append({**row(foreground, block, truth, metric, value, null), "variant": "oracle"})
    # Last, so that the others' random numbers do not depend on it.
    add("library_size", library_size_space(counts, batch))
    return rows


def _mixing_rows(
    latent: np.ndarray,
    source: np.ndarray,
    label: np.ndarray,
    block: str,
    truth: str,
    strata: np.ndarray | None,
    strongest: str | None,
    rng: np.random.Generator,
    draws: int,
    within: np.ndarray | None,
) -> list[dict[str, object]]:
    names = np.unique(source)
    cells = Neighbourhood.of(latent, source, rng)
    shuffles = [cells.shuffled(rng, within) for _ in range(draws)]
    null = summary(cells.separation(shuffle) for shuffle in shuffles)
    # The separation belongs to no source: the name joins all, as the names of blocks do for joint scores.
    rows = [row(JOINT.join(names), block, "", "source_separation", cells.separation(), null)]
    null = summary(cells.linear_separation(latent, shuffle) for shuffle in shuffles)
    linear = cells.linear_separation(latent)
    rows.append(row(JOINT.join(names), block, "", "source_separation_linear", linear, null))
    typed, typed_shuffles = None, []
    if strata is not None:
        typed = replace(cells, stratum=np.asarray(strata, dtype=str))
        typed_shuffles = [typed.shuffled(rng) for _ in range(draws)]
    for name in names:
        null = summary(cells.mixing(name, shuffle) for shuffle in shuffles)
        rows.append(row(name, block, "", "source_mixing", cells.mixing(name), null))
        if typed is not None:
            null = summary(typed.mixing(name, shuffle) for shuffle in typed_shuffles)
            rows.append(row(name, block, "", "source_mixing_within", typed.mixing(name), null))
        classes = cells.by_class(name, label)
        if strongest is not None:
            classes = {strongest: classes[strongest]} if strongest in classes else {}
        elif len(classes) < 2:
            classes = {}
        if classes:
            drawn = [cells.by_class(name, label, shuffle) for shuffle in shuffles]
            null = summary(max(values[k] for k in classes) for values in drawn)
            rows.append(row(name, block, truth, "source_mixing_strongest", max(classes.values()), null))
    return rows
