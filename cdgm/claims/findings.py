"""Numbers of claims: each seed's number, the estimate over seeds with its interval, and its verdict.

Pure functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from cdgm.config.claim import Condition, Selector
from cdgm.utils.errors import UserError

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not run"]

DRAWS = 10_000
ALPHA = 0.05
#: Fewest seeds that a verdict can rest on. The widest interval for a median that n values can give, from
#: the smallest to the largest, misses it with probability 2^(1 - n): 6 % for five seeds, 12 % for four.
FEWEST_SEEDS = 5


@dataclass(frozen=True)
class Finding:
    """What the table says about one condition.

    Attributes
    ----------
    condition
        The condition.
    alternative
        The place of an ``any_of`` that it was judged at; empty otherwise.
    estimate, low, high
        Statistic over seeds with its interval; NaN without any.
    n, n_all
        Seeds that count, and all seeds that either score has.
    verdict
        Of this condition alone.
    """

    condition: Condition
    alternative: str
    estimate: float
    low: float
    high: float
    n: int
    n_all: int
    verdict: Verdict


def find(
    condition: Condition,
    rows: pd.DataFrame,
    where: str,
    rng: np.random.Generator,
    alternative: str = "",
    alternatives: int = 1,
) -> Finding:
    """What the table says about one condition; ``alternatives`` is how many share its error."""
    values, n_all = numbers(condition, rows, where)
    estimate, low, high = interval(condition, values, ALPHA / alternatives, rng)
    verdict = decide(condition, low, high, len(values), n_all, alternatives)
    return Finding(condition, alternative, estimate, low, high, len(values), n_all, verdict)


def numbers(condition: Condition, rows: pd.DataFrame, where: str) -> tuple[np.ndarray, int]:
    """Each seed's number for a condition, and how many seeds there are.

    Two scores are taken from one another seed by seed. A score without seeds (a baseline's, seed -1)
    is the same for all of them. Seeds that one of the scores lacks, that diverged, or whose number is not
    finite are left out; they count among all seeds.

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


def interval(
    condition: Condition, values: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Estimate over seeds and its interval of coverage 1 - alpha.

    Percentile bootstrap over seeds; for ``share`` the exact binomial interval (Clopper & Pearson 1934),
    since a resampled share of 0 or 1 never moves. The bootstrap of ``min`` and ``max`` can't go
    beyond the seeds at hand: these speak of the seeds that were run.
    """
    if len(values) == 0:
        return math.nan, math.nan, math.nan
    if condition.statistic == "share":
        return exact_interval(
            int(_right_side(values, condition.relation, condition.value).sum()), len(values), alpha
        )
    form = {"median": np.median, "min": np.min, "max": np.max}[condition.statistic]
    resampled = form(values[rng.integers(len(values), size=(DRAWS, len(values)))], axis=1)
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return float(form(values)), float(low), float(high)


def fewest_seeds(alternatives: int) -> int:
    """Seeds that a verdict needs: one more for each doubling of the alternatives.

    With one seed more, the widest interval misses the median half as often: the share of error
    that Bonferroni leaves to each of twice as many alternatives.
    """
    return FEWEST_SEEDS + math.ceil(math.log2(alternatives))


def decide(condition: Condition, low: float, high: float, n: int, n_all: int, alternatives: int) -> Verdict:
    """Verdict on a condition by its interval.

    Inconclusive with too few seeds (:func:`fewest_seeds`), and if more than half of all seeds are missing or
    diverged: those that remain are a selection.
    """
    if n < fewest_seeds(alternatives) or 2 * n < n_all:
        return "inconclusive"
    relation, value = condition.wanted
    ends = np.array([low, high])
    right = _right_side(ends, relation, value)
    if right.all():
        return "reproduced"
    return "inconclusive" if right.any() else "not reproduced"


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


def _right_side(values: np.ndarray, relation: str, value: float) -> np.ndarray:
    return values >= value if relation == "at_least" else values <= value


def exact_interval(k: int, n: int, alpha: float = ALPHA) -> tuple[float, float, float]:
    """Share k / n with its exact binomial interval (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    low = 0.0 if k == 0 else float(beta.ppf(alpha / 2, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - alpha / 2, k + 1, n - k))
    return k / n, low, high
