"""What figures of simulations show, note and refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdgm.utils.errors import UserError
from tests.unit import fake_studies as fake
from tests.unit.fake_tables import SETTINGS, simulation
from tests.unit.test_figures import draw, drawn_of, painted, points_of, texts_of


def test_recovery_draws_all_seeds_and_leaves_the_two_models_out():
    figure, data = draw("recovery", simulation(3))
    settings = [s for s in SETTINGS if "twisted_decoder" not in s]
    assert list(data["setting"].unique()) == settings
    for axes in figure.axes:
        assert len(points_of(axes)) == len(fake.SEEDS) * len(settings) * 2
    # The shared block is judged where the blocks can mix, not where it is alone.
    assert set(data["source"]) == {"target"}


def test_recovery_matches_the_table():
    scores = simulation(3)["scores"]
    _, data = draw("recovery", simulation(3))
    rows = scores[(scores["setting"] == "leaky_relu_2") & (scores["metric"] == "recovery_cc")]
    rows = rows[(rows["twist"] == 0) & (rows["block"] == "salient")]
    drawn = data[(data["kind"] == "median") & (data["setting"] == "leaky_relu_2")]
    drawn = drawn[(drawn["metric"] == "recovery_cc") & (drawn["block"] == "salient")]
    assert drawn["value"].item() == pytest.approx(rows["value"].median())


def test_recovery_without_nonlinear_leakage_shows_the_largest_correlation():
    scores = simulation(3)["scores"]
    scores = scores[scores["metric"] != "leakage_r2_nonlinear"]
    _, data = draw("recovery", simulation(3) | {"scores": scores})
    assert set(data["metric"]) == {"recovery_cc", "leakage_cc", "leakage_cc_max"}


def test_twist_overlays_the_closed_form_of_the_twisted_block():
    _, data = draw("twist", simulation(3))
    line = data[data["kind"] == "closed_form"]
    assert set(line["block"]) == {"background"}
    start = data[(data["kind"] == "median") & (data["metric"] == "recovery_cc") & (data["twist"] == 0)]
    start = start[start["block"] == "background"]["value"].item()
    assert line["value"].iloc[0] == pytest.approx(start)
    assert (np.diff(line["value"]) < 0).all()


def test_twist_without_dimensions_has_no_closed_form():
    scores = simulation(3)["scores"]
    scores = scores[scores["metric"] != "active_dims"]
    _, data = draw("twist", simulation(3) | {"scores": scores})
    assert "closed_form" not in set(data["kind"])


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


@pytest.mark.parametrize("setting", ["leaky_relu_2", "leaky_relu_2_twisted_decoder"])
def test_a_missing_model_is_named(setting):
    scores = simulation(3)["scores"]
    scores = scores[
        ~scores["setting"].str.startswith(setting) | (scores["setting"] == f"{setting}_twisted_decoder")
    ]
    with pytest.raises(UserError, match=setting.removeprefix("leaky_relu_2_")):
        draw("two_models", {"scores": scores})


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


def test_dims_draws_a_mark_for_every_seed_and_one_for_a_leak():
    mine = fake.dimensions()
    figure, data = draw("dims", mine)
    leaks = data[(data["panel"] == "d") & (data["kind"] == "seed")]
    beyond = (leaks.groupby("setting")["value"].max() > 0.2).sum()
    assert beyond
    assert len(points_of(figure.axes[3])) == len(leaks) + beyond


def test_dims_shows_seeds_beyond_the_scale_as_arrows():
    scores = fake.dimensions()["scores"].copy()
    one = (scores["metric"] == "elbo") & (scores["source"] == "target") & (scores["seed"] == 202)
    scores.loc[one & (scores["setting"] == "dims@background=5,salient=3"), "value"] = -500.0
    figure, data = draw("dims", {"scores": scores})
    (axes,) = (
        a for a in figure.axes if a.get_title("left").endswith("evidence on target,\nbelow the best cell")
    )
    assert len(points_of(axes)) == len(fake.SEEDS) * 6
    assert (points_of(axes)[:, 0] >= -0.5).all()
    assert data.loc[data["metric"] == "elbo_below_best", "value"].min() < -490


def test_dims_with_lost_fits_missing_cells_and_no_truth():
    gone = "dims@background=3,salient=1"
    failed = [(gone, "cvae", s) for s in (200, 201)] + [("dims@background=5,salient=3", "cvae", 201)]
    scores = fake.dimensions(failed, (200, 201))["scores"]
    scores = scores[(scores["setting"] != "dims@background=10,salient=1") & (scores["metric"] != "true_dims")]
    figure, data = draw("dims", {"scores": scores})
    figure.draw_without_rendering()
    assert "true_dims" not in set(data["kind"])
    assert set(data.loc[data["setting"] == gone, "kind"]) == {"left out", "median"}
    assert "1/2" in [t.get_text() for t in figure.axes[0].texts]


@pytest.mark.slow
def test_dims_with_one_seed_other_names_and_several_variants():
    scores = fake.dimensions(seeds=(200,))["scores"]
    names = {"background": "common", "salient": "own"}
    scores["block"], scores["truth"] = scores["block"].replace(names), scores["truth"].replace(names)
    scores["setting"] = scores["setting"].str.replace("background", "common").str.replace("salient", "own")
    scores = pd.concat([scores, scores.assign(variant="mo-cvae")])
    figure, data = draw("dims", {"scores": scores})
    figure.draw_without_rendering()
    assert set(data["block"].dropna()) == {"common", "own", ""}
    assert set(data["variant"].dropna()) == {"cvae", "mo-cvae"}


def test_dims_needs_two_swept_dimensions():
    scores = fake.dimensions()["scores"].assign(setting="dims@background=3")
    with pytest.raises(UserError, match="two swept") as caught:
        draw("dims", {"scores": scores})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.951, "recovery_cc", ".95"),
        (1.0, "recovery_cc", "1.00"),
        (-0.001, "leakage_r2", ".00"),
        (-10.05, "leakage_r2", "\N{MINUS SIGN}10.05"),
        (-0.26, "elbo", "\N{MINUS SIGN}0.3"),
        (5.5, "active_dims", "5.5"),
    ],
)
def test_numbers_in_cells(value, metric, text):
    from cdgm.figures.dims import _text

    assert _text(value, metric) == text


def test_ratios_are_values_over_levels():
    _, data = drawn_of("constraints")
    seeds = data[data["kind"] == "seed"]
    for metric, ratio in (("constraint_ratio", 3.0), ("constraint_ratio_train", 0.5)):
        mine = seeds[seeds["metric"] == metric]
        assert set(mine["block"]) == {"hsic", "kl_floor"}
        np.testing.assert_allclose(mine["value"], ratio)


def test_the_tinted_side_of_a_floor_is_the_other_one():
    figure, _ = drawn_of("constraints")
    tints = {}
    for axes in figure.axes:
        if axes.get_xlabel() == "value / level":
            (tint,) = axes.patches
            tints[axes.get_title(loc="left").partition("  ")[2]] = (tint.get_x(), tint.get_width())
    assert tints["kl floor (at least)"][0] == 1.0
    assert sum(tints["hsic (at most)"]) == pytest.approx(1.0)


@pytest.mark.slow
def test_constraints_count_diverged_fits_and_draw_without_a_plain_one():
    figure, data = draw("constraints", fake.constrained([("d5x10", "held", 201)]))
    assert "held (1 of 3 diverged)" in texts_of(figure)
    left = data[data["kind"] == "left out"]
    assert set(left["seed"]) == {201}
    held = {k: v[v["variant"] == "held"] for k, v in fake.constrained(settings=("d10x3",)).items()}
    figure, data = draw("constraints", held)
    assert "elbo_difference" not in set(data["metric"])
    figure.draw_without_rendering()


def test_constraints_with_missing_fits_and_levels():
    tables = fake.constrained()
    scores = tables["scores"]
    gone = (scores["setting"] == "d5x10") & (scores["variant"] == "grid")
    gone |= (scores["metric"] == "constraint_level") & (scores["block"] == "hsic")
    figure, data = draw("constraints", tables | {"scores": scores[~gone]})
    figure.draw_without_rendering()
    assert "(not fitted)" in texts_of(figure)
    drawn = data[(data["kind"] == "seed") & (data["metric"] == "constraint_ratio")]
    assert set(drawn["block"]) == {"kl_floor"}


def test_counts_without_ceiling_and_with_lost_fits():
    every = [("bernoulli@n_features=10", "cvae", s) for s in fake.SEEDS]
    figure, data = draw("counts", fake.counts(every, ceiling=False))
    assert "10: 3 of 3 diverged" in texts_of(figure)
    assert "true model" not in texts_of(figure)
    assert set(data.loc[data["kind"] == "left out", "setting"]) == {"bernoulli@n_features=10"}
    figure.draw_without_rendering()


@pytest.mark.parametrize("setting", ["poisson", "poisson@n_features=3,rate=2"])
def test_counts_need_one_swept_number(setting):
    scores = fake.counts()["scores"].assign(setting=setting)
    with pytest.raises(UserError, match="one swept number"):
        draw("counts", {"scores": scores})


def test_assumptions_show_leakage_both_ways_and_what_was_learned():
    figure, data = draw("assumptions", fake.assumptions([("matched", "cvae", 202)]))
    seeds = data[data["kind"] == "seed"]
    found = set(map(tuple, seeds[["metric", "block", "truth"]].to_numpy()))
    ways = {("z", "t"), ("t", "z")}
    expected = {("recovery_cc", b, b) for b in "zt"} | {("noise_sd", "", "")}
    assert found == expected | {(m, *w) for m in ("leakage_r2", "leakage_r2_nonlinear") for w in ways}
    assert "matched (1 of 3 diverged)" in texts_of(figure)
    assert len(figure.axes) == 4
    learned = figure.axes[3]
    assert learned.get_xscale() == "log"
    low, high = learned.get_xlim()
    assert low < 0.1 < 0.102 < high
    assert figure.axes[1].get_xlim() == figure.axes[2].get_xlim()


def test_assumptions_without_anything_learned_or_nonlinear():
    scores = fake.assumptions(learned="")["scores"]
    figure, _ = draw("assumptions", {"scores": scores[scores["metric"] != "leakage_r2_nonlinear"]})
    assert len(figure.axes) == 2
    figure.draw_without_rendering()


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


def test_weights_rise_along_the_axis_and_count_emptied_blocks():
    figure, data = drawn_of("weights")
    found = [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes]
    assert [labels for labels in found if labels] == [["", "100", "1,000", ""]] * 2
    counts = data[data["kind"] == "emptied"].groupby(["variant", "point"])["value"].unique().map(list)
    assert counts["hsic-weights", "hsic.weight=1000"] == [2]
    assert counts["hsic-weights", "hsic.weight=100"] == [0]
    assert counts["cvae", ""] == [0]
    assert "2/3" in texts_of(figure)


@pytest.mark.slow
def test_weights_without_true_dimensions_count_blocks_without_any():
    tables = fake.penalised()
    scores = tables["scores"][tables["scores"]["metric"] != "true_dims"]
    _, data = draw("weights", tables | {"scores": scores})
    assert (data.loc[data["kind"] == "emptied", "value"] == 0).all()
    assert "true_dims" not in set(data["kind"])
    dims = scores["value"].where(scores["metric"] != "active_dims", scores["value"] - 2)
    _, data = draw("weights", tables | {"scores": scores.assign(value=dims)})
    assert data.loc[data["kind"] == "emptied", "value"].max() == 2


@pytest.mark.slow
def test_weights_with_lost_fits_a_missing_point_and_no_plain_variant():
    failed = [("d10x3", "hsic-weights", 201), *(("d5x10", "mm-cvae", s) for s in fake.SEEDS)]
    tables = fake.penalised(failed)
    scores = tables["scores"]
    gone = (scores["setting"] == "d5x10") & (scores["point"] == "hsic.weight=100")
    scores = scores[~gone]
    figure, data = draw("weights", tables | {"scores": scores})
    painted(figure)
    assert "1 lost" in texts_of(figure)
    assert "3 lost" in texts_of(figure)
    assert "not fitted" in texts_of(figure)
    left = data[(data["kind"] == "left out") & (data["setting"] == "d10x3")]
    assert set(left["seed"]) == {201}
    scores = scores[scores["variant"] != "cvae"]
    _, data = draw("weights", tables | {"scores": scores})
    assert "elbo_difference" not in set(data["metric"])


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


def test_objectives_leave_out_pairs_without_a_plain_fit():
    failed = [("equal", "plain", 201), ("equal", "mgda", 202), *(("small", "mgda", s) for s in fake.SEEDS)]
    figure, data = draw("objectives", fake.weighed(failed))
    painted(figure)
    drawn = data[(data["kind"] == "seed") & (data["metric"] == "elbo_difference")]
    drawn = drawn[drawn["variant"] == "mgda"]
    assert set(drawn["seed"]) == {200}
    assert set(drawn["setting"]) == {"equal"}
    assert "3 of 3 diverged" in texts_of(figure)


def test_objectives_without_history_compare_with_the_first_unswept_variant():
    tables = fake.weighed()
    figure, _ = draw("objectives", {"scores": tables["scores"]})
    assert "sized (compared with)" in texts_of(figure)


def test_objectives_refuse_what_they_cannot_draw():
    tables = fake.weighed()
    scores = tables["scores"]
    with pytest.raises(UserError, match="two sources"):
        draw("objectives", {"scores": scores[scores["source"] == "target"]})
    with pytest.raises(UserError, match="without a sweep"):
        draw("objectives", {"scores": scores[scores["variant"] == "grid"]})
    with pytest.raises(UserError, match="elbo"):
        draw("objectives", {"scores": scores[scores["metric"] != "elbo"]})
    mixed = fake.rates()["scores"]
    with pytest.raises(UserError, match="one swept number"):
        draw("objectives", {"scores": mixed.replace("equal@learning_rate=0.001", "equal")})
    swept = mixed.assign(point=["a=1" if v == "mgda" else "" for v in mixed["variant"]])
    with pytest.raises(UserError, match="inside of variants"):
        draw("objectives", {"scores": swept})


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


@pytest.mark.slow
def test_sources_with_lost_and_missing_fits():
    failed = [("two", "mgda", 201), ("three", "plain", 202)]
    scores = fake.many_sources(failed)["scores"]
    # One score of one source is missing: the worst source of that fit is not known.
    hole = (scores["setting"] == "three") & (scores["seed"] == 201) & (scores["metric"] == "elbo")
    hole &= (scores["source"] == "s2") & (scores["variant"] == "plain")
    figure, data = draw("sources", {"scores": scores[~hole]})
    painted(figure)
    worst = data[(data["kind"] == "seed") & (data["metric"] == "elbo_difference_smallest")]
    assert set(worst.loc[worst["setting"] == "two", "seed"]) == {200, 202}
    assert set(worst.loc[worst["setting"] == "three", "seed"]) == {200}
    assert "two (2 sources); mgda: 1 of 3 diverged" in texts_of(figure)
    alone = scores[(scores["variant"] == "mgda") & (scores["setting"] == "two")]
    figure, data = draw("sources", {"scores": alone})
    assert "elbo_difference" not in set(data["metric"])


def test_counts_show_the_ceiling_apart_from_the_fits():
    figure, data = drawn_of("counts")
    seeds = data[data["kind"] == "seed"]
    assert (seeds.groupby("variant").size() == 4 * 4 * len(fake.SEEDS)).all()
    assert set(seeds["variant"]) == {"cvae", "ceiling"}
    assert "true model's posterior means" in texts_of(figure)
    panel = figure.axes[0]
    # A strip for each noise and its ceiling, none over another, on both sides of their number.
    places = np.unique([np.round(c.get_offsets()[:, 0].reshape(2, -1).mean(axis=1), 6)
                        for c in panel.collections if hasattr(c, "get_sizes")], axis=0)  # fmt: skip
    assert places.shape == (4, 2)
    np.testing.assert_allclose(places.mean(axis=0), [0.0, 1.0], atol=1e-6)
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == ["10", "100"]
    hollow = [c for c in panel.collections if hasattr(c, "get_sizes") and not len(c.get_facecolor())]
    assert len(hollow) == 2
