"""Figures of studies that weigh terms: penalties' weights, several ELBOs, more than two sources."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cdgm.figures import FIGURES
from cdgm.plotting import style
from cdgm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
SEEDS = (200, 201, 202, 203)
BLOCKS = {"background": ("background", "target"), "salient": ("target",)}
LEAK = {"cvae": 0.1, "hsic-weights": 0.03, "mm-cvae": 0.08}


class Maker:
    """Collects rows of a study; ``failed`` holds (setting, variant, seed) of fits that diverged."""

    def __init__(self, study, failed=(), seeds=SEEDS):
        self.study, self.failed, self.seeds = study, set(failed), seeds
        self.rng = np.random.default_rng(7)
        self.scores, self.curves = [], []

    def fits(self, setting, variant, point=""):
        for seed in self.seeds:
            place = {"study": self.study, "setting": setting, "variant": variant, "point": point}
            yield place | {"seed": seed, "finite": (setting, variant, seed) not in self.failed}

    def score(self, fit, metric, value, source, block="", truth="", null=np.nan):
        row = {"metric": metric, "source": source, "block": block, "truth": truth, "twist": 0.0}
        value = float(value) if fit["finite"] else np.nan
        self.scores.append(fit | row | {"value": value, "null_mean": null / 2, "null_high": null})

    def blocks(self, fit, blocks, *, leak, recovery=0.95, elbo=0.0, dims=None):
        """Scores of every block on every source where it is active; ``dims`` are active ones."""
        noise = self.rng.normal(0, 0.01, 200)
        at = iter(noise)
        for source in dict.fromkeys(s for active in blocks.values() for s in active):
            here = [b for b, active in blocks.items() if source in active]
            self.score(fit, "elbo", elbo + next(at), source)
            for block in here:
                self.score(fit, "recovery_cc", recovery + next(at), source, block, block, 0.05)
                self.score(fit, "kl", 5 + next(at), source, block)
                self.score(fit, "active_dims", (dims or {}).get(block, 3), source, block)
                self.score(fit, "true_dims", 3, source, block)
                for other in here:
                    if other != block:
                        self.score(fit, "leakage_r2", leak + next(at), source, block, other, 0.004)

    def curve(self, fit, quantity, values, source="", block=""):
        for step, value in enumerate(values):
            row = {"step": 30 * (step + 1), "quantity": quantity, "source": source, "block": block}
            keep = {k: v for k, v in fit.items() if k != "finite"}
            self.curves.append(keep | row | {"value": value})

    def tables(self):
        found = {"scores": pd.DataFrame(self.scores)}
        return found | ({"history": pd.DataFrame(self.curves)} if self.curves else {})


def penalised(failed=(), seeds=SEEDS):
    """Two settings, a swept penalty whose largest weight empties a block in two fits, and a fixed one."""
    make = Maker("reg", failed, seeds)
    points = {"hsic-weights": ["hsic.weight=1000", "hsic.weight=100"]}
    for setting in ("d10x3", "d5x10"):
        for variant, leak in LEAK.items():
            for point in points.get(variant, [""]):
                for fit in make.fits(setting, variant, point):
                    emptied = point.endswith("=1000") and fit["seed"] in (200, 202)
                    dims = {"salient": 2 if emptied else 3}
                    make.blocks(fit, BLOCKS, leak=leak, elbo=fit["seed"] * 1.0, dims=dims)
                    make.curve(fit, "kl", [1.0, 2.0], "target", "salient")
                    if variant != "cvae":
                        make.curve(fit, "penalty/x", [1.0])
    return make.tables()


#: Gains on background and target over equal weights, and the share of the background's weight.
GAINS = {
    ("sized", ""): (-3.0, -0.5, 0.1),
    ("plain", ""): (0.0, 0.0, 0.5),
    ("grid", "ratio.background=4"): (0.5, -0.8, 0.8),
    ("grid", "ratio.background=0.25"): (-0.6, 0.4, 0.2),
    ("mgda", ""): (0.7, 0.3, 0.66),
}


def weighed(failed=(), seeds=SEEDS):
    """Two settings, weights by size (equal in one of them), fixed ratios and weights that move."""
    make = Maker("weighed", failed, seeds)
    for setting in ("equal", "small"):
        for (variant, point), (background, target, share) in GAINS.items():
            for fit in make.fits(setting, variant, point):
                start = len(make.scores)
                make.blocks(fit, BLOCKS, leak=0.01)
                for row in make.scores[start:]:
                    if row["metric"] == "elbo" and fit["finite"]:
                        row["value"] = fit["seed"] + (background if row["source"] == "background" else target)
                share = 0.5 if setting == "equal" and variant == "sized" else share
                moves = 0.3 * np.sin(np.arange(40) + fit["seed"]) if variant == "mgda" else np.zeros(40)
                make.curve(fit, "weight", 2 * share + moves, "background")
                make.curve(fit, "weight", 2 - 2 * share - moves, "target")
    return make.tables()


def rates(failed=(), seeds=SEEDS, bases=("equal",)):
    """ELBOs that peak at the second rate for the plain variant, and gain by 1, 2, 3 nats with mgda."""
    make = Maker("rates", failed, seeds)
    for base in bases:
        for i, rate in enumerate(("0.001", "0.002", "0.008")):
            for variant, gain in (("plain", 0), ("mgda", i + 1)):
                for fit in make.fits(f"{base}@learning_rate={rate}", variant):
                    make.blocks(fit, BLOCKS, leak=0.01, elbo=fit["seed"] + (-4, 0, -1)[i] + gain)
    return make.tables()


def many(failed=(), seeds=SEEDS):
    """Designs of two and three sources; mgda gains .5 nats on all but the first, where it loses .2."""
    make = Maker("many", failed, seeds)
    for setting, count in (("two", 2), ("three", 3)):
        sources = [f"s{i + 1}" for i in range(count)]
        blocks = {"shared": sources} | {f"own{i + 1}": [s] for i, s in enumerate(sources)}
        for variant in ("plain", "mgda"):
            for fit in make.fits(setting, variant):
                start = len(make.scores)
                make.blocks(fit, blocks, leak=0.01)
                for row in make.scores[start:]:
                    if row["metric"] == "elbo" and fit["finite"]:
                        gain = -0.2 if row["source"] == "s1" else 0.5
                        row["value"] = fit["seed"] + (gain if variant == "mgda" else 0.0)
                    if row["metric"] == "leakage_r2" and row["source"] == "s2" and fit["finite"]:
                        row["value"] = 0.3 if row["block"] == "shared" else 0.2
                        row["null_high"] = 0.01
    return make.tables()


STUDY_OF = {
    "weights": ("reg", penalised),
    "objectives": ("weighed", weighed),
    "weight_traces": ("weighed", weighed),
    "sources": ("many", many),
}


@cache
def usual(name):
    """Figure and data of the made-up tables as they are, drawn once for all tests that only look."""
    study, make = STUDY_OF[name]
    return FIGURES.load(name)(make(), study)


def painted(figure):
    """Lay the figure out and draw it, coarsely."""
    figure.set_dpi(40)
    with style.style():
        FigureCanvasAgg(figure).draw()
    return figure


def texts(figure):
    found = figure.findobj(match=lambda a: hasattr(a, "get_text"))
    return " ".join(t.get_text().replace("\n", " ") for t in found)


@pytest.mark.parametrize("name", sorted(STUDY_OF))
def test_it_is_listed_has_a_caption_and_a_line_in_the_docs(name):
    assert name in FIGURES
    assert "*What to conclude.*" in (ROOT / "report" / f"{name}.rst").read_text()
    assert f"| `{name}` |" in (ROOT / "docs" / "results.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STUDY_OF))
def test_same_tables_give_equal_pictures_and_numbers(name):
    study, make = STUDY_OF[name]
    (first, numbers), (second, again) = (FIGURES.load(name)(make(seeds=SEEDS[:2]), study) for _ in range(2))
    pd.testing.assert_frame_equal(numbers, again)
    pictures = [np.asarray(painted(figure).canvas.buffer_rgba()) for figure in (first, second)]
    assert np.ptp(pictures[0]) > 0
    np.testing.assert_array_equal(*pictures)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STUDY_OF))
def test_medians_are_those_of_the_drawn_seeds(name):
    _, data = usual(name)
    keys = ["panel", "setting", "variant", "point", "source", "block", "truth", "metric", "quantity", "step"]
    keys = [k for k in keys if k in data]
    data = data.fillna({k: "" for k in keys})
    expected = data[data["kind"] == "seed"].groupby(keys)["value"].agg(["median", "size"])
    medians = data[data["kind"] == "median"].set_index(keys)["value"]
    assert (expected["size"] == len(SEEDS)).all()
    assert set(medians.index) == set(expected.index)
    np.testing.assert_allclose(medians[expected.index], expected["median"])


@pytest.mark.parametrize("name", sorted(STUDY_OF))
def test_one_seed_draws(name):
    study, make = STUDY_OF[name]
    _, data = FIGURES.load(name)(make(seeds=(200,)), study)
    assert set(data["seed"].dropna()) == {200}


def test_weights_draw_the_table_against_the_plain_fit():
    _, data = usual("weights")
    median = data[(data["kind"] == "median") & (data["metric"] == "leakage_r2")]
    median = median[(median["setting"] == "d10x3") & (median["block"] == "background")]
    for variant, leak in LEAK.items():
        np.testing.assert_allclose(median.loc[median["variant"] == variant, "value"], leak, atol=0.03)
    # ELBOs rise by a nat with each seed; pairs by seed see nothing of that.
    seeds = data[(data["kind"] == "seed") & (data["metric"] == "elbo_difference")]
    assert set(seeds["variant"]) == {"hsic-weights", "mm-cvae"}
    assert seeds["value"].abs().max() < 0.2


def test_weights_rise_along_the_axis_and_count_emptied_blocks():
    figure, data = usual("weights")
    found = [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes]
    assert [labels for labels in found if labels] == [["", "100", "1,000", ""]] * 2
    counts = data[data["kind"] == "emptied"].groupby(["variant", "point"])["value"].unique().map(list)
    assert counts["hsic-weights", "hsic.weight=1000"] == [2]
    assert counts["hsic-weights", "hsic.weight=100"] == [0]
    assert counts["cvae", ""] == [0]
    assert "2/4" in texts(figure)


def test_weights_without_true_dimensions_count_blocks_without_any():
    tables = penalised()
    scores = tables["scores"][tables["scores"]["metric"] != "true_dims"]
    _, data = FIGURES.load("weights")(tables | {"scores": scores}, "reg")
    assert (data.loc[data["kind"] == "emptied", "value"] == 0).all()
    assert "true_dims" not in set(data["kind"])
    dims = scores["value"].where(scores["metric"] != "active_dims", scores["value"] - 2)
    _, data = FIGURES.load("weights")(tables | {"scores": scores.assign(value=dims)}, "reg")
    assert data.loc[data["kind"] == "emptied", "value"].max() == 2


def test_weights_with_lost_fits_a_missing_point_and_no_plain_variant():
    failed = [("d10x3", "hsic-weights", 201), *(("d5x10", "mm-cvae", s) for s in SEEDS)]
    tables = penalised(failed)
    scores = tables["scores"]
    gone = (scores["setting"] == "d5x10") & (scores["point"] == "hsic.weight=100")
    scores = scores[~gone]
    figure, data = FIGURES.load("weights")(tables | {"scores": scores}, "reg")
    painted(figure)
    assert "1 lost" in texts(figure)
    assert "4 lost" in texts(figure)
    assert "not fitted" in texts(figure)
    left = data[(data["kind"] == "left out") & (data["setting"] == "d10x3")]
    assert set(left["seed"]) == {201}
    scores = scores[scores["variant"] != "cvae"]
    _, data = FIGURES.load("weights")(tables | {"scores": scores}, "reg")
    assert "elbo_difference" not in set(data["metric"])


@pytest.mark.parametrize("metric", ["recovery_cc", "leakage_r2"])
def test_weights_need_scores(metric):
    scores = penalised()["scores"]
    with pytest.raises(UserError, match=metric):
        FIGURES.load("weights")({"scores": scores[scores["metric"] != metric]}, "reg")


def test_objectives_pair_seeds_with_equal_weights_and_join_the_ratios():
    figure, data = usual("objectives")
    median = data[(data["kind"] == "median") & (data["metric"] == "elbo_difference")]
    # Weights by size come first in the study, but equal ones are compared with.
    assert set(median["variant"]) == {"sized", "grid", "mgda"}
    for (variant, point), gains in GAINS.items():
        mine = median[(median["variant"] == variant) & (median["point"] == point)]
        for source, gain in zip(("background", "target"), gains, strict=False):
            if variant != "plain":
                np.testing.assert_allclose(mine.loc[mine["source"] == source, "value"], [gain, gain])
    # The front runs through the plain fit, by its ratio of 1.
    lines = [np.transpose(line.get_data()) for axes in figure.axes for line in axes.get_lines()]
    front = [[-0.6, 0.4], [0.0, 0.0], [0.5, -0.8]]
    assert sum(line.shape == (3, 2) and np.allclose(line, front) for line in lines) == 2
    assert "plain (compared with)" in texts(figure)


def test_objectives_leave_out_pairs_without_a_plain_fit():
    failed = [("equal", "plain", 201), ("equal", "mgda", 202), *(("small", "mgda", s) for s in SEEDS)]
    figure, data = FIGURES.load("objectives")(weighed(failed), "weighed")
    painted(figure)
    drawn = data[(data["kind"] == "seed") & (data["metric"] == "elbo_difference")]
    drawn = drawn[drawn["variant"] == "mgda"]
    assert set(drawn["seed"]) == {200, 203}
    assert set(drawn["setting"]) == {"equal"}
    assert "4 of 4 diverged" in texts(figure)


def test_objectives_without_history_compare_with_the_first_unswept_variant():
    tables = weighed()
    figure, _ = FIGURES.load("objectives")({"scores": tables["scores"]}, "weighed")
    assert "sized (compared with)" in texts(figure)


def test_objectives_along_a_sweep_compare_with_the_best_number():
    figure, data = FIGURES.load("objectives")(rates(), "rates")
    median = data[(data["kind"] == "median") & (data["source"] == "target")].set_index(["variant", "setting"])
    best = median.loc[median["metric"] == "elbo_less_best", "value"]
    expected = {"plain": (-4, 0, -1), "mgda": (-3, 2, 2)}
    for variant, values in expected.items():
        np.testing.assert_allclose(best[variant], values, atol=0.06)
    same = median.loc[median["metric"] == "elbo_difference", "value"]
    np.testing.assert_allclose(same["mgda"], (1, 2, 3), atol=0.06)
    assert "learning rate 0.002" in texts(figure)


def test_objectives_along_a_sweep_with_gaps():
    failed = [("equal@learning_rate=0.002", "mgda", s) for s in SEEDS]
    failed.append(("equal@learning_rate=0.008", "plain", 200))
    scores = rates(failed, bases=("equal", "other"))["scores"]
    scores = scores[~((scores["setting"] == "other@learning_rate=0.001") & (scores["variant"] == "mgda"))]
    figure, _ = FIGURES.load("objectives")({"scores": scores}, "rates")
    painted(figure)
    for note in ("mgda: 4 of 4 diverged", "plain: 1 of 4 diverged", "mgda: not fitted"):
        assert note in texts(figure)


def test_objectives_refuse_what_they_cannot_draw():
    tables = weighed()
    scores = tables["scores"]
    with pytest.raises(UserError, match="two sources"):
        FIGURES.load("objectives")({"scores": scores[scores["source"] == "target"]}, "weighed")
    with pytest.raises(UserError, match="without a sweep"):
        FIGURES.load("objectives")({"scores": scores[scores["variant"] == "grid"]}, "weighed")
    with pytest.raises(UserError, match="elbo"):
        FIGURES.load("objectives")({"scores": scores[scores["metric"] != "elbo"]}, "weighed")
    mixed = rates()["scores"]
    with pytest.raises(UserError, match="one swept number"):
        FIGURES.load("objectives")({"scores": mixed.replace("equal@learning_rate=0.001", "equal")}, "rates")
    swept = mixed.assign(point=["a=1" if v == "mgda" else "" for v in mixed["variant"]])
    with pytest.raises(UserError, match="inside of variants"):
        FIGURES.load("objectives")({"scores": swept}, "rates")


def test_weight_traces_average_records_and_keep_constants():
    figure, data = usual("weight_traces")
    median = data[(data["kind"] == "median") & (data["setting"] == "small")]
    for (variant, point), (_, _, share) in GAINS.items():
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
    assert "grid ×0.25" in texts(figure)


def test_weight_traces_leave_out_frozen_members_and_missing_fits():
    failed = [("equal", "mgda", 201), *(("small", "sized", s) for s in SEEDS)]
    tables = weighed(failed)
    history = tables["history"]
    history = history[~((history["setting"] == "equal") & (history["variant"] == "grid"))]
    # What is not finite is a gap, whether or not the fit counts as lost.
    history.loc[(history["step"] == 300) & (history["seed"] == 203), "value"] = np.nan
    figure, data = FIGURES.load("weight_traces")(tables | {"history": history}, "weighed")
    painted(figure)
    drawn = data[(data["kind"] == "seed") & (data["setting"] == "equal") & (data["variant"] == "mgda")]
    assert set(drawn["seed"]) == {200, 202, 203}
    assert set(drawn.loc[drawn["step"] == 300, "seed"]) == {200, 202}
    for note in ("1 diverged", "4 diverged", "no fit finished", "not fitted"):
        assert note in texts(figure)


def test_weight_traces_need_weights():
    tables = weighed()
    history = tables["history"].replace("weight", "elbo")
    with pytest.raises(UserError, match="weight"):
        FIGURES.load("weight_traces")(tables | {"history": history}, "weighed")
    with pytest.raises(UserError, match="history"):
        FIGURES.load("weight_traces")({"scores": tables["scores"]}, "weighed")


def test_sources_show_every_source_the_largest_leak_and_the_worst_source():
    _, data = usual("sources")
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
    assert set(nulls["value"]) == {0.01}


def test_sources_with_lost_and_missing_fits():
    failed = [("two", "mgda", 201), ("three", "plain", 202)]
    scores = many(failed)["scores"]
    # One score of one source is missing: the worst source of that fit is not known.
    hole = (scores["setting"] == "three") & (scores["seed"] == 203) & (scores["metric"] == "elbo")
    hole &= (scores["source"] == "s2") & (scores["variant"] == "plain")
    figure, data = FIGURES.load("sources")({"scores": scores[~hole]}, "many")
    painted(figure)
    worst = data[(data["kind"] == "seed") & (data["metric"] == "elbo_difference_smallest")]
    assert set(worst.loc[worst["setting"] == "two", "seed"]) == {200, 202, 203}
    assert set(worst.loc[worst["setting"] == "three", "seed"]) == {200, 201}
    assert "two (2 sources); mgda: 1 of 4 diverged" in texts(figure)
    alone = scores[(scores["variant"] == "mgda") & (scores["setting"] == "two")]
    figure, data = FIGURES.load("sources")({"scores": alone}, "many")
    assert "elbo_difference" not in set(data["metric"])


@pytest.mark.parametrize("metric", ["recovery_cc", "leakage_r2"])
def test_sources_need_scores(metric):
    scores = many()["scores"]
    with pytest.raises(UserError, match=metric):
        FIGURES.load("sources")({"scores": scores[scores["metric"] != metric]}, "many")
