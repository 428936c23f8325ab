"""How far fits with different seeds agree: what can be checked of identifiability without a truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdgm.evaluation.metrics.stability import pair_rows
from cdgm.utils.errors import UserError
from cdgm.utils.random_streams import stream

if TYPE_CHECKING:
    from cdgm.estimator.trainable import Trainable

COLUMNS = [
    "block", "member_a", "member_b", "active_a", "active_b", "agreement", "null_high",
    "r2", "r2_null_high", "rows", "split",
]  # fmt: skip


def stability_table(model: Trainable, split: str, draws: int) -> pd.DataFrame:
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
        pairs = pair_rows(whole, stream("own data", "stability", block, root=0), draws, members)
        rows += [{"block": block, **pair, "split": split} for pair in pairs]
    return pd.DataFrame(rows, columns=COLUMNS)
