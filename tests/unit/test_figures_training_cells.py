"""What figures of training, of cells and along a swept number show, note and refuse."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit import fake_studies as fake
from tests.unit.test_figures import draw, drawn_of, texts_of


def test_multipliers_smooth_values_but_not_multipliers():
    tables = fake.constrained()
    _, data = draw("multipliers", tables)
    mine = data[(data["kind"] == "seed") & (data["setting"] == "d10x3") & (data["seed"] == 201)]
    history = tables["history"]
    raw = history[(history["setting"] == "d10x3") & (history["seed"] == 201) & (history["variant"] == "held")]
    values = raw[raw["quantity"] == "constraint/hsic"]["value"].to_numpy()
    drawn = mine[mine["quantity"] == "constraint/hsic"].sort_values("step")["value"].to_numpy()
    expected = [values[max(0, i - 9) : i + 1].mean() for i in range(20)]
    np.testing.assert_allclose(drawn, expected)
    drawn = mine[mine["quantity"] == "multiplier/hsic"].sort_values("step")["value"]
    np.testing.assert_allclose(drawn, np.linspace(0, 201, 20))


def test_trades_pair_scores_of_a_seed():
    tables = fake.cell_variants([("s", "held", 201)])
    shuffled = tables["scores"].sample(frac=1.0, random_state=1)
    order = (
        shuffled["variant"].map([*fake.CELL_VARIANTS, "pca", "oracle"].index).sort_values(kind="stable").index
    )
    figure, data = draw("cells_tradeoff", tables | {"scores": shuffled.loc[order]})
    seeds = data[(data["kind"] == "seed") & (data["panel"] == "a") & (data["variant"] == "penalised")]
    seeds = seeds.sort_values("seed")
    np.testing.assert_allclose(seeds["x"], [0.35, 0.36, 0.37])
    np.testing.assert_allclose(seeds["y"], [0.78, 0.79, 0.80])
    median = data[(data["kind"] == "median") & (data["panel"] == "a") & (data["variant"] == "held")]
    assert median["x"].item() == pytest.approx((0.4 + 0.42) / 2)
    assert median["y"].item() == pytest.approx((0.76 + 0.78) / 2)
    # Mixing is that of the cells whose labels are judged, in the shared space.
    mixing = data[(data["kind"] == "seed") & (data["panel"] == "b")]
    assert set(mixing["source"]) == {"q"}
    assert set(mixing["block"]) == {"z"}
    np.testing.assert_allclose(mixing["x"], 1.02)
    assert "held (1 of 3 diverged)" in texts_of(figure)


def test_trades_have_references_as_lines_and_evidence_of_both_sources():
    figure, data = drawn_of("cells_tradeoff")
    references = data[(data["kind"] == "reference") & (data["panel"] == "a")]
    assert references.set_index("variant")["y"].to_dict() == {"pca": 0.6, "oracle": 0.95}
    left = figure.axes[0]
    assert {line.get_ydata()[0] for line in left.lines} == {0.6, 0.95}
    low, high = left.get_ylim()
    assert low < 0.6 < 0.95 < high
    costs = data[(data["kind"] == "seed") & (data["metric"] == "elbo_difference")]
    assert set(costs["source"]) == {"p", "q"}
    np.testing.assert_allclose(costs.loc[costs["variant"] == "other", "value"], -3.0)


def test_objectives_along_a_sweep_compare_with_the_best_number():
    figure, data = draw("objectives", fake.rates())
    median = data[(data["kind"] == "median") & (data["source"] == "target")].set_index(["variant", "setting"])
    best = median.loc[median["metric"] == "elbo_less_best", "value"]
    expected = {"plain": (-4, 0, -1), "mgda": (-3, 2, 2)}
    for variant, values in expected.items():
        np.testing.assert_allclose(best[variant], values, atol=0.06)
    same = median.loc[median["metric"] == "elbo_difference", "value"]
    np.testing.assert_allclose(same["mgda"], (1, 2, 3), atol=0.06)
    assert "learning rate 0.002" in texts_of(figure)


def test_weight_traces_average_records_and_keep_constants():
    figure, data = drawn_of("weight_traces")
    median = data[(data["kind"] == "median") & (data["setting"] == "small")]
    for (variant, point), (_, _, share) in fake.GAINS.items():
        mine = median[(median["variant"] == variant) & (median["point"] == point)]
        values = mine[mine["source"] == "background"].sort_values("step")["value"].to_numpy()
        assert len(values) == 40
        if variant != "mgda":
            np.testing.assert_allclose(values, 2 * share)
    seed = data[(data["kind"] == "seed") & (data["variant"] == "mgda") & (data["seed"] == 201)]
    seed = seed[(seed["setting"] == "small") & (seed["source"] == "target")].sort_values("step")
    raw = 2 - 2 * 0.66 - 0.3 * np.sin(np.arange(40) + 201)
    np.testing.assert_allclose(seed["value"].iloc[20], raw[16:25].mean())
    np.testing.assert_allclose(seed["value"].iloc[0], raw[:5].mean())
    assert "grid ×0.25" in texts_of(figure)
