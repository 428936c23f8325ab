"""The benchmark of choosing: rules and rates on made tables, and that stacked fits are those of the API."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.choosing_rules import RULES, picks, rates


def sweep(data: int, elbos: dict[tuple[int, int], float], axes: tuple[int, int]) -> pd.DataFrame:
    """A sweep over sizes whose truth is 5 and 3."""
    sizes = [{"n_background": b, "n_salient": s, "elbo": e} for (b, s), e in elbos.items()]
    return pd.DataFrame(sizes).assign(
        setting="made", data=data, true_background=5, true_salient=3, elbo_range=0.5, traces=1.0,
        agreement_background=0.9, agreement_salient=0.9, active_background=axes[0], active_salient=axes[1],
        dependence=2.0, separation=0.5,
    )  # fmt: skip


GRID = {(3, 2): -9.0, (3, 3): -8.0, (5, 2): -7.0, (5, 3): -3.1, (10, 2): -4.0, (10, 3): -3.0}


def test_picks_and_their_rates():
    rows = pd.concat([sweep(0, GRID, (5, 3)), sweep(1, GRID | {(5, 3): -3.6}, (6, 2))], ignore_index=True)
    picked = picks(rows)
    found = {(r.data, r.rule): (r.n_background, r.n_salient) for r in picked.itertuples()}
    assert [found[0, rule] for rule in RULES] == [(5, 3), (5, 3), (10, 3), (5, 3)]
    assert [found[1, rule] for rule in RULES] == [(10, 3), (10, 3), (10, 3), (6, 2)]
    whole = rates(picked).set_index(["setting", "rule"]).loc["all"]
    assert list(whole["hits"]) == [1, 1, 0, 1]
    assert list(whole["chance"]) == pytest.approx([1 / 6] * 4)
    rule = whole.loc["the rule"]
    # Clopper and Pearson's interval for 1 of 2.
    assert (rule["low"], rule["high"]) == pytest.approx((0.01258, 0.98742), abs=1e-4)
    assert (rule["over_background"], rule["under_background"], rule["over_salient"]) == (1, 0, 0)
    axes = whole.loc["axes in use of the largest fit"]
    assert (axes["over_background"], axes["under_salient"], axes["near"]) == (1, 1, 1.0)
