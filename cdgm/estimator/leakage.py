"""Traces in the latents of one fit that should not be there, each against its permutation null.

Nothing here asks where latents come from: those of this package's models and of any other method are scored
alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from cdgm.config.design import Design
from cdgm.evaluation.metrics.asymmetric_axes import axis_asymmetry
from cdgm.evaluation.metrics.independence import TEST_POINTS, hsic_test
from cdgm.evaluation.metrics.label_scores import NEIGHBOURS, knn_accuracy, neighbours
from cdgm.evaluation.metrics.latent_space_scores import score_space
from cdgm.evaluation.metrics.nulls import permutation, row, summary
from cdgm.utils.joint_names import JOINT
from cdgm.utils.random_streams import stream

MIXING = ("source_mixing", "source_separation", "source_separation_linear")
#: Scores of which some is there without any model: the size of a cell predicts its source, label or batch.
WITH_FLOOR = ("source_separation", "source_separation_linear", "knn_accuracy", "batch_accuracy")
#: Cells among which neighbours are sought, at most: the cost grows with the square.
MOST_CELLS = 12_000

Latents = Mapping[tuple[str, str], np.ndarray]


def leakage_rows(
    design: Design,
    latents: Latents,
    labels: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    draws: int,
    batches: Mapping[str, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """Score the latents of one fit.

    Parameters
    ----------
    design
        Sources, and the blocks that are active in each.
    latents
        (source, block) to latents (n_k, d), for the active blocks of each source.
    labels
        Source to the label of each of its rows (n_k,), "" for a row without one.
    rng
        Source of permutations and subsamples.
    draws
        Permutations of each null.
    batches
        Source to the batch of each of its rows (n_k,), likewise; without it there are no rows on batches.
        All nulls but those of batches permute within batches: what batches explain is no leakage.

    Returns
    -------
    list of dict
        metric, block, source, value, null_mean, null_high, p (NaN where there is none) and rows; for the
        metrics see :func:`cdgm.estimator.scores.leakage_table` and
        :func:`cdgm.check_latents`.
    """
    found = [*_dependence(design, latents, batches, rng, draws)]
    for block, driven in design.blocks.items():
        sources = [s for s in design.sources if s in driven]
        found += _separation(block, {s: latents[s, block] for s in sources}, labels, batches, rng, draws)
    return [*found, *_asymmetry(design, latents, batches, rng, draws)]


def floors(
    table: pd.DataFrame,
    design: Design,
    sums: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    batches: Mapping[str, np.ndarray] | None,
) -> pd.Series:
    """Score that the sizes of cells alone reach, for each row of a table; NaN where there is no such score.

    Parameters
    ----------
    table
        Columns metric, block and source of rows of :func:`leakage_rows`.
    design, labels, batches
        As there.
    sums
        Source to the sum of the values of each of its rows (n_k,).
    """
    ranks = rankdata(np.concatenate([sums[s] for s in design.sources]))[:, None]
    ends = np.cumsum([len(sums[s]) for s in design.sources])[:-1]
    sizes = dict(zip(design.sources, np.split(ranks, ends), strict=True))
    alone = {(s, block): sizes[s] for s in design.sources for block in design.active(s)}
    found = leakage_rows(design, alone, labels, stream("own data", "floor", root=0), 1, batches)
    known = {(r["metric"], r["block"], r["source"]): r["value"] for r in found if r["metric"] in WITH_FLOOR}
    keys = zip(table["metric"], table["block"], table["source"], strict=True)
    return pd.Series([known.get(key, np.nan) for key in keys], index=table.index)


def _dependence(
    design: Design,
    latents: Latents,
    batches: Mapping[str, np.ndarray] | None,
    rng: np.random.Generator,
    draws: int,
) -> Iterator[dict[str, Any]]:
    """HSIC of each pair of blocks on the rows of each source that both drive."""
    for source in design.sources:
        for first, second in combinations(design.active(source), 2):
            x, y = latents[source, first], latents[source, second]
            within = None if batches is None else batches[source]
            value, p, null = hsic_test(x, y, rng, draws, within=within)
            found = row(source, JOINT.join([first, second]), "", "hsic", value, null)
            yield _reported(found) | {"p": p, "rows": min(len(x), TEST_POINTS)}


def _asymmetry(
    design: Design,
    latents: Latents,
    batches: Mapping[str, np.ndarray] | None,
    rng: np.random.Generator,
    draws: int,
) -> Iterator[dict[str, Any]]:
    """Axes of each shared block that are alive in one source alone."""
    for block in design.blocks:
        for alive, idle in design.comparisons(block):
            above, below = latents[alive, block], latents[idle, block]
            within = None if batches is None else (batches[alive], batches[idle])
            value, p, null = axis_asymmetry(above, below, rng, draws, within)
            found = row(JOINT.join([alive, idle]), block, "", "axis_asymmetry", value, null)
            yield _reported(found) | {"p": p, "rows": len(above) + len(below)}


def _separation(
    block: str,
    latents: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    batches: Mapping[str, np.ndarray] | None,
    rng: np.random.Generator,
    draws: int,
) -> Iterator[dict[str, Any]]:
    """How well one block separates the sources that share it, labels, and batches."""
    whole = np.concatenate(list(latents.values()))
    some = np.sort(rng.permutation(len(whole))[:MOST_CELLS])
    whole, source = whole[some], np.concatenate([np.full(len(x), s) for s, x in latents.items()])[some]
    batch = None if batches is None else np.concatenate([batches[s] for s in latents])[some]
    # Without labels only the mixing of sources is scored, and nothing where one source is alone.
    unlabelled = np.full(len(source), "")
    for found in score_space(whole, source, unlabelled, block, rng=rng, draws=draws, within=batch):
        if found["metric"] in MIXING:
            yield _reported(found) | {"p": np.nan, "rows": len(source)}
    asked = {"knn_accuracy": labels} | ({} if batches is None else {"batch_accuracy": batches})
    for metric, classes in asked.items():
        values = np.concatenate([classes[s] for s in latents])[some]
        for name in latents:
            rows = (source == name) & (values != "")
            codes = np.unique(values[rows], return_inverse=True)[1]
            if len(codes) < 3 or codes.max() == 0:
                continue
            nearest = neighbours(whole[rows], NEIGHBOURS, rng)
            within = None if batch is None or metric == "batch_accuracy" else batch[rows]
            orders = (permutation(len(codes), rng, within) for _ in range(draws))
            drawn = np.array([knn_accuracy(codes[order], nearest) for order in orders])
            value = knn_accuracy(codes, nearest)
            p = (1 + (drawn >= value).sum()) / (1 + draws)
            yield _reported(row(name, block, "", metric, value, summary(drawn))) | {
                "p": p,
                "rows": len(codes),
            }


def _reported(found: Mapping[str, object]) -> dict[str, Any]:
    return {key: found[key] for key in ("metric", "block", "source", "value", "null_mean", "null_high")}
