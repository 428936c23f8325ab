"""What a study swept, read back from its labels, and what its blocks and variants are to each other."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import comb

import numpy as np
import pandas as pd

from cdgm.errors import bad_input
from cdgm.plotting.tables import BASELINES, Tables, main_source, order_of, pick, rows_of

#: A fit: a variant and the point of its sweep, "" without one.
Line = tuple[str, str]

#: A private block whose KL lies below this, in nats, holds next to nothing: it is called empty.
EMPTY = 1.0


@lru_cache(maxsize=4096)
def swept(label: str) -> tuple[str, dict[str, float]]:
    """Parse a label of swept values: that of a setting, or the ``point`` of a member.

    Parameters
    ----------
    label
        ``name@key=value,key=value`` for a swept setting, ``name`` for another one, and
        ``key=value,key=value`` for a point; the empty string is a point without a sweep.

    Returns
    -------
    name : str
        What stands before the ``@``; empty for a point.
    values : dict
        The number of each key, in the order of the label.

    Raises
    ------
    UserError
        If a part is not ``key=number``.
    """
    name, at, rest = label.partition("@")
    if not at:
        if "=" not in label:
            return label, {}
        name, rest = "", label
    values = {}
    for part in rest.split(","):
        key, _, text = part.partition("=")
        try:
            values[key] = float(text)
        except ValueError:
            raise bad_input(f"label {label!r}", key, text, "a swept number, as in 'weight=100'") from None
    return name, values


def lines_of(rows: pd.DataFrame) -> list[Line]:
    """(variant, point) pairs: variants in the order of first appearance, points by their numbers."""
    own = rows[~rows["variant"].isin(BASELINES)]
    variants = list(dict.fromkeys(own["variant"]))
    pairs = own[["variant", "point"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(pairs, key=lambda line: (variants.index(line[0]), list(swept(line[1])[1].values())))


def of_line(rows: pd.DataFrame, line: Line) -> pd.DataFrame:
    """Rows of one variant at one point of its sweep."""
    return pick(rows, variant=line[0], point=line[1])


def private_blocks(tables: Tables, study: str) -> list[str]:
    """Blocks that some source of the study lacks, in the order of :func:`order_of`."""
    scores = rows_of(tables, "scores", study)
    kl = pick(scores, metric="kl")
    placed = kl if len(kl) else scores[(scores["block"] != "") & (scores["source"] != "")]
    sources, blocks = order_of(tables, study)
    return [b for b in blocks if placed.loc[placed["block"] == b, "source"].nunique() < len(sources)]


def plain_variant(tables: Tables, study: str) -> str:
    """The first variant without a sweep, a penalty or a constraint, "" if there is none.

    Without a history nothing tells of penalties, and it is the first one without a sweep.
    """
    scores = rows_of(tables, "scores", study)
    swept_ones = set(scores.loc[scores["point"] != "", "variant"]) | set(BASELINES)
    held: set[str] = set()
    if "history" in tables:
        history = rows_of(tables, "history", study)
        terms = history["quantity"].str.startswith(("penalty/", "constraint/"))
        held = set(history.loc[terms, "variant"])
    return next((v for v in scores["variant"].unique() if v not in swept_ones | held), "")


def scored_on(scores: pd.DataFrame, metric: str, blocks: Iterable[str]) -> list[tuple[str, str, str]]:
    """(source, block, truth) of a metric: each block on the source where most blocks are active."""
    rows = pick(scores, metric=metric, twist=0.0)
    lanes = []
    for block in blocks:
        source = main_source(rows, block)
        mine = pick(rows, block=block, source=source)
        lanes += [(source, block, truth) for truth in dict.fromkeys(mine["truth"])]
    return lanes


def worst_of(
    scores: pd.DataFrame, metric: str, lanes: list[tuple[str, str, str]], keys: list[str], *, high: bool
) -> pd.Series:
    """For each fit its largest (or smallest) score over the lanes; a fit without all of them has none."""
    if not lanes:
        return pd.Series(dtype=float)
    columns = []
    for source, block, truth in lanes:
        rows = pick(scores, metric=metric, source=source, block=block, truth=truth, twist=0.0)
        columns.append(rows[rows["finite"]].drop_duplicates(keys).set_index(keys)["value"])
    table = pd.concat(columns, axis=1)
    return table.max(axis=1, skipna=False) if high else table.min(axis=1, skipna=False)


def median_interval(values: Iterable[float]) -> tuple[float, float]:
    """Interval of the median from order statistics: it holds the true one with at least 95 %.

    The k-th smallest and the k-th largest value miss it with probability 2 P(Bin(n, 1/2) < k), whatever
    the distribution. Below six values no pair reaches 95 %, and the range is given.
    """
    found = np.sort(np.asarray(list(values), dtype=float))
    found = found[np.isfinite(found)]
    n = len(found)
    if not n:
        return float("nan"), float("nan")
    k = 1
    while k + 1 <= (n + 1) // 2 and 2 * sum(comb(n, i) for i in range(k + 1)) <= 0.05 * 2**n:
        k += 1
    return float(found[k - 1]), float(found[n - k])
