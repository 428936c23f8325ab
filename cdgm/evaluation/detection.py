"""How well scores without truth tell fits that went wrong from others. Pure functions on tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from cdgm.evaluation.intervals import share_interval
from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE
from cdgm.evaluation.moved_dimensions import MOST_OF_A_DIRECTION
from cdgm.evaluation.truth_free import SCORES

#: Draws of seeds behind an interval.
DRAWS = 2_000
#: Faults by the truth, columns of a table of members.
FAULTS = ("moved", "inherited", "lost")
#: How members are grouped; a group is left out when thresholds are chosen for it.
GROUPINGS = ("family", "terms")
#: Thresholds that were fixed before: not chosen anew for each group.
FROZEN = {("moved", "axis_asymmetry"): ALIVE_IN_ONE}
COLUMNS = [
    "fault", "score", "grouping", "group", "n", "n_fault", "auc", "auc_low", "auc_high", "rank_correlation",
    "rank_correlation_low", "rank_correlation_high", "rule", "threshold", "n_caught", "sensitivity",
    "sensitivity_low", "sensitivity_high", "n_false", "specificity", "specificity_low", "specificity_high",
]  # fmt: skip


def faults(scores: pd.DataFrame) -> pd.DataFrame:
    """Faults of each member by the truth, and the recovery of its private blocks.

    Parameters
    ----------
    scores
        Table of a simulated study.

    Returns
    -------
    DataFrame
        Indexed by ``fit`` and ``member``. ``moved``: ``dimension_moved`` of the table. ``inherited``: the
        other way round, a direction of a shared truth in a private block. ``recovery``: the
        smallest ``recovery_cc`` of a private block, less what the true model's posterior falls short of 1
        where the study has a ceiling. ``lost``: recovery is short of 1 by more than half a dimension.
    """
    key = ["fit", "member"]
    moved = scores[scores["metric"] == "dimension_moved"].set_index(key)["value"]
    shared = set(scores.loc[scores["metric"] == "axis_asymmetry", "block"])
    own = scores[(scores["twist"] == 0) & ~scores["block"].isin(shared)]
    place = ["setting", "seed", "source", "block"]
    recovery = own[(own["metric"] == "recovery_cc") & (own["fit"] != "")]
    ceiling = own[(own["metric"] == "recovery_cc") & (own["variant"] == "ceiling")]
    best = ceiling.set_index(place)["value"].rename("best")
    sizes = own[own["metric"] == "true_dims"].set_index([*key, "source", "block"])["value"].rename("size")
    rows = recovery.join(best, on=place).join(sizes, on=[*key, "source", "block"])
    rows = rows.assign(short=rows["best"].fillna(1.0) - rows["value"])
    rows = rows.assign(lost=rows["short"] * rows["size"] > 0.5)
    into = own[(own["metric"] == "leakage_cc_max") & own["truth"].isin(shared)]
    inherited = into.groupby(key)["value"].max() ** 2 > MOST_OF_A_DIRECTION
    groups = rows.groupby(key)
    table = pd.DataFrame({"recovery": 1 - groups["short"].max(), "lost": groups["lost"].max()})
    return table.join([moved.rename("moved"), inherited.rename("inherited")], how="inner").astype(float)


def detection_table(members: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rank scores without truth by how well they tell faults, over all members and for each group.

    Parameters
    ----------
    members
        One row a member: ``fit``, ``member``, ``seed``, the columns of :func:`faults`, :data:`GROUPINGS` and
        :data:`cdgm.evaluation.truth_free.SCORES`. A fit of several studies has a row for each.
    rng
        Draws the seeds of bootstrap intervals. Fits of a seed share their data, so seeds are drawn and not
        fits; such an interval has no width where all fits are told right.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`; one row for each fault, score, group and rule. ``auc``: area under the receiver
        operating characteristic, with its 95 % interval; NaN where all members of a group are alike.
        ``rank_correlation``: Spearman's, of the score with ``recovery``. ``rule``: ``youden`` for the
        threshold that maximises sensitivity + specificity on all fits outside of the group, ``frozen``
        for one that was fixed before. Sensitivity and specificity are those on the group, with Clopper and
        Pearson's intervals; for the group ``all`` they are pooled over families, each at its threshold.
    """
    rows = []
    for fault in FAULTS:
        for score in SCORES:
            known = members[np.isfinite(members[score]) & np.isfinite(members[fault])]
            for start, parts in _with_decisions(known, fault, score):
                first = {"fault": fault, "score": score, **start}
                for rule, part in parts.items():
                    rows.append(first | _row(part, fault, score, rule, rng))
    return pd.DataFrame(rows, columns=COLUMNS)


