"""Genes (or features) that a private block moves: the same rows decoded with the block and without it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from cdgm.evaluation.group_comparison import compare_groups
from cdgm.evaluation.metrics.independence import spread_rows
from cdgm.models.likelihoods._counts import CountLikelihood
from cdgm.training.spread import one_thread
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    from cdgm.config.design import Design
    from cdgm.estimator.ensemble import Ensemble
    from cdgm.estimator.queries import Queries
    from cdgm.models.comparative_vae import ComparativeVAE

logger = logging.getLogger(__name__)
#: Rows decoded at once.
CHUNK = 512


@one_thread()
def ranking_table(model: Queries, block: str | None, label: str | None, cells: int) -> pd.DataFrame:
    """Rank features by how far a private block moves them, strongest first.

    Rows of the block's source are decoded twice from their posterior means: with the block, and with zeros
    in its place, which is the model's latent of the other source, both at the row's own covariates. The
    difference is the model's prediction
    of *this row* without the effect; it compares no groups of cells.

    Parameters
    ----------
    model
        A trained model.
    block
        A private block (one that not all sources have); by default the first, the salient one.
    label
        Use only rows with this label.
    cells
        Rows used at most, spread evenly.

    Returns
    -------
    DataFrame
        ``gene``; ``change``: mean over rows and members of the log2 fold change of the rate (counts), or of
        the difference in the feature's own units (other likelihoods: of the decoder's output); ``spread``:
        its standard deviation over rows, mean over members; ``size``: root mean square over rows, which
        ranks the genes and is large also where some rows go up and others down; ``members_agree``: how many
        of the members have a mean change with the sign of ``change``, such as "3 of 4"; ``member_sd``:
        standard deviation of the mean change over members (NaN for one); ``mean``: mean observed value in
        these rows; ``group_score``: for comparison, scanpy's t statistic of these rows against those of the
        sources without the block (:func:`cdgm.evaluation.group_comparison.compare_groups`).

    Raises
    ------
    UserError
        If the block is not private, or no row has the label.
    """
    source, block = private_block(model.model_spec.design, block)
    labels = model.observations.labels_of(source)
    if label is not None and not (labels == label).any():
        there = sorted(set(map(str, labels)) - {""})
        raise bad_input("label", "", label, f"one of the labels of {source} rows: {there}")
    rows = np.arange(len(labels)) if label is None else np.flatnonzero(labels == label)
    rows = rows[spread_rows(len(rows), cells)]
    observed = model.observations.x[source][rows]
    covariates = model.observations.encoded(model.covariates, {source: rows})
    members = model.ensemble.members()
    if len(members) == 1:
        logger.info("one member: whether genes are ranked alike with another seed is not known (n_members=4)")
    x = model.scaling.apply({source: observed})[source]
    mean, square = _changes(model.ensemble, x, source, block, covariates)
    if model.scaling.scale is not None:
        mean, square = mean * model.scaling.scale, square * model.scaling.scale**2
    mean, square = mean[members], square[members]
    change = mean.mean(axis=0)
    agree = (np.sign(mean) == np.sign(change)).sum(axis=0)
    table = pd.DataFrame(
        {
            "gene": model.observations.features,
            "change": change,
            "spread": np.sqrt(np.maximum(square - mean**2, 0.0)).mean(axis=0),
            "size": np.sqrt(square).mean(axis=0),
            "members_agree": [f"{n} of {len(members)}" for n in agree],
            "member_sd": mean.std(axis=0, ddof=1) if len(members) > 1 else np.nan,
            "mean": observed.mean(axis=0, dtype=np.float64),
            "group_score": _group_score(model, observed, block, cells),
        }
    )
    return table.sort_values("size", ascending=False, kind="stable").reset_index(drop=True)


def _group_score(model: Queries, observed: np.ndarray, block: str, cells: int) -> np.ndarray:
    """Compare rows with those of the sources that do not have the block, feature by feature (D,)."""
    driven = model.model_spec.design.blocks[block]
    others = [x for source, x in model.observations.x.items() if source not in driven]
    reference = np.concatenate([x[spread_rows(len(x), cells)] for x in others])
    if len(observed) < 2:
        return np.full(observed.shape[1], np.nan)
    return compare_groups(observed, reference, model.model_spec.likelihood.support)["score"].to_numpy()


def private_block(design: Design, block: str | None) -> tuple[str, str]:
    """First source of a private block, and the block."""
    private = [b for b, driven in design.blocks.items() if len(driven) < len(design.sources)]
    if block is None and not private:
        raise UserError(f"block: every block drives all sources, none is private: {list(design.blocks)}")
    block = private[0] if block is None else block
    if block not in private:
        raise bad_input("block", "", block, f"a block that not all sources have: one of {private}")
    return design.blocks[block][0], block


@torch.no_grad()
def _changes(
    ensemble: Ensemble, x: np.ndarray, source: str, block: str, covariates: Mapping[str, np.ndarray] | None
) -> np.ndarray:
    """Mean and mean square, over rows (1, n, D), of what a block changes; (2, E, D) before any rescaling."""
    stack = ensemble.stack
    means = {b: m for (_, b), m in ensemble.means({source: x}, covariates).items()}
    dtype = next(stack.parameters()).dtype
    total = np.zeros((2, stack.n_members, stack.n_features))
    for start in range(0, x.shape[1], CHUNK):
        latents = {
            b: torch.as_tensor(m[:, start : start + CHUNK]).to(dtype) * (source in stack.design.blocks[b])
            for b, m in means.items()
        }
        without = latents | {block: torch.zeros_like(latents[block])}
        known = None
        if covariates is not None:
            known = torch.as_tensor(covariates[source][:, start : start + CHUNK]).to(dtype)
            known = known.expand(stack.n_members, -1, -1)
        difference = (decoded(stack, latents, known) - decoded(stack, without, known)).double().numpy()
        total[0] += difference.sum(axis=1)
        total[1] += (difference**2).sum(axis=1)
    return total / x.shape[1]


def decoded(
    stack: ComparativeVAE, latents: dict[str, torch.Tensor], covariates: torch.Tensor | None
) -> torch.Tensor:
    """Log2 rates at a library size of 1 (counts), else the decoder's output; (E, B, D)."""
    f, likelihood = stack.decode(latents, covariates), stack.likelihood
    if not isinstance(likelihood, CountLikelihood):
        return f
    return likelihood.log_rate(f, torch.ones_like(f[..., :1])) / np.log(2.0)
