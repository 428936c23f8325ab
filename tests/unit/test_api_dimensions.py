"""Choosing sizes of blocks: the rule on made tables, and a small simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import cdgm
from cdgm.estimator.dimensions import recommend
from tests.unit.data_helpers import refused

#: background, salient, ELBO, agreement of background and of salient, traces; all fine but for the sizes.
GOOD = (-10.0, 0.95, 0.95, 0.0)


def chosen(*rows: tuple) -> tuple[int, int]:
    names = ["n_background", "n_salient", "elbo", "agreement_background", "agreement_salient", "traces"]
    table = pd.DataFrame(rows, columns=names).assign(elbo_range=0.5, active_background=2, active_salient=2)
    table = table.assign(dependence=1.0, separation=0.5)
    found = recommend(table)
    assert found.table["recommended"].sum() == 1
    assert found.reason.startswith(f"{found.n_background} background and {found.n_salient} salient")
    return found.n_background, found.n_salient


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(10, 5, *GOOD), (5, 5, *GOOD), (5, 2, *GOOD)], (5, 2)),
        # Just within, and just beyond, what members differ by.
        ([(10, 5, *GOOD), (5, 5, -10.49, 0.95, 0.95, 0.0)], (5, 5)),
        ([(10, 5, *GOOD), (5, 5, -10.51, 0.95, 0.95, 0.0)], (10, 5)),
        # Members must agree on both blocks; little may leak.
        ([(10, 5, *GOOD), (5, 5, -10.0, 0.79, 0.95, 0.0)], (10, 5)),
        ([(10, 5, *GOOD), (5, 5, -10.0, 0.95, 0.79, 0.0)], (10, 5)),
        ([(10, 5, *GOOD), (5, 5, -10.0, 0.95, 0.95, 0.6)], (10, 5)),
        ([(10, 5, *GOOD), (5, 5, -10.0, 0.95, 0.95, 0.5)], (5, 5)),
        # What explains the data worse is not taken for agreeing.
        ([(10, 5, -10.0, 0.1, 0.1, 1.0), (5, 5, -12.0, 0.95, 0.95, 0.0)], (10, 5)),
        # One mark of two is better than none.
        ([(10, 5, -10.0, 0.9, 0.9, 1.0), (5, 5, -10.0, 0.1, 0.1, 1.0)], (10, 5)),
        # Of equally many dimensions fewer salient ones.
        ([(5, 10, *GOOD), (10, 5, *GOOD)], (10, 5)),
    ],
)
def test_the_rule(rows, expected):
    assert chosen(*rows) == chosen(*rows[::-1]) == expected


@pytest.mark.slow
def test_the_sizes_of_a_simulation_are_found(tmp_path):
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((1200, 2)), rng.standard_normal((600, 1))
    x = z @ rng.standard_normal((2, 12)) + 0.1 * rng.standard_normal((1200, 12))
    x[600:] += t @ rng.standard_normal((1, 12))
    found = cdgm.choose_dimensions(
        {"a": x[:600], "b": x[600:]},
        n_background=[1, 2, 3],
        n_salient=[1, 2],
        n_members=2,
        max_steps=400,
        variant="cvae",
        held_out=0.3,
        model={"encoder_hidden": [16], "decoder_hidden": []},
    )
    assert (found.n_background, found.n_salient) == (2, 1)
    best = found.table.set_index(["n_background", "n_salient"])
    # One dimension too few costs far more than one too many.
    assert best.loc[(1, 1), "elbo"] < best.loc[(2, 1), "elbo"] - 3
    assert not best.loc[(1, 1), "within"]
    found.plot(tmp_path / "dimensions")
    assert {file.suffix for file in tmp_path.iterdir()} == {".png", ".pdf", ".csv"}


def test_arguments_are_checked():
    data = {s: np.random.default_rng(0).standard_normal((30, 4)) for s in "ab"}
    refused(lambda: cdgm.choose_dimensions(data, n_members=1), "n_members", "two or more")
    refused(lambda: cdgm.choose_dimensions(data, n_salient=3), "n_salient", "a list")
    refused(lambda: cdgm.choose_dimensions(data, n_salient=[3, 3]), "n_salient", "different")
    refused(lambda: cdgm.choose_dimensions(data, variant="none"), "variant", "'none'")
