"""Single figures show the numbers of their tables, paired by seed, with their comparisons."""

import numpy as np
import pytest

from tests.unit import fake_studies as fake
from tests.unit.fake_studies import SETTINGS, simulation
from tests.unit.test_figures import draw, drawn_of, texts_of


def test_recovery_matches_the_table():
    scores = simulation(3)["scores"]
    _, data = draw("recovery", simulation(3))
    rows = scores[(scores["setting"] == "leaky_relu_2") & (scores["metric"] == "recovery_cc")]
    rows = rows[(rows["twist"] == 0) & (rows["block"] == "salient")]
    drawn = data[(data["kind"] == "median") & (data["setting"] == "leaky_relu_2")]
    drawn = drawn[(drawn["metric"] == "recovery_cc") & (drawn["block"] == "salient")]
    assert drawn["value"].item() == pytest.approx(rows["value"].median())


def test_twist_overlays_the_closed_form_of_the_twisted_block():
    _, data = draw("twist", simulation(3))
    line = data[data["kind"] == "closed_form"]
    assert set(line["block"]) == {"background"}
    start = data[(data["kind"] == "median") & (data["metric"] == "recovery_cc") & (data["twist"] == 0)]
    start = start[start["block"] == "background"]["value"].item()
    assert line["value"].iloc[0] == pytest.approx(start)
    assert (np.diff(line["value"]) < 0).all()


def test_two_models_pairs_fits_by_seed():
    scores = simulation(3)["scores"].sample(frac=1.0, random_state=0)
    # Shuffled rows would give other differences if they were paired by order.
    order = scores["setting"].map(list(SETTINGS).index).sort_values(kind="stable").index
    _, data = draw("two_models", simulation(3) | {"scores": scores.loc[order]})
    table = scores[(scores["metric"] == "elbo") & (scores["source"] == "target")]
    table = table.pivot(index="seed", columns="setting", values="value")
    expected = table["leaky_relu_2_twisted_decoder"] - table["leaky_relu_2"]
    drawn = data[(data["metric"] == "elbo_difference") & (data["source"] == "target")]
    drawn = drawn[(drawn["setting"] == "leaky_relu_2_twisted_decoder") & (drawn["kind"] == "seed")]
    np.testing.assert_allclose(drawn.set_index("seed")["value"].sort_index(), expected)


def test_dims_matches_the_table_and_marks_the_truth():
    mine = fake.dimensions()
    figure, data = draw("dims", mine)
    setting = "dims@background=10,salient=3"
    rows = mine["scores"]
    rows = rows[
        (rows["setting"] == setting) & (rows["metric"] == "leakage_r2") & (rows["block"] == "background")
    ]
    drawn = data[
        (data["setting"] == setting) & (data["metric"] == "leakage_r2") & (data["block"] == "background")
    ]
    assert sorted(drawn.loc[drawn["kind"] == "seed", "value"]) == pytest.approx(sorted(rows["value"]))
    marks = data[data["kind"] == "true_dims"]
    assert set(marks["x"]) == {3.0}
    assert set(marks["y"]) == {5.0}
    # The best cell is the zero of its panel.
    below = data[(data["metric"] == "elbo_below_best") & (data["kind"] == "median")]
    assert below.groupby("source")["value"].max().tolist() == pytest.approx([0.0, 0.0])
    texts = [t.get_text() for t in figure.axes[2].texts]
    assert len(texts) == 6


def test_weights_draw_the_table_against_the_plain_fit():
    _, data = drawn_of("weights")
    median = data[(data["kind"] == "median") & (data["metric"] == "leakage_r2")]
    median = median[(median["setting"] == "d10x3") & (median["block"] == "background")]
    for variant, leak in fake.LEAK.items():
        np.testing.assert_allclose(median.loc[median["variant"] == variant, "value"], leak, atol=0.03)
    # ELBOs rise by a nat with each seed; pairs by seed see nothing of that.
    seeds = data[(data["kind"] == "seed") & (data["metric"] == "elbo_difference")]
    assert set(seeds["variant"]) == {"hsic-weights", "mm-cvae"}
    assert seeds["value"].abs().max() < 0.2


def test_objectives_pair_seeds_with_equal_weights_and_join_the_ratios():
    figure, data = drawn_of("objectives")
    median = data[(data["kind"] == "median") & (data["metric"] == "elbo_difference")]
    # Weights by size come first in the study, but equal ones are compared with.
    assert set(median["variant"]) == {"sized", "grid", "mgda"}
    for (variant, point), gains in fake.GAINS.items():
        mine = median[(median["variant"] == variant) & (median["point"] == point)]
        for source, gain in zip(("background", "target"), gains, strict=False):
            if variant != "plain":
                np.testing.assert_allclose(mine.loc[mine["source"] == source, "value"], [gain, gain])
    # The front runs through the plain fit, by its ratio of 1.
    lines = [np.transpose(line.get_data()) for axes in figure.axes for line in axes.get_lines()]
    front = [[-0.6, 0.4], [0.0, 0.0], [0.5, -0.8]]
    assert sum(line.shape == (3, 2) and np.allclose(line, front) for line in lines) == 2
    assert "plain (compared with)" in texts_of(figure)


def test_sources_show_every_source_the_largest_leak_and_the_worst_source():
    _, data = drawn_of("sources")
    median = data[data["kind"] == "median"]
    for setting, count in (("two", 2), ("three", 3)):
        mine = median[median["setting"] == setting]
        recovery = mine[(mine["metric"] == "recovery_cc") & (mine["variant"] == "plain")]
        pairs = set(zip(recovery["block"], recovery["source"], strict=True))
        sources = [f"s{i + 1}" for i in range(count)]
        assert pairs == {("shared", s) for s in sources} | {(f"own{s[1]}", s) for s in sources}
        gains = mine[mine["metric"] == "elbo_difference"].set_index("source")["value"]
        np.testing.assert_allclose(gains[sources], [-0.2, *[0.5] * (count - 1)])
        worst = mine.loc[mine["metric"] == "elbo_difference_smallest", "value"]
        np.testing.assert_allclose(worst, [-0.2])
        leaks = mine[mine["metric"] == "leakage_r2_largest"].set_index(["block", "variant"])["value"]
        owns = "&".join(f"own{i + 1}" for i in range(count))
        np.testing.assert_allclose(leaks[["shared", owns]], [0.3, 0.3, 0.2, 0.2])
    # The null beside a largest value is the largest null.
    nulls = data[(data["kind"] == "null_high") & (data["metric"] == "leakage_r2_largest")]
    assert set(nulls["value"]) == {2 * fake.NULL}


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


def test_procedures_stand_at_the_fits_that_they_take():
    _, data = draw("procedures", fake.procedures())
    shares = data[(data["kind"] == "share") & (data["setting"] == "d10x3")].set_index(["variant", "point"])
    assert shares["value"].round(2).to_dict() == {
        ("plain", ""): 1.0, ("restarts", "starts=1"): 0.67, ("restarts", "starts=2"): 0.33,
        ("restarts", "starts=4"): 0.0, ("prune", ""): 0.0,
        ("held", "hsic.level=1"): 0.0, ("held", "hsic.level=3"): 1.0,
    }  # fmt: skip
    at = shares["x"]
    # By the number of fits, and side by side where it is the same.
    assert at["restarts", "starts=4"] - at["restarts", "starts=2"] == pytest.approx(1)
    assert at["restarts", "starts=2"] - at["restarts", "starts=1"] == pytest.approx(1)
    assert at["restarts", "starts=2"] < at["prune", ""] < at["restarts", "starts=4"]
    assert at.is_unique
