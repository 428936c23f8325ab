"""Rules that `benchmarks.choosing` compares, and how often each picks the true sizes. Pure functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from cdgm.estimator.selection.dimensions import SIZES, recommend
from cdgm.estimator.selection.sweep import BLOCKS
from cdgm.evaluation.intervals import share_interval

Sizes = tuple[int, int]


def recommended(table: pd.DataFrame) -> Sizes:
    """The package's rule."""
    found = recommend(table)
    return found.n_background, found.n_salient


def highest(table: pd.DataFrame) -> Sizes:
    """Highest held-out ELBO."""
    return _sizes(table.loc[table["elbo"].idxmax()])


def smallest_within(table: pd.DataFrame) -> Sizes:
    """The smallest within the tolerance, whatever members agree on and whatever leaks."""
    judged = recommend(table).table
    kept = judged[judged["within"]].assign(total=lambda t: t[SIZES].sum(axis=1))
    return _sizes(kept.sort_values(["total", "n_salient"], kind="stable").iloc[0])


def in_use(table: pd.DataFrame) -> Sizes:
    """Axes in use in the fit of the largest sizes alone; need not be on the grid."""
    largest = table.sort_values(SIZES).iloc[-1]
    background, salient = (int(np.rint(largest[f"active_{block}"])) for block in BLOCKS)
    return background, salient


RULES: dict[str, Callable[[pd.DataFrame], Sizes]] = {
    "the rule": recommended,
    "ELBO within tolerance, smallest": smallest_within,
    "highest ELBO": highest,
    "axes in use of the largest fit": in_use,
}


def picks(rows: pd.DataFrame) -> pd.DataFrame:
    """What each rule picks on each data set: a row a setting, data set and rule, with over and under."""
    found = []
    for (setting, data), table in rows.groupby(["setting", "data"], sort=False):
        table = table.reset_index(drop=True)
        truth = tuple(int(table[f"true_{block}"].iloc[0]) for block in BLOCKS)
        grids = [sorted(table[size].unique()) for size in SIZES]
        for name, rule in RULES.items():
            picked = rule(table)
            row = {"setting": setting, "data": data, "rule": name, "sizes": len(table)}
            for block, size, true, grid in zip(BLOCKS, picked, truth, grids, strict=True):
                row |= {f"true_{block}": true, f"n_{block}": size}
                row[f"steps_{block}"] = int(np.searchsorted(grid, size) - np.searchsorted(grid, true))
                row[f"error_{block}"] = int(np.sign(size - true))
            row["hit"] = picked == truth
            row["near"] = max(abs(row[f"steps_{block}"]) for block in BLOCKS) <= 1
            found.append(row)
    return pd.DataFrame(found)


def rates(picked: pd.DataFrame) -> pd.DataFrame:
    """Share of data sets with the truth, over each setting and all: exact 95 % intervals, and chance's."""
    found = []
    parts = [*picked.groupby("setting", sort=False), ("all", picked)]
    for setting, part in parts:
        for rule, own in part.groupby("rule", sort=False):
            share, low, high, _ = share_interval(int(own["hit"].sum()), len(own))
            row = {"setting": setting, "rule": rule, "data_sets": len(own), "hits": int(own["hit"].sum())}
            row |= {"share": share, "low": low, "high": high, "near": own["near"].mean()}
            for block in BLOCKS:
                for word, sign in (("over", 1), ("under", -1)):
                    row[f"{word}_{block}"] = int((own[f"error_{block}"] == sign).sum())
            found.append(row | {"chance": (1 / own["sizes"]).mean()})
    return pd.DataFrame(found)


def _sizes(row: pd.Series) -> Sizes:
    return int(row["n_background"]), int(row["n_salient"])
