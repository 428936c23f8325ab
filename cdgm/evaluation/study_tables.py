"""The tables of a study: all scores in long form, and medians with intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cdgm.config.fit import Member
from cdgm.evaluation.intervals import median_interval

STUDY_COLUMNS = ["study", "setting", "variant", "dataset", "fit"]
SCORE_COLUMNS = [
    *STUDY_COLUMNS, "point", "seed", "member", "finite", "source", "block", "truth", "twist", "metric",
    "value", "null_mean", "null_high",
]  # fmt: skip
GROUP_COLUMNS = [
    "study", "setting", "variant", "dataset", "point", "source", "block", "truth", "twist", "metric",
]  # fmt: skip
# Records of a variant's own terms: what follows the slash is a term's name and no source.
TERMS = frozenset({"penalty", "constraint", "level", "multiplier"})
NULLS = ("null_mean", "null_high")
ENDS = ("low", "high", "coverage")


def with_study(table: pd.DataFrame, place: Mapping[str, Any]) -> pd.DataFrame:
    """A table of one stack with the columns that locate it in the study in front."""
    columns = {name: place[name] for name in STUDY_COLUMNS}
    return table.assign(**columns)[[*STUDY_COLUMNS, *(c for c in table if c not in columns)]]


def long_history(history: Mapping[str, np.ndarray], members: Sequence[Member]) -> pd.DataFrame:
    """History arrays of a stack, names ``quantity[/source[/block]]``, as rows of one number.

    What is kept of every step (``each/...``) and of a procedure (``procedure/...``) stays in the fit's file.
    """
    steps = history["step"]
    parts = []
    for name, values in history.items():
        if name == "step" or name.startswith(("each/", "procedure/")):
            continue
        quantity, source, block = [*name.split("/"), "", ""][:3]
        if quantity in TERMS:
            quantity, source = name, ""
        # What belongs to the whole stack (the learning rate) is repeated for each member.
        values = np.broadcast_to(values.reshape(len(steps), -1), (len(steps), len(members)))
        parts.append(
            pd.DataFrame(
                {
                    "point": np.tile([m.point for m in members], len(steps)),
                    "seed": np.tile([m.seed for m in members], len(steps)),
                    "step": np.repeat(steps, len(members)),
                    "quantity": quantity,
                    "source": source,
                    "block": block,
                    "value": values.ravel().astype(np.float64),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Median with its interval and range over seeds, for each score of a study.

    Members that diverged are counted and left out.

    Parameters
    ----------
    scores
        Long table with ``SCORE_COLUMNS``.

    Returns
    -------
    DataFrame
        The group columns, ``n`` and ``n_finite``, ``median``, ``low``, ``high`` and ``coverage`` (interval of
        the median, :func:`cdgm.evaluation.intervals.median_interval`), ``min``, ``max``, ``null_mean``,
        ``null_high``.
    """
    rows = []
    for key, group in scores.groupby(GROUP_COLUMNS, sort=False, dropna=False):
        values = group.loc[group["finite"], "value"].to_numpy()
        values = values[np.isfinite(values)]
        row = dict(zip(GROUP_COLUMNS, key, strict=True)) | {"n": len(group), "n_finite": len(values)}
        if len(values):
            row |= dict(zip(("median", *ENDS), median_interval(values), strict=True))
            row |= {"min": values.min(), "max": values.max()}
        # Scores without a null have none in any row, of which NumPy would warn.
        row |= {n: np.median(known) for n in NULLS if len(known := group[n].dropna().to_numpy(float))}
        rows.append(row)
    columns = [*GROUP_COLUMNS, "n", "n_finite", "median", *ENDS, "min", "max", *NULLS]
    return pd.DataFrame(rows, columns=columns)
