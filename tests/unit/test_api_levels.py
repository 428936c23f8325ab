"""Choosing a level: the parts that are swept, the rule on made tables, and a small simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import cdgm
from cdgm.estimator.levels import COLUMNS, recommend_level
from cdgm.estimator.variant_levels import Levels
from tests.unit.data_helpers import refused

#: ELBO, agreement of background and of salient, traces.
LEAKS, CLEAN = (-10.0, 0.95, 0.95, 1.0), (-10.0, 0.95, 0.95, 0.0)
LOST, DISAGREE = (-10.6, 0.95, 0.95, 0.0), (-10.0, 0.95, 0.7, 0.0)


def chosen(*rows: tuple) -> int:
    """Place of the level that is recommended."""
    table = pd.DataFrame(rows, columns=["elbo", "agreement_background", "agreement_salient", "traces"])
    table = table.assign(level=np.arange(len(table)) * 100.0, strength=np.arange(len(table)), elbo_range=0.5)
    table = table.assign(active_background=2, active_salient=2, dependence=1.0, separation=0.5)
    found, level, reason = recommend_level(table, "weight of hsic")
    assert list(found.columns) == COLUMNS
    assert found["recommended"].sum() == 1
    assert found.loc[found["recommended"], "level"].item() == level
    assert reason.startswith("no weight of hsic:" if level == 0 else f"weight of hsic {level:g}:")
    return int(level / 100)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # The weakest that is clean: more pressure is not needed.
        ([CLEAN, CLEAN, CLEAN], 0),
        ([LEAKS, CLEAN, CLEAN], 1),
        # What is clean at the cost of ELBO does not count; then as hard as costs nothing.
        ([LEAKS, LEAKS, LOST], 1),
        ([LEAKS, LOST, LEAKS], 2),
        ([LEAKS, LOST, LOST], 0),
        # Just within, and just beyond, what members differ by.
        ([LEAKS, (-10.49, 0.95, 0.95, 0.0)], 1),
        ([LEAKS, (-10.51, 0.95, 0.95, 0.0)], 0),
        # Traces in half of the members are still clean.
        ([LEAKS, (-10.0, 0.95, 0.95, 0.5), CLEAN], 1),
        # Members must agree, if they do anywhere.
        ([LEAKS, DISAGREE, CLEAN], 2),
        ([LEAKS, DISAGREE], 0),
        ([DISAGREE, DISAGREE], 0),
    ],
)
def test_the_rule(rows, expected):
    assert chosen(*rows) == expected


def test_what_is_swept():
    both = Levels.find("hsic-mmd-cvae")
    assert (both.number, both.of) == ("weight", ("hsic", "mmd_shared"))
    assert [p["weight"] for p in both.at(7.0)["penalties"]] == [7.0, 7.0]
    assert "penalties" not in both.at(0.0)
    alone = Levels.find("hsic-mmd-cvae", "hsic").at(7.0)
    assert {p["kind"]: p["weight"] for p in alone["penalties"]} == {"hsic": 7.0, "mmd_shared": 1000.0}
    without = Levels.find("hsic-mmd-cvae", "hsic").at(0.0)
    assert [p["kind"] for p in without["penalties"]] == ["mmd_shared"]
    held = Levels.find("mo-co-cvae")
    assert held.number == "alpha"
    assert [c["kind"] for c in held.at(0.0)["constraints"]] == ["kl_floor"]
    assert [c.get("alpha") for c in held.at(0.2)["constraints"]] == [0.2, 0.2, None]
    assert held.at(0.05) == cdgm.estimator.settings.variant("mo-co-cvae").model_dump(
        mode="json", exclude_defaults=True
    )


def test_absolute_levels_press_more_as_they_fall():
    plain = Levels.find("co-cvae").at(0.05)
    for constraint in plain["constraints"][:2]:
        del constraint["alpha"]
        constraint["level"] = 0.001
    swept = Levels.find(plain)
    assert swept.number == "level"
    assert swept.kind.ordered([0.001, 0.003]) == [0.003, 0.001]
    assert [c["kind"] for c in swept.at(math.inf)["constraints"]] == ["kl_floor"]


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((800, 2)), rng.standard_normal((400, 1))
    x = z @ rng.standard_normal((2, 12)) + 0.1 * rng.standard_normal((800, 12))
    x[400:] += t @ rng.standard_normal((1, 12))
    return {"a": x[:400], "b": x[400:]}


SMALL = {"n_background": 2, "n_salient": 1, "held_out": 0.3}
SMALL |= {"model": {"encoder_hidden": [16], "decoder_hidden": []}, "progress_bar": False}


@pytest.mark.slow
def test_a_level_that_empties_a_block_is_not_taken(tmp_path):
    found = cdgm.choose_level(data(), levels=[1e6, 1.0], n_members=2, max_steps=400, **SMALL)
    table = found.table.set_index("level")
    assert list(table.index) == [0.0, 1.0, 1e6]
    assert list(table["strength"]) == [0, 1, 2]
    # So much pressure costs nats.
    assert table.loc[1e6, "elbo"] < table.loc[0.0, "elbo"] - 2
    assert found.level < 1e6
    found.plot(tmp_path / "level")
    assert {file.suffix for file in tmp_path.iterdir()} == {".png", ".pdf", ".csv"}
    # The recommendation can be fitted as it is.
    model = cdgm.ComparativeModel.from_arrays(data(), variant=found.variant, n_background=2, n_salient=1)
    assert len(model.variant.penalties) == (2 if found.level else 0)


def test_arguments_are_checked():
    x = data()
    refused(lambda: cdgm.choose_level(x, "cvae"), "variant", "'cvae'", "with penalties or constraints")
    refused(lambda: cdgm.choose_level(x, "hsic-cvae", of="mmd"), "of", "'mmd'", "['hsic']")
    refused(lambda: cdgm.choose_level(x, levels=3.0), "levels", "a list")
    refused(lambda: cdgm.choose_level(x, levels=[1, 1]), "levels", "different")
    refused(lambda: cdgm.choose_level(x, levels=[-1.0]), "levels", "-1.0", "at least 0")
    refused(lambda: cdgm.choose_level(x, "co-cvae", levels=[0.9]), "levels", "0.9", "at most 0.5")
    refused(lambda: cdgm.choose_level(x, n_members=1), "choose_level", "n_members", "two or more")
