"""Regrets are differences to single-source fits of a seed; gains over a front are those of known fronts."""

import numpy as np
import pandas as pd
import pytest

from cdgm.evaluation.catalogue import METRICS
from cdgm.evaluation.regret import gain_over_front, pareto_front, regret_rows
from cdgm.evaluation.study_tables import SCORE_COLUMNS, summarise

OWN = {("equal", "place=1"): "a", ("equal", "place=2"): "b"}


def fit(variant: str, point: str, seed: int, elbo: dict[str, float], finite: bool = True) -> list[dict]:
    place = {"study": "s", "setting": "equal", "variant": variant, "dataset": "d", "fit": variant}
    return [
        place
        | {"point": point, "seed": seed, "member": seed, "finite": finite, "source": source, "block": ""}
        | {"truth": "", "twist": 0.0, "metric": metric, "value": value, "null_mean": np.nan}
        | {"null_high": np.nan}
        for source, value in elbo.items()
        for metric in ("elbo", "kl")
    ]


def values(rows: pd.DataFrame, metric: str, **where) -> list[float]:
    kept = rows[rows["metric"] == metric]
    for column, value in where.items():
        kept = kept[kept[column] == value]
    return kept["value"].tolist()


def test_regrets_are_what_each_source_lost_and_the_worst_is_the_largest():
    scores = pd.DataFrame(
        [
            *fit("alone", "place=1", 1, {"a": 5.0, "b": -90.0}),
            *fit("alone", "place=2", 1, {"a": -90.0, "b": 3.0}),
            *fit("alone", "place=1", 2, {"a": 6.0, "b": -90.0}),
            *fit("alone", "place=2", 2, {"a": -90.0, "b": 3.0}, finite=False),
            *fit("sum", "", 1, {"a": 4.0, "b": 3.5}),
            *fit("sum", "", 2, {"a": 4.0, "b": 2.0}),
        ]
    )
    rows = regret_rows(scores[SCORE_COLUMNS], "alone", OWN)
    assert set(rows["variant"]) == {"sum"}
    assert list(rows) == SCORE_COLUMNS
    assert set(rows["metric"]) <= set(METRICS)
    assert values(rows, "regret", seed=1) == [1.0, -0.5]
    assert values(rows, "regret_worst", seed=1) == [1.0]
    # The reference of the second source diverged in seed 2, so its regret and the largest are not known.
    np.testing.assert_equal(values(rows, "regret", seed=2), [2.0, np.nan])
    np.testing.assert_equal(values(rows, "regret_worst", seed=2), [np.nan])
    summary = summarise(rows)
    assert summary.loc[
        summary["metric"] == "regret_worst", ["n", "n_finite", "median"]
    ].to_numpy().tolist() == [[2, 1, 1.0]]


def test_gains_over_a_convex_front():
    """x y = 1, y < 2 and x < 2: gains are differences along the diagonal, in closed form."""
    x = np.geomspace(0.5, 2, 401)
    front = np.stack([x, 1 / x], axis=1)
    for shift in (-0.3, -0.01, 0.0, 0.2):
        np.testing.assert_allclose(gain_over_front(front[::40] + shift, front), -shift, atol=1e-4)
    # Beyond an end, only the other loss counts.
    np.testing.assert_allclose(
        gain_over_front(np.array([[9.0, 0.5], [9.0, 0.4], [0.1, 9.0]]), front), [0, 0.1, 0.4], atol=1e-4
    )


def test_fronts_are_joined_by_lines_and_beaten_points_are_none_of_them():
    front = np.array([[0.0, 4.0], [4.0, 0.0], [3.0, 4.5], [4.0, 1.0], [0.0, 4.0]])
    np.testing.assert_array_equal(pareto_front(front), [[0, 4], [4, 0]])
    points = np.array([[2.0, 2.0], [1.0, 1.0], [3.0, 3.0], [1.0, 3.0], [5.0, 0.0]])
    np.testing.assert_allclose(gain_over_front(points, front), [0, 1, -1, 0, 0])
    # Of one point: the region that it beats.
    np.testing.assert_allclose(gain_over_front(np.array([[1.0, 5.0], [3.0, 3.0]]), front[2:3]), [2, 1.5])


def test_gains_are_paired_by_seed():
    """A seed in which all fits lose 7 nats, and sources 3 nats apart, changes no gain."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(7):
        a, b = rng.normal(size=2) * 5
        rows += fit("alone", "place=1", seed, {"a": 0.0, "b": -90.0})
        rows += fit("alone", "place=2", seed, {"a": -90.0, "b": 0.0})
        for ratio, (lost_a, lost_b) in {"0.5": (3, 1), "1": (2, 2), "2": (1, 3)}.items():
            rows += fit("grid", f"ratio.a={ratio}", seed, {"a": a - lost_a, "b": b - lost_b})
        rows += fit("better", "", seed, {"a": a - 1.5, "b": b - 2.0})
    found = regret_rows(pd.DataFrame(rows)[SCORE_COLUMNS], "alone", OWN, ["grid"])
    np.testing.assert_allclose(values(found, "front_gain", variant="better"), 0.25)
    np.testing.assert_allclose(values(found, "front_gain", variant="grid"), 0.0, atol=1e-12)
    assert np.ptp(values(found, "regret_worst", variant="better")) > 1


@pytest.mark.parametrize("front", [[], ["grid"]])
def test_a_study_without_a_front_or_its_fits_has_no_gain(front):
    scores = pd.DataFrame(
        fit("alone", "place=1", 1, {"a": 5.0, "b": 3.0})
        + fit("alone", "place=2", 1, {"a": 5.0, "b": 3.0})
        + fit("sum", "", 1, {"a": 4.0, "b": 3.5})
    )
    gains = values(regret_rows(scores[SCORE_COLUMNS], "alone", OWN, front), "front_gain")
    np.testing.assert_equal(gains, [np.nan] * len(front))
