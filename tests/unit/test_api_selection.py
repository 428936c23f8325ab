"""The recommended dimensions and levels follow the rules, on made tables and on small simulations."""

import math

import numpy as np
import pandas as pd
import pytest

import cdgm
from cdgm.estimator.selection import sweep
from cdgm.estimator.selection.dimensions import recommend
from cdgm.estimator.selection.level import COLUMNS, LevelledVariant, recommend_level
from cdgm.estimator.specification import parse_variant
from tests.unit.data_helpers import refused

#: ELBO, agreement of background and of salient, share of members with a trace.
CLEAN, LEAKS = (-10.0, 0.95, 0.95, 0.0), (-10.0, 0.95, 0.95, 1.0)
LOST, DISAGREE = (-10.6, 0.95, 0.95, 0.0), (-10.0, 0.95, 0.7, 0.0)
#: Just within, and just beyond, the range over members.
WITHIN, BEYOND = (-10.49, 0.95, 0.95, 0.0), (-10.51, 0.95, 0.95, 0.0)


def table(rows) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["elbo", "agreement_background", "agreement_salient", "traces"])
    return made.assign(elbo_range=0.5, active_background=2, active_salient=2, dependence=1.0, separation=0.5)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(10, 5, CLEAN), (5, 5, CLEAN), (5, 2, CLEAN)], (5, 2)),
        ([(10, 5, CLEAN), (5, 5, WITHIN)], (5, 5)),
        ([(10, 5, CLEAN), (5, 5, BEYOND)], (10, 5)),
        # Members must agree on both blocks; little may leak.
        ([(10, 5, CLEAN), (5, 5, (-10.0, 0.79, 0.95, 0.0))], (10, 5)),
        ([(10, 5, CLEAN), (5, 5, (-10.0, 0.95, 0.79, 0.0))], (10, 5)),
        ([(10, 5, CLEAN), (5, 5, (-10.0, 0.95, 0.95, 0.6))], (10, 5)),
        ([(10, 5, CLEAN), (5, 5, (-10.0, 0.95, 0.95, 0.5))], (5, 5)),
        # Agreement does not make up for a worse ELBO.
        ([(10, 5, (-10.0, 0.1, 0.1, 1.0)), (5, 5, (-12.0, 0.95, 0.95, 0.0))], (10, 5)),
        # One mark of two is better than none.
        ([(10, 5, LEAKS), (5, 5, (-10.0, 0.1, 0.1, 1.0))], (10, 5)),
        # Of equally many dimensions fewer salient ones.
        ([(5, 10, CLEAN), (10, 5, CLEAN)], (10, 5)),
    ],
)
def test_the_rule_for_dimensions(rows, expected):
    for ordered in (rows, rows[::-1]):
        sizes = pd.DataFrame([row[:2] for row in ordered], columns=["n_background", "n_salient"])
        found = recommend(sizes.join(table([row[2] for row in ordered])))
        assert (found.n_background, found.n_salient) == expected
        assert found.table["recommended"].sum() == 1
        assert found.reason.startswith("{} background and {} salient".format(*expected))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # The weakest that is clean.
        ([CLEAN, CLEAN, CLEAN], 0),
        ([LEAKS, CLEAN, CLEAN], 1),
        # A level that costs ELBO does not count; then the strongest that costs nothing.
        ([LEAKS, LEAKS, LOST], 1),
        ([LEAKS, LOST, LEAKS], 2),
        ([LEAKS, LOST, LOST], 0),
        ([LEAKS, WITHIN], 1),
        ([LEAKS, BEYOND], 0),
        # Traces in half of the members are still clean.
        ([LEAKS, (-10.0, 0.95, 0.95, 0.5), CLEAN], 1),
        # Members must agree, if they do anywhere.
        ([LEAKS, DISAGREE, CLEAN], 2),
        ([LEAKS, DISAGREE], 0),
        ([DISAGREE, DISAGREE], 0),
    ],
)
def test_the_rule_for_levels(rows, expected):
    strength = np.arange(len(rows))
    measured = table(rows).assign(level=strength * 100.0, strength=strength)
    found, level, reason = recommend_level(measured, "weight of hsic")
    assert list(found.columns) == COLUMNS
    assert found.loc[found["recommended"], "level"].tolist() == [level] == [expected * 100]
    assert reason.startswith(f"weight of hsic {level:g}:" if expected else "no weight of hsic:")


