"""Evidence of fits compared with that of a plain fit of the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdgm.evaluation.table_slices import BASELINES, Tables, pick, rows_of


def plain_variant(tables: Tables, study: str) -> str:
    """The first variant without a sweep, a penalty or a constraint, "" if there is none.

    Penalties and constraints are found in the history; without one, it is the first variant without a sweep.
    """
    scores = rows_of(tables, "scores", study)
    others = set(scores.loc[scores["point"] != "", "variant"]) | set(BASELINES)
    if "history" in tables:
        history = rows_of(tables, "history", study)
        terms = history["quantity"].str.startswith(("penalty/", "constraint/"))
        others |= set(history.loc[terms, "variant"])
    return next((v for v in scores["variant"].unique() if v not in others), "")


def elbo_differences(scores: pd.DataFrame, plain: str) -> pd.DataFrame:
    """Held-out ELBO of every fit less that of ``plain`` with the same seed, setting and source.

    Seeds share data and initial draws, so that most of what varies between them cancels.

    Parameters
    ----------
    scores
        Rows of a study.
    plain
        The variant to compare with, one without a sweep.

    Returns
    -------
    pandas.DataFrame
        Rows as in ``scores`` with the metric ``elbo_difference``, without those of ``plain``. The row of a
        fit that diverged, or whose plain fit diverged or is missing, is not finite.
    """
    rows = pick(scores, metric="elbo")
    keys = ["setting", "seed", "source"]
    ground = rows[(rows["variant"] == plain) & rows["finite"]].drop_duplicates(keys)
    ground = ground.set_index(keys)["value"].rename("ground")
    rows = rows[rows["variant"] != plain].join(ground, on=keys)
    rows = rows.assign(value=rows["value"] - rows["ground"], metric="elbo_difference")
    return rows.assign(finite=rows["finite"] & np.isfinite(rows["value"])).drop(columns="ground")


def with_differences(scores: pd.DataFrame, plain: str) -> pd.DataFrame:
    """Scores with those of :func:`elbo_differences` after them, if there is a plain variant."""
    if not plain:
        return scores
    return pd.concat([scores, elbo_differences(scores, plain)], ignore_index=True)
