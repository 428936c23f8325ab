"""How far fits with different seeds agree: what can be checked of identifiability without a truth."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdgm.errors import UserError
from cdgm.metrics.halves import halves
from cdgm.metrics.nulls import summary
from cdgm.metrics.recovery import ACTIVE_VARIANCE, held_out_correlations
from cdgm.metrics.regression import linear_r2
from cdgm.streams import stream

if TYPE_CHECKING:
    from cdgm.api.model import ComparativeVAE

#: Rows used at most, spread evenly.
MOST_ROWS = 5_000
COLUMNS = [
    "block", "member_a", "member_b", "active_a", "active_b", "agreement", "null_high",
    "r2", "r2_null_high", "rows", "split",
]  # fmt: skip


def stability_table(model: ComparativeVAE, split: str, draws: int) -> pd.DataFrame:
    """Agreement of each pair of members on each block, after the best linear alignment.

    A block is identified up to a rotation at best, so single coordinates cannot be compared. Fits that
    disagree at ELBOs that are equally good show that data and model do not determine the block. Fits that
    agree do not prove that they do: they share their architecture and their way of training, which may
    choose among equally good answers.

    Parameters
    ----------
    model
        A trained model of two members or more.
    split
        Rows that are looked at: of each block those of the sources that it drives.
    draws
        Permutations of the null, drawn for the first pair and used for all.

    Returns
    -------
    DataFrame
        A row a block and pair. ``active_a``, ``active_b``: principal axes of each member's block with a
        variance above .05. ``agreement``: mean canonical correlation over the larger of these numbers, a
        missing axis counted 0; directions are fitted on half of the rows and scored on the other. ``r2``:
        share of the variance of one member's block that the other's explains linearly, the lower of both
        directions, scored likewise; weak axes count little. ``null_high``, ``r2_null_high``: 95 % quantiles
        of both with rows permuted. NaN where both blocks are empty.

    Raises
    ------
    UserError
        If there are no two members to compare.
    """
    fitted, design = model.fitted, model.model_spec.design
    members = fitted.members()
    if len(members) < 2:
        raise UserError(
            f"stability: got {len(members)} finite member, expected two or more: make it with n_members=4"
        )
    means = fitted.means(model._stack(split))
    rows = []
    for block, driven in design.blocks.items():
        whole = np.concatenate([means[s, block] for s in design.sources if s in driven], axis=1)
        whole = whole[:, np.linspace(0, whole.shape[1] - 1, min(MOST_ROWS, whole.shape[1])).astype(int)]
        # Rows come source after source, and scores fit on even rows: a shuffle mixes what order there is.
        rng = stream("own data", "stability", block, root=0)
        whole = whole[:, rng.permutation(whole.shape[1])]
        axes = {e: active_axes(whole[e]) for e in members}
        null: tuple[float, float] | None = None
        for a, b in combinations(members, 2):
            x, y = axes[a], axes[b]
            if null is None and x.shape[1] and y.shape[1]:
                orders = [rng.permutation(len(y)) for _ in range(draws)]
                high = summary(agreement(x, y[order]) for order in orders)[1]
                null = high, summary(explained_both_ways(whole[a], whole[b, order]) for order in orders)[1]
            rows.append(
                {
                    "block": block, "member_a": a, "member_b": b,
                    "active_a": x.shape[1], "active_b": y.shape[1],
                    "agreement": agreement(x, y),
                    "null_high": np.nan if null is None else null[0],
                    "r2": explained_both_ways(whole[a], whole[b]) if x.shape[1] or y.shape[1] else np.nan,
                    "r2_null_high": np.nan if null is None else null[1],
                    "rows": whole.shape[1], "split": split,
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def active_axes(means: np.ndarray) -> np.ndarray:
    """Scores (n, k) on the principal axes along which posterior means (n, d) vary by more than .05."""
    centred = means.astype(np.float64) - means.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    return centred @ axes[:, variance > ACTIVE_VARIANCE][:, ::-1]


def explained_both_ways(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the variance of latents (n, d) that others explain linearly, in the worse direction."""
    return min(linear_r2(a, b), linear_r2(b, a))


def agreement(x: np.ndarray, y: np.ndarray) -> float:
    """Mean held-out canonical correlation over the larger number of axes; NaN where both have none."""
    if max(x.shape[1], y.shape[1]) == 0:
        return float("nan")
    if min(x.shape[1], y.shape[1]) == 0 or len(halves(len(x))[0]) <= x.shape[1] + y.shape[1]:
        return 0.0
    wide, narrow = (x, y) if x.shape[1] >= y.shape[1] else (y, x)
    return float(held_out_correlations(narrow, wide).mean())