def test_parts_that_are_swept():
    both = LevelledVariant.find("hsic-mmd-cvae")
    assert both.title == "weight of hsic and mmd_shared"
    assert [p["weight"] for p in both.at(7.0)["penalties"]] == [7.0, 7.0]
    assert "penalties" not in both.at(0.0)
    alone = LevelledVariant.find("hsic-mmd-cvae", "hsic")
    assert {p["kind"]: p["weight"] for p in alone.at(7.0)["penalties"]} == {"hsic": 7, "mmd_shared": 1000}
    assert [p["kind"] for p in alone.at(0.0)["penalties"]] == ["mmd_shared"]
    held = LevelledVariant.find("mo-co-cvae")
    assert held.option == "alpha"
    assert [c["kind"] for c in held.at(0.0)["constraints"]] == ["kl_floor"]
    assert [c.get("alpha") for c in held.at(0.2)["constraints"]] == [0.2, 0.2, None]
    assert held.at(0.05) == parse_variant("mo-co-cvae").model_dump(mode="json", exclude_defaults=True)


def test_absolute_levels_are_stronger_as_they_fall():
    plain = LevelledVariant.find("co-cvae").at(0.05)
    for constraint in plain["constraints"][:2]:
        del constraint["alpha"]
        constraint["level"] = 0.001
    swept = LevelledVariant.find(plain)
    assert swept.option == "level"
    assert swept.weakest_first([0.001, 0.003]) == [math.inf, 0.003, 0.001]
    assert [c["kind"] for c in swept.at(math.inf)["constraints"]] == ["kl_floor"]


def simulated(n: int) -> dict[str, np.ndarray]:
    """Two background dimensions, one salient, linear mixing."""
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((2 * n, 2)), rng.standard_normal((n, 1))
    x = z @ rng.standard_normal((2, 12)) + 0.1 * rng.standard_normal((2 * n, 12))
    x[n:] += t @ rng.standard_normal((1, 12))
    return {"a": x[:n], "b": x[n:]}


SMALL = {"held_out": 0.3, "model": {"encoder_hidden": [16], "decoder_hidden": []}, "progress_bar": False}


def files(found, folder) -> set[str]:
    found.plot(folder / "figure")
    return {file.suffix for file in folder.iterdir()}


@pytest.mark.soak
def test_a_size_that_is_too_small_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "NULL_DRAWS", 10)
    grid = {"n_background": [1, 2], "n_salient": [1]}
    found = cdgm.choose_dimensions(simulated(600), **grid, n_members=2, max_steps=400, **SMALL)
    assert (found.n_background, found.n_salient) == (2, 1)
    measured = found.table.set_index(["n_background", "n_salient"])
    # One dimension too few costs far more than members differ.
    assert measured.loc[(1, 1), "elbo"] < measured.loc[(2, 1), "elbo"] - 3
    assert not measured.loc[(1, 1), "within"]
    assert files(found, tmp_path) == {".png", ".pdf", ".csv"}


@pytest.mark.soak
def test_a_level_that_empties_a_block_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "NULL_DRAWS", 10)
    sizes = {"n_background": 2, "n_salient": 1}
    found = cdgm.choose_level(simulated(200), levels=[1e6], n_members=2, max_steps=300, **sizes, **SMALL)
    measured = found.table.set_index("level")
    assert list(measured.index) == [0.0, 1e6]
    assert list(measured["strength"]) == [0, 1]
    assert measured.loc[1e6, "elbo"] < measured.loc[0.0, "elbo"] - 2
    assert found.level == 0
    assert files(found, tmp_path) == {".png", ".pdf", ".csv"}
    # The recommendation can be fitted as it is.
    model = cdgm.ComparativeModel.from_arrays(simulated(30), variant=found.variant, **sizes)
    assert model.variant.penalties == ()


def test_arguments_are_checked():
    x, dims, level = simulated(30), cdgm.choose_dimensions, cdgm.choose_level
    refused(lambda: dims(x, n_members=1), "n_members", "two or more")
    refused(lambda: dims(x, n_salient=3), "n_salient", "a list")
    refused(lambda: dims(x, n_salient=[3, 3]), "n_salient", "different")
    refused(lambda: dims(x, variant="none"), "variant", "'none'")
    refused(lambda: level(x, "cvae"), "variant", "'cvae'", "with penalties or constraints")
    refused(lambda: level(x, "hsic-cvae", of="mmd"), "of", "'mmd'", "['hsic']")
    refused(lambda: level(x, levels=3.0), "levels", "a list")
    refused(lambda: level(x, levels=[1, 1]), "levels", "different")
    refused(lambda: level(x, levels=[-1.0]), "levels", "-1.0", "at least 0")
    refused(lambda: level(x, "co-cvae", levels=[0.9]), "levels", "0.9", "at most 0.5")
    refused(lambda: level(x, n_members=1), "choose_level", "n_members", "two or more")
