"""How constraints ended: whether each bound, its multiplier settled, and its level was attained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cdgm.config.fit import Member

LAST_SHARE = 0.1
"""Part of the training, at its end, over which a multiplier has to stand still."""
LARGEST_CHANGE = 0.01
"""Range of the multiplier over that part, as a share of its last value, below which it has settled."""


def constraint_ends(
    scores: pd.DataFrame, history: Mapping[str, np.ndarray], members: Sequence[Member]
) -> pd.DataFrame:
    """Scores of 0 (no) or 1 (yes) for each member and constraint of a stack.

    Parameters
    ----------
    scores
        Scores of the stack (``metrics.csv`` of its evaluation).
    history
        Its history: ``step`` (T,) and ``multiplier/<name>`` (T, E).
    members
        Its members (E).

    Returns
    -------
    DataFrame
        Rows like those of ``scores``, empty without constraints. ``constraint_bound``: the multiplier was
        above 0 in the last step; one that was 0 changed nothing. ``constraint_settled``: the range of a
        multiplier that bound was below 1 % of its last value over the last tenth of the training, NaN
        where it did not bind. ``constraint_attained``: the held-out value is on the right side of
        its level, NaN where it has no held-out value.
    """
    late = history["step"] >= (1 - LAST_SHARE) * history["step"][-1]
    runs = scores.drop_duplicates("member").set_index("member")
    parts: list[pd.DataFrame] = []
    for constraint in members[0].variant.constraints if members else ():
        multiplier = np.asarray(history[f"multiplier/{constraint.name}"], dtype=np.float64)
        last, bound = multiplier[-1], multiplier[-1] > 0
        spread = np.ptp(multiplier[late], axis=0)
        settled = np.where(bound, spread < LARGEST_CHANGE * last, np.nan)
        gap = constraint.sign * (
            _held_out(scores, constraint.name, "constraint_value", len(members))
            - _held_out(scores, constraint.name, "constraint_level", len(members))
        )
        attained = np.where(np.isfinite(gap), gap <= 0, np.nan)
        for metric, values in (("bound", bound), ("settled", settled), ("attained", attained)):
            found = pd.DataFrame({"member": range(len(members)), "value": values.astype(np.float64)})
            for name in ("seed", "point", "finite"):
                found[name] = runs[name].reindex(found["member"]).to_numpy()
            place = {"source": "", "block": constraint.name, "truth": "", "twist": 0.0}
            parts.append(
                found.assign(**place, metric=f"constraint_{metric}", null_mean=np.nan, null_high=np.nan)
            )
    return pd.concat(parts, ignore_index=True) if parts else scores.iloc[:0]


def _held_out(scores: pd.DataFrame, name: str, metric: str, n_members: int) -> np.ndarray:
    """A score of a constraint for each member (E,), NaN where there is none."""
    rows = scores[(scores["block"] == name) & (scores["metric"] == metric)]
    return rows.set_index("member")["value"].reindex(range(n_members)).to_numpy(dtype=np.float64)