def _with_decisions(
    known: pd.DataFrame, fault: str, score: str
) -> Iterator[tuple[dict[str, str], Mapping[str, pd.DataFrame]]]:
    """Place of each group, and by rule its members with the columns ``threshold`` and ``alarm``."""
    pooled: dict[str, list[pd.DataFrame]] = {}
    for grouping in GROUPINGS:
        for group, mine in known.groupby(grouping, sort=True):
            # A fit of several studies is seen by none of them if it is left out of one.
            seen = pd.MultiIndex.from_frame(known[["fit", "member"]]).isin(
                pd.MultiIndex.from_frame(mine[["fit", "member"]])
            )
            rest = known[~seen].drop_duplicates(["fit", "member"])
            thresholds = {"youden": youden(rest[fault], rest[score] * SCORES[score][1])}
            if (fault, score) in FROZEN:
                thresholds["frozen"] = FROZEN[fault, score]
            parts = {rule: _decided(mine, score, at) for rule, at in thresholds.items()}
            if grouping == GROUPINGS[0]:
                for rule, part in parts.items():
                    pooled.setdefault(rule, []).append(part)
            yield {"grouping": grouping, "group": str(group)}, parts
    pooled = pooled or {"": [_decided(known, score, math.nan)]}
    once = {rule: pd.concat(found).drop_duplicates(["fit", "member"]) for rule, found in pooled.items()}
    yield {"grouping": "all", "group": "all"}, once


def _decided(mine: pd.DataFrame, score: str, threshold: float) -> pd.DataFrame:
    sign = SCORES[score][1]
    alarm = np.full(len(mine), np.nan) if math.isnan(threshold) else mine[score] * sign > threshold
    return mine.assign(threshold=threshold * sign, alarm=np.asarray(alarm, dtype=float))


def _row(
    mine: pd.DataFrame, fault: str, score: str, rule: str, rng: np.random.Generator
) -> dict[str, object]:
    bad = mine[fault] == 1
    decided = mine[np.isfinite(mine["alarm"])]
    caught, false = (decided.loc[decided[fault] == side, "alarm"] for side in (1, 0))
    hit = share_interval(int(caught.sum()), len(caught))
    right = share_interval(int((1 - false).sum()), len(false))
    thresholds = mine["threshold"].unique()
    return {
        "n": len(mine),
        "n_fault": int(bad.sum()),
        **_named("auc", auc_interval(bad, mine[score] * SCORES[score][1], mine["seed"], rng)),
        **_named("rank_correlation", rank_interval(mine[score], mine["recovery"], mine["seed"], rng)),
        "rule": rule,
        "threshold": thresholds[0] if len(thresholds) == 1 else math.nan,
        "n_caught": int(caught.sum()),
        **_named("sensitivity", hit[:3]),
        "n_false": int(false.sum()),
        **_named("specificity", right[:3]),
    }


def _named(name: str, interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def youden(fault: pd.Series, score: pd.Series) -> float:
    """Threshold above which an alarm maximises sensitivity + specificity, midway between two scores.

    NaN where all members are alike.
    """
    from sklearn.metrics import roc_curve

    if fault.nunique() < 2:
        return math.nan
    low, high, thresholds = roc_curve(fault == 1, score)
    at = float(thresholds[np.argmax(high - low)])
    below = score[score < at]
    return (at + float(below.max())) / 2 if len(below) else at


def auc_interval(
    fault: pd.Series, score: pd.Series, seeds: pd.Series, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Area under the ROC curve with a 95 % bootstrap interval over seeds; NaN where all members are alike."""
    bad, good = score[fault].to_numpy(), score[~fault].to_numpy()
    if not len(bad) or not len(good):
        return math.nan, math.nan, math.nan
    # Wins of each pair of seeds, so that a draw of seeds costs a product of matrices.
    names = np.unique(seeds)
    of_bad, of_good = (names[:, None] == seeds[rows].to_numpy()[None] for rows in (fault, ~fault))
    wins = np.sign(bad[:, None] - good[None]) / 2 + 0.5
    wins = of_bad.astype(float) @ wins @ of_good.T.astype(float)
    weights = _draws(len(names), rng)
    with np.errstate(invalid="ignore"):
        areas = np.einsum("ws,st,wt->w", weights, wins, weights)
        areas = areas / ((weights @ of_bad.sum(axis=1)) * (weights @ of_good.sum(axis=1)))
    return _ends(areas)


def rank_interval(
    x: pd.Series, y: pd.Series, seeds: pd.Series, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Spearman's rank correlation with a 95 % bootstrap interval over seeds; ranks are formed once."""
    from scipy.stats import rankdata

    if x.nunique() < 2 or y.nunique() < 2:
        return math.nan, math.nan, math.nan
    a, b = (rankdata(values) for values in (x, y))
    names = np.unique(seeds)
    # Sums over each seed of 1, a, b, a a, b b and a b.
    products = np.stack([np.ones(len(a)), a, b, a * a, b * b, a * b], axis=1)
    sums = (names[:, None] == seeds.to_numpy()[None]).astype(float) @ products
    n, sa, sb, saa, sbb, sab = (_draws(len(names), rng) @ sums).T
    with np.errstate(invalid="ignore"):
        found = (sab - sa * sb / n) / np.sqrt((saa - sa**2 / n) * (sbb - sb**2 / n))
    return _ends(found)


def _draws(seeds: int, rng: np.random.Generator) -> np.ndarray:
    """How often each seed is drawn (1 + DRAWS, seeds); the first row is the sample itself."""
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
    return np.concatenate([np.ones((1, seeds)), drawn])


def _ends(values: np.ndarray) -> tuple[float, float, float]:
    """The first value, and the 95 % interval of the others; those without a number are left out."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (math.nan, math.nan)
    return float(values[0]), float(low), float(high)
