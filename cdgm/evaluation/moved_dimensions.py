"""Whether a dimension moved, by the truth of a simulation, and whether asymmetric axes raised an alarm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE
from cdgm.utils.joint_names import JOINT

#: A dimension of a private block has moved where a shared block explains more than this share of the variance
#: of one direction of its truth. It lies between the two modes of fits with spare axes: copies end near .5,
#: moves begin at .8.
MOST_OF_A_DIRECTION = 0.5
#: A fit whose private block recovers no more than this (mean canonical correlation) has lost a dimension:
#: one of three lost leaves two thirds, and fits that lost none have .88 and more, from counts too.
LOST = 0.85


def moved_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of 0 (no) or 1 (yes) for each member of a stack that was fitted to a simulation.

    Parameters
    ----------
    scores
        Scores of the stack (``metrics.csv`` of its evaluation).

    Returns
    -------
    DataFrame
        Rows like those of ``scores``; empty without truths, and for designs in which nothing can move.
        ``dimension_moved``: the largest squared ``leakage_cc_max`` of a private truth in a shared block is
        above :data:`MOST_OF_A_DIRECTION`. ``alarm_where_moved`` and ``alarm_elsewhere``: the largest
        ``axis_asymmetry`` is above :data:`cdgm.evaluation.metrics.asymmetric_axes.ALIVE_IN_ONE`, among
        members with a moved dimension and among the others; each is NaN for members that it is not about.
    """
    axes = scores[scores["metric"] == "axis_asymmetry"]
    known = scores[(scores["metric"] == "leakage_cc_max") & (scores["twist"] == 0)]
    of_pairs = known.merge(movable(axes, known), on=["source", "block", "truth"])
    if of_pairs.empty:
        return scores.iloc[:0]
    runs = scores.drop_duplicates("member").set_index("member")
    most = of_pairs.groupby("member")["value"].max().reindex(runs.index)
    largest = axes.groupby("member")["value"].max().reindex(runs.index)
    moved = (most**2 > MOST_OF_A_DIRECTION).to_numpy()
    alarm = (largest > ALIVE_IN_ONE).to_numpy().astype(np.float64)
    scored = (most.notna() & largest.notna()).to_numpy()
    values = {
        "dimension_moved": np.where(scored, moved, np.nan),
        "alarm_where_moved": np.where(scored & moved, alarm, np.nan),
        "alarm_elsewhere": np.where(scored & ~moved, alarm, np.nan),
    }
    place = {"source": "", "block": "", "truth": "", "twist": 0.0, "null_mean": np.nan, "null_high": np.nan}
    columns = runs[["point", "seed", "finite"]].reset_index().assign(**place)
    parts = [columns.assign(metric=metric, value=value) for metric, value in values.items()]
    return pd.concat(parts, ignore_index=True)[list(scores.columns)]


def movable(axes: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Source, block and truth wherever a truth can move into a block that sources are compared in.

    Parameters
    ----------
    axes
        Rows of ``axis_asymmetry``; ``source`` names the source above and the one below the fraction bar.
    known
        Rows of a score of all other truths.

    Returns
    -------
    DataFrame
        Truths that the source above has and the one below lacks; distinct rows.
    """
    places = known[["source", "block", "truth"]].drop_duplicates()
    pairs = axes[["source", "block"]].drop_duplicates()
    found = set()
    for joined, block in pairs.itertuples(index=False, name=None):
        above, below = joined.split(JOINT)
        truths = {
            source: set(places.loc[(places["source"] == source) & (places["block"] == block), "truth"])
            for source in (above, below)
        }
        found |= {(above, block, truth) for truth in truths[above] - truths[below]}
    return pd.DataFrame(sorted(found), columns=["source", "block", "truth"])
