"""Findings on single conditions: each seed's number, the median over seeds with its interval, the verdict.

Pure functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from cdgm.config.claim import Condition, Selector
from cdgm.evaluation.intervals import ALPHA, FEWEST_VALUES, Interval, median_interval
from cdgm.utils.errors import UserError

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not run"]

#: Seeds that a verdict needs where no alternatives share the error; :func:`fewest_seeds`.
FEWEST_SEEDS = FEWEST_VALUES
NUMERALS = {5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}


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
        Why the verdict is inconclusive; empty for the others.
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


def not_run(condition: Condition, alternative: str) -> Finding:
    """The finding on a condition that was not judged."""
    return Finding(condition, alternative, math.nan, math.nan, math.nan, math.nan, 0, 0, "not run")


def find(
    condition: Condition, rows: pd.DataFrame, where: str, alternative: str = "", alternatives: int = 1
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
    alternative, alternatives
        The place of an ``any_of``, and how many share its error.

    Raises
    ------
    UserError
        If a selector matches no row, or several rows of a seed.
    """
    values, n_all = numbers(condition, rows, where)
    interval = median_interval(values, ALPHA / alternatives)
    verdict, reason = decide(condition, interval, len(values), n_all, alternatives)
    return Finding(condition, alternative, *interval, len(values), n_all, verdict, reason)


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
    series = [_by_seed(selector, rows, where) for selector in condition.selectors]
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


def fewest_seeds(alternatives: int) -> int:
    """Seeds that a verdict needs: one more for each doubling of the alternatives.

    With one seed more, the widest interval misses the median half as often: the share of error
    that Bonferroni leaves to each of twice as many alternatives.
    """
    return FEWEST_SEEDS + math.ceil(math.log2(alternatives))


def decide(
    condition: Condition, interval: Interval, n: int, n_all: int, alternatives: int
) -> tuple[Verdict, str]:
    """Verdict on a condition by its interval, and the reason where it is inconclusive.

    Inconclusive with too few seeds (:func:`fewest_seeds`), and if more than half of all seeds are missing or
    diverged: those that remain are a selection.
    """
    fewest = fewest_seeds(alternatives)
    if n < fewest:
        return "inconclusive", f"fewer than {NUMERALS.get(fewest, fewest)} seeds"
    if 2 * n < n_all:
        return "inconclusive", "more than half of the seeds diverged or are missing"
    relation, threshold = condition.wanted
    ends = np.array([interval.low, interval.high])
    right = ends >= threshold if relation == "at_least" else ends <= threshold
    if right.all():
        return "reproduced", ""
    return ("inconclusive", "the interval contains the threshold") if right.any() else ("not reproduced", "")


def _by_seed(selector: Selector, rows: pd.DataFrame, where: str) -> pd.Series:
    """The selected score of each seed, NaN for fits that diverged."""
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
