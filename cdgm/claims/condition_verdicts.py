"""Findings on single conditions: each seed's number, the median over seeds with its interval, the verdict.

Pure functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from cdgm.config.claim import Condition, Selector
from cdgm.evaluation.intervals import Interval, median_interval, share_interval
from cdgm.utils.errors import UserError

Verdict = Literal["supported", "contradicted", "equivalent", "undecided", "not testable", "not run"]


class Errors(NamedTuple):
    """Probabilities of error that a condition may spend.

    Attributes
    ----------
    support
        A conjunction is supported if *all* of its conditions are, which needs no correction; of alternatives,
        the best is picked, so each has a part.
    refute
        A conjunction of k conditions is refuted by *any* of them, so each has a k-th part.
    """

    support: float
    refute: float


@dataclass(frozen=True)
class Finding:
    """Evidence in a study's table on one condition.

    Attributes
    ----------
    condition
        The condition.
    alternative
        The place of an ``any_of`` that it was judged at; empty otherwise.
    estimate, low, high, coverage
        Median over seeds, its interval, and the probability that such an interval covers the true median
        (:class:`cdgm.evaluation.intervals.Interval`); NaN where there is none.
    n, n_all
        Seeds that count, and all seeds that either score has.
    verdict
        Of this condition alone.
    reason
        Why the verdict is undecided; empty for the others.
    distance
        Distance of the estimate from the threshold in half-widths of the interval (:func:`distance`).
    """

    condition: Condition
    alternative: str
    estimate: float
    low: float
    high: float
    coverage: float
    n: int
    n_all: int
    verdict: Verdict
    reason: str = ""
    distance: float = math.nan

    @property
    def is_close(self) -> bool:
        """Whether the condition is *at the threshold*: less than one half-width from it."""
        return abs(self.distance) < 1


def not_run(condition: Condition, alternative: str) -> Finding:
    """The finding on a condition that was not judged."""
    return Finding(condition, alternative, math.nan, math.nan, math.nan, math.nan, 0, 0, "not run")


def find(
    condition: Condition, rows: pd.DataFrame, where: str, errors: Errors, alternative: str = ""
) -> Finding:
    """Judge one condition by a study's scores.

    Parameters
    ----------
    condition
        The condition.
    rows
        Scores of the study (``SCORE_COLUMNS`` of :mod:`cdgm.evaluation.study_tables`).
    where
        Names the claim and the condition in errors.
    errors
        What the condition may spend.
    alternative
        The place of an ``any_of``.

    Raises
    ------
    UserError
        If a selector matches no row, or several rows of a seed.
    """
    values, n_all = numbers(condition, rows, where)
    interval = interval_of(condition, values, errors.support)
    wider = interval_of(condition, values, errors.refute)
    verdict, reason = decide(condition, interval, wider, errors, len(values), n_all)
    away = distance(condition, interval)
    return Finding(condition, alternative, *interval, len(values), n_all, verdict, reason, away)


def interval_of(condition: Condition, values: np.ndarray, alpha: float) -> Interval:
    """Median over seeds, or share of seeds, with its interval of coverage 1 - alpha where seeds allow it."""
    if not condition.is_share:
        return median_interval(values, alpha)
    low, high = condition.seeds_at_least, condition.seeds_at_most
    counted = values >= low if low is not None else values <= high
    return share_interval(int(counted.sum()), len(values), alpha)


def distance(condition: Condition, interval: Interval) -> float:
    """Distance of the estimate from the threshold in half-widths of the interval, > 0 on the wanted side.

    The half that faces the threshold counts, since intervals of medians and shares are lopsided: below 1
    the interval contains the threshold. NaN without an interval.
    """
    relation, threshold = condition.wanted
    gap = interval.estimate - threshold
    half = interval.estimate - interval.low if gap > 0 else interval.high - interval.estimate
    if not math.isfinite(half) or gap == 0:
        return 0.0 if gap == 0 and math.isfinite(half) else math.nan
    signed = gap if relation == "at_least" else -gap
    return signed / half if half > 0 else math.copysign(math.inf, signed)


def numbers(condition: Condition, rows: pd.DataFrame, where: str) -> tuple[np.ndarray, int]:
    """Each seed's number for a condition, and how many seeds there are.

    A second score is subtracted, or divides, seed by seed. A score without seeds (a baseline's, seed -1) is
    the same for all of them. Seeds that one of the scores lacks, that diverged, or whose number is not finite
    are left out; they count among all seeds.

    Returns
    -------
    ndarray, int
        Numbers (n,) in the order of seeds, and the number of seeds that any of the scores has.
    """
    series = [_by_seed(selector, rows, where, condition.over_fits) for selector in condition.selectors]
    seeds = sorted(set().union(*(s.index for s in series if not _is_constant(s))) or {-1})
    columns = [
        np.full(len(seeds), s.iloc[0]) if _is_constant(s) else s.reindex(seeds).to_numpy() for s in series
    ]
    values = columns[0]
    if condition.minus is not None:
        values = values - columns[1]
    elif condition.over is not None:
        divisor = np.where(columns[1] == 0, np.nan, columns[1])
        values = values / divisor
    if condition.absolute:
        values = np.abs(values)
    return values[np.isfinite(values)], len(seeds)


def fewest_seeds(alpha: float) -> int:
    """Seeds with which the widest interval of a median, smallest to largest, errs by alpha or less."""
    return 1 + math.ceil(-math.log2(alpha))


def decide(
    condition: Condition, interval: Interval, wider: Interval, errors: Errors, n: int, n_all: int
) -> tuple[Verdict, str]:
    """Verdict on a condition by its intervals, and the reason where it is undecided.

    Supported if ``interval`` lies on the wanted side. Refuted by ``wider``, the interval of the error that a
    refutation may spend: *equivalent* if it lies within ``equivalent_within`` of no difference, else
    *contradicted* if it lies beyond the threshold. Undecided otherwise, with too few seeds, and if more than
    half of all seeds are missing or diverged: those that remain are a selection.
    """
    fewest = fewest_seeds(errors.support)
    if n < fewest:
        return "undecided", f"{n} seeds, a verdict needs {fewest}"
    if 2 * n < n_all:
        return "undecided", "more than half of the seeds diverged or are missing"
    relation, threshold = condition.wanted
    sign = 1 if relation == "at_least" else -1
    if min(sign * interval.low, sign * interval.high) >= sign * threshold:
        return "supported", ""
    can_refute = n >= fewest_seeds(errors.refute)
    delta = condition.equivalent_within
    if can_refute and delta is not None and -delta <= wider.low and wider.high <= delta:
        return "equivalent", ""
    if can_refute and max(sign * wider.low, sign * wider.high) < sign * threshold:
        return "contradicted", ""
    if max(sign * interval.low, sign * interval.high) >= sign * threshold:
        return "undecided", "the interval contains the threshold"
    return "undecided", "beyond the threshold, but not by the error that one of several conditions may spend"


def _by_seed(selector: Selector, rows: pd.DataFrame, where: str, over_fits: bool = False) -> pd.Series:
    """The selected score of each seed, NaN for fits that diverged; the mean over those of several fits."""
    kept = rows
    for column, wanted in selector.given.items():
        if column not in rows:
            raise UserError(f"{where}: the table has no column {column!r}, which {{{selector}}} names")
        found = kept[column]
        match = np.isclose(found, wanted) if column == "twist" else (found.fillna("") == wanted).to_numpy()
        if not match.any():
            held = sorted(found.fillna("").unique().tolist())
            shown = f"{held[:8]}{' and more' if len(held) > 8 else ''}"
            raise UserError(
                f"{where}: no rows match {{{selector}}}: got {column} {wanted!r}, expected one of {shown}"
            )
        kept = kept[match]
    if over_fits:
        return kept["value"].where(kept["finite"]).groupby(kept["seed"]).mean()
    twice = kept[kept.duplicated("seed", keep=False)]
    if len(twice):
        columns = ("setting", "variant", "point", "source", "block", "truth", "twist")
        differ = {
            c: sorted(twice[c].unique().tolist()) for c in columns if c in twice and twice[c].nunique() > 1
        }
        seed = int(twice["seed"].iloc[0])
        raise UserError(
            f"{where}: {{{selector}}} matches {int((kept['seed'] == seed).sum())} rows of seed {seed},"
            f" expected one; they differ in {differ}"
        )
    return kept.set_index("seed")["value"].where(kept.set_index("seed")["finite"])


def _is_constant(series: pd.Series) -> bool:
    return list(series.index) == [-1]
