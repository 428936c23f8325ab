"""What a source loses by sharing its fit: regret against fits of its own, and gain over fixed weights.

Multi-objective training is judged by ELBOs that cannot be compared between sources, as their noise differs.
Their regrets can: nats of a held-out point that a source would have had alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

FIT = ["setting", "variant", "point", "seed"]


def regret_rows(
    scores: pd.DataFrame,
    reference: str,
    own: Mapping[tuple[str, str], str],
    front: Sequence[str] = (),
) -> pd.DataFrame:
    """Regrets of all fits of a study but the references, as rows of scores.

    Parameters
    ----------
    scores
        Scores of the study (``SCORE_COLUMNS`` of :mod:`cdgm.evaluation.study_tables`).
    reference
        Variant of fits to one source alone.
    own
        Source that a reference was fitted to, by setting and point.
    front
        Variants whose points are fixed weights of two sources; empty where no front is asked for.

    Returns
    -------
    DataFrame
        ``regret``: held-out ELBO of the reference of a source and a seed less that of the fit, for each
        source; below 0 where the other sources' points helped. ``regret_worst``: the largest of a fit.
        ``front_gain``: :func:`gain_over_front`, over the medians of the front in the same setting, of the
        fit's regrets less the seed's own shift (mean over the front's fits of regret less median), so that
        fits are compared seed by seed. NaN where a reference diverged or is missing.
    """
    elbo = scores[(scores["metric"] == "elbo") & (scores["source"] != "")]
    is_reference = (elbo["variant"] == reference).to_numpy()
    keys = ["setting", "seed", "source"]
    best = elbo[is_reference & elbo["finite"].to_numpy(dtype=bool)]
    alone = [own.get(place) for place in zip(best["setting"], best["point"], strict=True)]
    best = best[best["source"].to_numpy() == np.array(alone, dtype=object)].set_index(keys)["value"]
    rows = elbo[~is_reference].join(best.rename("best"), on=keys)
    rows = rows.assign(value=rows["best"] - rows["value"], metric="regret").drop(columns="best")
    parts = [rows]
    places = rows.groupby(FIT, sort=False, dropna=False)
    worst = places.head(1).assign(source="", metric="regret_worst")
    # A source without a reference leaves open which regret is the largest.
    parts.append(worst.assign(value=places["value"].agg(lambda v: v.max(skipna=False)).to_numpy()))
    if front:
        gains = _front_gains(rows, front)
        parts.append(worst.assign(metric="front_gain", value=gains.reindex(_fits(worst)).to_numpy()))
    return pd.concat(parts, ignore_index=True)


def _fits(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[FIT])


def _front_gains(regrets: pd.DataFrame, front: Sequence[str]) -> pd.Series:
    """Gain over the front of its setting for every fit, by ``FIT``."""
    known = regrets.assign(value=regrets["value"].where(regrets["finite"].astype(bool)))
    order = list(dict.fromkeys(known["source"]))
    table = known.set_index([*FIT, "source"])["value"].unstack("source")[order].dropna()
    found: list[pd.Series] = []
    for _, fits in table.groupby(level="setting", sort=False):
        weighed = fits[fits.index.get_level_values("variant").isin(front)]
        if weighed.empty:
            continue
        medians = weighed.groupby(level=["variant", "point"]).transform("median")
        shift = (weighed - medians).groupby(level="seed").mean()
        shifts = shift.reindex(fits.index.get_level_values("seed")).to_numpy()
        gains = gain_over_front(fits.to_numpy() - shifts, medians.drop_duplicates().to_numpy())
        found.append(pd.Series(gains, index=fits.index))
    return pd.concat(found) if found else pd.Series(dtype=float, index=table.index[:0])


def pareto_front(points: np.ndarray) -> np.ndarray:
    """Vertices (V, 2) of the front of two losses: the points that no other beats in both, by the first."""
    others, each = points[None], points[:, None]
    beaten = ((others <= each).all(axis=-1) & (others < each).any(axis=-1)).any(axis=-1)
    kept = np.unique(points[~beaten], axis=0)
    return kept[np.argsort(kept[:, 0])]


def gain_over_front(points: np.ndarray, front: np.ndarray) -> np.ndarray:
    """How far points lie above a piecewise-linear front of two losses (n,), below 0 where behind it.

    The additive epsilon indicator (Zitzler et al. 2003): every point of the front is worse by at least this
    much in one of the losses; where it is negative, a point of the front is better by as much in both. Points
    on the front have 0, also those beyond its ends, where one loss stays that of the end.

    Parameters
    ----------
    points
        Losses (n, 2), for instance regrets.
    front
        Losses (V, 2) whose nondominated ones (:func:`pareto_front`), joined by lines, are the front.
    """
    vertices = pareto_front(front)
    ends = [(v, v) for v in vertices] + list(itertools.pairwise(vertices))
    best = np.full(len(points), np.inf)
    for start, end in ends:
        first, step = start - points, end - start
        # max(a, b) along a line is least at an end or where both are equal.
        slope = step[0] - step[1]
        cross = (first[:, 1] - first[:, 0]) / slope if slope != 0 else np.zeros(len(points))
        at = first + np.clip(cross, 0.0, 1.0)[:, None] * step
        best = np.minimum(best, at.max(axis=1))
    return best
