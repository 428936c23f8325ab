"""Which features a private block moves: decoding the same rows with the block and without it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from cdgm.evaluation.metrics.independence import spread_rows
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    from cdgm.estimator.fitted import Fitted
    from cdgm.estimator.trainable import Trainable

logger = logging.getLogger(__name__)
#: Rows decoded at once.
CHUNK = 512


def ranking_table(model: Trainable, block: str | None, label: str | None, cells: int) -> pd.DataFrame:
    """Features by how far a private block moves them, strongest first.

    Rows of the block's source are decoded twice from their posterior means: with the block, and with zeros
    in its place, which is what the model takes for the other source. The difference is what *this row* would
    look like without the effect, by the model: no comparison of two groups of cells.

    Parameters
    ----------
    model
        A trained model.
    block
        A block that not all sources have; by default the salient one.
    label
        Only rows with this label.
    cells
        Rows used at most, spread evenly.

    Returns
    -------
    DataFrame
        ``gene``; ``change``: mean over rows and members of the log2 fold change of the rate (counts), or of
        the difference in the feature's own units (other likelihoods: of the decoder's output); ``spread``:
        its standard deviation over rows, mean over members; ``size``: root mean square over rows, which
        ranks the genes and is large also where some rows go up and others down; ``members_agree``: share of
        members whose mean change has the sign of ``change``; ``member_sd``: standard deviation of the mean
        change over members (NaN for one); ``mean``: mean observed value in these rows.

    Raises
    ------
    UserError
        If the block drives all sources, or no row has the label.
    """
    design = model.model_spec.design
    if block is None:
        private = [b for b, driven in design.blocks.items() if len(driven) < len(design.sources)]
        if not private:
            raise UserError(f"block: every block drives all sources, none is private: {list(design.blocks)}")
        block = private[0]
    if block not in design.blocks or len(design.blocks[block]) == len(design.sources):
        private = [b for b, driven in design.blocks.items() if len(driven) < len(design.sources)]
        raise bad_input("block", "", block, f"a block that not all sources have: one of {private}")
    source = design.blocks[block][0]
    chosen = np.arange(len(model.observed.x[source]))
    if label is not None:
        labels = model.observed.label
        own = None if labels is None else labels[model.observed.rows[source]]
        if own is None or not (own == label).any():
            there = [] if own is None else sorted(set(map(str, own)) - {""})
            raise bad_input("label", "", label, f"one of the labels of {source} rows: {there}")
        chosen = np.flatnonzero(own == label)
    chosen = chosen[spread_rows(len(chosen), cells)]
    observed = model.observed.x[source][chosen]
    fitted = model.fitted
    moved = changes(fitted, model.scaling.apply(observed)[None], source, block)
    if model.scaling.scale is not None:
        moved *= np.stack([model.scaling.scale, model.scaling.scale**2])[:, None]
    members = fitted.members()
    if len(members) == 1:
        logger.info("one member: whether genes are ranked alike with another seed is not known (n_members=4)")
    moved = moved[:, members]
    mean, square = moved
    change = mean.mean(axis=0)
    table = pd.DataFrame(
        {
            "gene": model.observed.features,
            "change": change,
            "spread": np.sqrt(np.maximum(square - mean**2, 0.0)).mean(axis=0),
            "size": np.sqrt(square).mean(axis=0),
            "members_agree": (np.sign(mean) == np.sign(change)).mean(axis=0),
            "member_sd": mean.std(axis=0, ddof=1) if len(members) > 1 else np.nan,
            "mean": observed.mean(axis=0, dtype=np.float64),
        }
    )
    return table.sort_values("size", ascending=False, kind="stable").reset_index(drop=True)


@torch.no_grad()
def changes(fitted: Fitted, x: np.ndarray, source: str, block: str) -> np.ndarray:
    """Mean and mean square over rows (1, n, D) of what a block changes, (2, E, D), before any rescaling."""
    stack = fitted.stack
    means = {b: m for (_, b), m in fitted.means({source: x}).items()}
    dtype = next(stack.parameters()).dtype
    total = np.zeros((2, stack.n_members, stack.n_features))
    for start in range(0, x.shape[1], CHUNK):
        latents = {
            b: torch.as_tensor(m[:, start : start + CHUNK]).to(dtype) * (source in stack.design.blocks[b])
            for b, m in means.items()
        }
        without = latents | {block: torch.zeros_like(latents[block])}
        difference = (_scale(stack, latents) - _scale(stack, without)).double().numpy()
        total[0] += difference.sum(axis=1)
        total[1] += (difference**2).sum(axis=1)
    return total / x.shape[1]


def _scale(stack, latents: dict[str, torch.Tensor]) -> torch.Tensor:
    """Log2 rates for a unit library (counts), else the decoder's output; (E, B, D)."""
    f = stack.decode(latents)
    if stack.likelihood.support != "counts":
        return f
    return stack.likelihood.log_rate(f, torch.ones_like(f[..., :1])) / np.log(2.0)
