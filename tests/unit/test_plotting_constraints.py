"""Figures of constraints, counts, assumptions and of what cells' scores trade, from made-up tables."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdgm.figures import FIGURES
from cdgm.plotting import style
from cdgm.plotting.paired import _ticks, elbo_differences, signed_scale
from cdgm.plotting.sweeps import lines_of, plain_variant, private_blocks
from cdgm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
SEEDS = (200, 201, 202)
NULL = 0.01
KEYS = ("setting", "variant", "point", "source", "block", "truth", "metric", "quantity", "step")


class Study:
    """Collects rows; ``failed`` holds (setting, variant, seed) of fits that turned non-finite."""

    def __init__(self, name, failed=()):
        self.name, self.failed = name, set(failed)
        self.scores, self.history, self.maps = [], [], []
        self.rng = np.random.default_rng(1)

    def fit(self, setting, variant, seed, point=""):
        return {"study": self.name, "setting": setting, "variant": variant, "seed": seed, "point": point}

    def score(self, fit, metric, value, source="", block="", truth="", null=np.nan):
        finite = (fit["setting"], fit["variant"], fit["seed"]) not in self.failed
        place = {"metric": metric, "source": source, "block": block, "truth": truth, "twist": 0.0}
        number = {"value": value if finite else np.nan, "finite": finite, "null_high": null}
        self.scores.append(fit | place | number)

    def simulated(self, fit, recovery=(0.95, 0.97), leakage=(0.1, 0.02), nonlinear=False, kl=8.0):
        """Scores against the truth of the blocks ``z`` of both sources, and ``t`` of the second one."""
        noise = self.rng.normal(0, 0.003, 6)
        for source in ("p", "q"):
            self.score(fit, "recovery_cc", recovery[0] + noise[0], source, "z", "z", NULL)
            self.score(fit, "kl", 13 + noise[0], source, "z")
            self.score(fit, "elbo", fit["seed"] - 200 + noise[1], source)
        self.score(fit, "recovery_cc", recovery[1] + noise[2], "q", "t", "t", NULL)
        self.score(fit, "kl", kl + noise[3], "q", "t")
        for metric in ("leakage_r2", "leakage_r2_nonlinear")[: 1 + nonlinear]:
            self.score(fit, metric, leakage[0] + noise[4], "q", "z", "t", NULL)
            self.score(fit, metric, leakage[1] + noise[5], "q", "t", "z", NULL)

    def curve(self, fit, quantity, values, source="", block=""):
        place = {"quantity": quantity, "source": source, "block": block}
        self.history += [fit | place | {"step": 10 * i, "value": v} for i, v in enumerate(values)]

    def tables(self):
        named = {"scores": self.scores, "history": self.history, "maps": self.maps}
        return {name: pd.DataFrame(rows) for name, rows in named.items() if rows}


def constrained(failed=(), settings=("d10x3", "d5x10")):
    study = Study("constrained", failed)
    lines = [("plain", ""), ("grid", "hsic.weight=10"), ("grid", "hsic.weight=1000"), ("held", "")]
    for setting in settings:
        for variant, point in lines:
            for seed in SEEDS:
                fit = study.fit(setting, variant, seed, point)
                study.simulated(fit)
                finite = (setting, variant, seed) not in study.failed
                if variant == "grid":
                    study.curve(fit, "penalty/hsic", [0.1, 0.2])
                if variant != "held":
                    continue
                for name, level in (("hsic", 2e-4), ("kl_floor", 1.0)):
                    for ending, factor in (("_train", 0.5), ("", 3.0)):
                        study.score(fit, f"constraint_value{ending}", factor * level, block=name)
                        study.score(fit, f"constraint_level{ending}", level, block=name)
                    ends = slice(None) if finite else slice(6, None)
                    for quantity, values in (
                        ("constraint", np.linspace(8 * level, level, 20)),
                        ("level", np.full(20, level)),
                        ("multiplier", np.linspace(0, seed, 20)),
                    ):
                        values[ends] = values[ends] if finite else np.nan
                        study.curve(fit, f"{quantity}/{name}", values)
    return study.tables()


def counts(failed=(), ceiling=True):
    study = Study("counts", failed)
    for base, level in (("poisson", 0.9), ("bernoulli", 0.5)):
        for features in (10, 100):
            setting = f"{base}@n_features={features}"
            for seed in SEEDS:
                recovery = (level - 1 / features, level)
                study.simulated(study.fit(setting, "cvae", seed), recovery)
                if ceiling:
                    higher = (recovery[0] + 0.05, recovery[1] + 0.05)
                    study.simulated(study.fit(setting, "ceiling", seed), higher, (0.0, 0.0))
    return study.tables()


def assumptions(failed=(), learned="noise_sd"):
    study = Study("assumptions", failed)
    for setting in ("matched", "correlated"):
        for seed in SEEDS:
            fit = study.fit(setting, "cvae", seed)
            study.simulated(fit, nonlinear=True)
            if learned:
                study.score(fit, learned, 0.1 + 0.001 * (seed - 200))
    return study.tables()


CELLS = ("plain", "penalised", "held", "other")


def cells(failed=(), variants=CELLS, baselines=True):
    study = Study("cells", failed)
    for i, variant in enumerate(variants):
        for seed in SEEDS:
            fit = study.fit("s", variant, seed)
            for block, value in (("z", 0.3 + 0.05 * i), ("t", 0.8 - 0.02 * i)):
                study.score(fit, "knn_accuracy", value + 0.01 * (seed - 200), "q", block, "label", 0.25)
                for source, mixed in (("p", 1.3), ("q", 1.02)):
                    study.score(fit, "source_mixing", mixed, source, block, null=1.01)
            for source in "pq":
                study.score(fit, "elbo", -300.0 - i - 2 * (seed - 200), source)
                study.score(fit, "kl", 20.0, source, "z")
            study.score(fit, "kl", 8.0 - i, "q", "t")
            if variant != "plain":
                study.curve(fit, "penalty/hsic", [0.1])
            if seed == SEEDS[0]:
                for block in "zt":
                    for j in range(40):
                        place = {"block": block, "cell": f"c{j}", "source": "pq"[j % 2]}
                        label = ("", "A", "B")[j % 3] if j % 2 else ""
                        at = dict(zip("xy", study.rng.normal(0, 1, 2), strict=True))
                        study.maps.append(fit | place | {"label": label, "split": "test"} | at)
    for variant, value in {"pca": 0.6, "oracle": 0.95}.items() if baselines else ():
        fit = study.fit("s", variant, -1)
        study.score(fit, "knn_accuracy", value, "q", "t", "label", 0.25)
        if variant == "pca":
            study.score(fit, "source_mixing", 1.2, "q", "t", null=1.01)
    return study.tables()


TABLES = {
    "constraints": constrained,
    "multipliers": constrained,
    "counts": counts,
    "assumptions": assumptions,
    "cells_tradeoff": cells,
}


@cache
def drawn_of(name):
    """The figure of its default tables, and its numbers."""
    tables = TABLES[name]()
    return FIGURES.load(name)(tables, tables["scores"]["study"].iloc[0])


def medians_of_seeds(data):
    """Medians as the figure's table has them, and as they follow from its seeds."""
    keys = ["panel", *(k for k in KEYS if k in data)]
    data = data.fillna({k: "" for k in keys})
    found = data[data["kind"] == "median"].set_index(keys)["value"].sort_index()
    return found.dropna(), data[data["kind"] == "seed"].groupby(keys)["value"].median().sort_index()


def texts_of(figure):
    found = figure.findobj(match=lambda artist: hasattr(artist, "get_text"))
    return " ".join(t.get_text().replace("\n", " ") for t in found)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TABLES))
def test_figures_are_listed_with_captions_and_draw_every_seed(name):
    assert name in FIGURES
    assert (ROOT / "report" / f"{name}.rst").is_file()
    figure, data = drawn_of(name)
    figure.draw_without_rendering()
    found, expected = medians_of_seeds(data)
    assert len(expected)
    pd.testing.assert_series_equal(found, expected, check_names=False)
    assert set(data.loc[data["kind"] == "seed", "seed"]) == set(SEEDS)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(TABLES))
def test_same_tables_give_equal_bytes(name, tmp_path):
    tables = TABLES[name]()
    for part in "ab":
        style.save(*FIGURES.load(name)(tables, tables["scores"]["study"].iloc[0]), tmp_path / part)
    for kind in ("png", "pdf", "csv"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_evidence_is_compared_with_the_plain_fit_of_the_same_seed():
    scores = constrained(failed=[("d5x10", "plain", 201)])["scores"]
    # The order of rows must not matter.
    rows = elbo_differences(scores.sample(frac=1.0, random_state=0), "plain")
    assert set(rows["variant"]) == {"grid", "held"}
    for row in rows[rows["setting"] == "d10x3"].itertuples():
        same = scores[(scores["metric"] == "elbo") & (scores["setting"] == "d10x3")]
        same = same[(same["seed"] == row.seed) & (same["source"] == row.source)]
        own = same[(same["variant"] == row.variant) & (same["point"] == row.point)]["value"].item()
        assert row.value == pytest.approx(own - same[same["variant"] == "plain"]["value"].item())
    lost = rows[(rows["setting"] == "d5x10") & (rows["seed"] == 201)]
    assert len(lost) == 6
    assert not lost["finite"].any()


def test_what_a_variant_is_follows_from_the_history():
    tables = constrained()
    assert plain_variant(tables, "constrained") == "plain"
    only = {k: v[v["variant"] == "held"] for k, v in tables.items()}
    assert plain_variant(only, "constrained") == ""
    assert private_blocks(tables, "constrained") == ["t"]
    points = [("plain", ""), ("grid", "hsic.weight=10"), ("grid", "hsic.weight=1000"), ("held", "")]
    assert lines_of(tables["scores"].iloc[::-1])[::-1] == [points[0], points[2], points[1], points[3]]


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


def test_constraints_count_diverged_fits_and_draw_without_a_plain_one():
    figure, data = FIGURES.load("constraints")(constrained([("d5x10", "held", 201)]), "constrained")
    assert "held (1 of 3 diverged)" in texts_of(figure)
    left = data[data["kind"] == "left out"]
    assert set(left["seed"]) == {201}
    held = {k: v[v["variant"] == "held"] for k, v in constrained(settings=("d10x3",)).items()}
    figure, data = FIGURES.load("constraints")(held, "constrained")
    assert "elbo_difference" not in set(data["metric"])
    figure.draw_without_rendering()


def test_constraints_with_missing_fits_and_levels():
    tables = constrained()
    scores = tables["scores"]
    gone = (scores["setting"] == "d5x10") & (scores["variant"] == "grid")
    gone |= (scores["metric"] == "constraint_level") & (scores["block"] == "hsic")
    figure, data = FIGURES.load("constraints")(tables | {"scores": scores[~gone]}, "constrained")
    figure.draw_without_rendering()
    assert "(not fitted)" in texts_of(figure)
    drawn = data[(data["kind"] == "seed") & (data["metric"] == "constraint_ratio")]
    assert set(drawn["block"]) == {"kl_floor"}


def test_multipliers_smooth_values_but_not_multipliers():
    tables = constrained()
    _, data = FIGURES.load("multipliers")(tables, "constrained")
    mine = data[(data["kind"] == "seed") & (data["setting"] == "d10x3") & (data["seed"] == 201)]
    history = tables["history"]
    raw = history[(history["setting"] == "d10x3") & (history["seed"] == 201) & (history["variant"] == "held")]
    values = raw[raw["quantity"] == "constraint/hsic"]["value"].to_numpy()
    drawn = mine[mine["quantity"] == "constraint/hsic"].sort_values("step")["value"].to_numpy()
    expected = [values[max(0, i - 9) : i + 1].mean() for i in range(20)]
    np.testing.assert_allclose(drawn, expected)
    drawn = mine[mine["quantity"] == "multiplier/hsic"].sort_values("step")["value"]
    np.testing.assert_allclose(drawn, np.linspace(0, 201, 20))


def test_multipliers_end_where_a_fit_diverged():
    _, data = FIGURES.load("multipliers")(constrained([("d10x3", "held", 202)]), "constrained")
    left = data[data["kind"] == "left out"]
    assert set(left["seed"]) == {202}
    assert left["step"].max() == 50
    seeds = data[(data["kind"] == "seed") & (data["setting"] == "d10x3")]
    assert set(seeds["seed"]) == {200, 201}
    every = [("d10x3", "held", s) for s in SEEDS]
    figure, _ = FIGURES.load("multipliers")(constrained(every, settings=("d10x3",)), "constrained")
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("constraints", "recovery_cc"),
        ("constraints", "leakage_r2"),
        ("constraints", "constraint_value"),
        ("counts", "recovery_cc"),
        ("counts", "leakage_r2"),
        ("assumptions", "recovery_cc"),
        ("assumptions", "leakage_r2"),
        ("cells_tradeoff", "knn_accuracy"),
        ("cells_tradeoff", "source_mixing"),
    ],
)
def test_a_missing_metric_is_named(name, metric):
    tables = TABLES[name]()
    scores = tables["scores"]
    study = scores["study"].iloc[0]
    with pytest.raises(UserError, match=metric) as caught:
        FIGURES.load(name)(tables | {"scores": scores[scores["metric"] != metric]}, study)
    assert "\n" not in str(caught.value)


def test_multipliers_need_constraints():
    tables = constrained()
    history = tables["history"]
    free = history[history["quantity"] == "penalty/hsic"]
    with pytest.raises(UserError, match="constraint/<name>"):
        FIGURES.load("multipliers")(tables | {"history": free}, "constrained")


@pytest.mark.parametrize(("low", "high", "linear"), [(-300, 2000, 1), (-3e-4, 0.02, 1e-4), (0, 40, 1)])
def test_ticks_of_a_signed_scale_are_round_and_apart(low, high, linear):
    ticks = _ticks(low, high, linear, 1.0)
    assert 0.0 in ticks
    assert linear in ticks
    assert all(low <= t <= high for t in ticks)
    steps = np.array(ticks) / linear
    mantissas = {float(f"{abs(s):.0e}"[0]) for s in steps if s}
    assert mantissas <= {1.0, 2.0, 3.0, 5.0}
    places = np.sign(steps) * np.where(abs(steps) > 1, 1 + np.log10(np.maximum(abs(steps), 1)), abs(steps))
    assert np.diff(places).min() > 0.3


def test_a_signed_scale_holds_all_data_and_is_linear_where_they_are_small():
    axes = style.new_figure(3, 3).subplots()
    axes.plot([0, 1], [-40.0, 900.0])
    signed_scale([axes], "y", linear=1.0)
    assert axes.get_yscale() == "symlog"
    low, high = axes.get_ylim()
    assert low < -40
    assert high > 900
    small = style.new_figure(3, 3).subplots()
    small.plot([0, 1], [-1.0, 1.5])
    signed_scale([small], "y", linear=1.0)
    assert small.get_yscale() == "linear"


def test_counts_show_the_ceiling_apart_from_the_fits():
    figure, data = drawn_of("counts")
    seeds, tops = data[data["kind"] == "seed"], data[data["kind"] == "ceiling"]
    assert set(seeds["variant"]) == {"cvae"}
    assert set(tops["variant"]) == {"ceiling"}
    assert len(seeds) == len(tops) == 4 * 4 * len(SEEDS)
    assert set(seeds["x"]) == {10.0, 100.0}
    tables = counts()["scores"]
    mine = tables[(tables["variant"] == "ceiling") & (tables["setting"] == "poisson@n_features=10")]
    mine = mine[(mine["metric"] == "recovery_cc") & (mine["block"] == "t")]
    drawn = data[(data["kind"] == "ceiling median") & (data["setting"] == "poisson@n_features=10")]
    drawn = drawn[(drawn["metric"] == "recovery_cc") & (drawn["block"] == "t")]
    assert drawn["value"].item() == pytest.approx(mine["value"].median())
    assert "true model's posterior means" in texts_of(figure)


def test_counts_place_series_side_by_side_at_every_number():
    figure, _ = drawn_of("counts")
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
        at = np.sort([line.get_xdata()[0] for line in lines])
        assert len(at) == 4
        assert np.diff(at).min() > 0.05
        np.testing.assert_allclose(np.log10(at).mean(), 1.0, atol=0.05)


def test_counts_without_ceiling_and_with_lost_fits():
    every = [("bernoulli@n_features=10", "cvae", s) for s in SEEDS]
    figure, data = FIGURES.load("counts")(counts(every, ceiling=False), "counts")
    assert "10: 3 of 3 diverged" in texts_of(figure)
    assert "true model" not in texts_of(figure)
    assert set(data.loc[data["kind"] == "left out", "setting"]) == {"bernoulli@n_features=10"}
    figure.draw_without_rendering()


@pytest.mark.parametrize("setting", ["poisson", "poisson@n_features=3,rate=2", "poisson@shift=-1"])
def test_counts_need_one_swept_number(setting):
    scores = counts()["scores"].assign(setting=setting)
    with pytest.raises(UserError, match="one swept number"):
        FIGURES.load("counts")({"scores": scores}, "counts")


def test_assumptions_show_leakage_both_ways_and_what_was_learned():
    figure, data = FIGURES.load("assumptions")(assumptions([("matched", "cvae", 202)]), "assumptions")
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
    scores = assumptions(learned="")["scores"]
    figure, _ = FIGURES.load("assumptions")(
        {"scores": scores[scores["metric"] != "leakage_r2_nonlinear"]}, "assumptions"
    )
    assert len(figure.axes) == 2
    figure.draw_without_rendering()


def test_trades_pair_scores_of_a_seed():
    tables = cells([("s", "held", 201)])
    shuffled = tables["scores"].sample(frac=1.0, random_state=1)
    order = shuffled["variant"].map([*CELLS, "pca", "oracle"].index).sort_values(kind="stable").index
    figure, data = FIGURES.load("cells_tradeoff")(tables | {"scores": shuffled.loc[order]}, "cells")
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


def test_trades_of_one_variant_or_without_references():
    for tables in (cells(variants=("plain",)), cells(baselines=False)):
        figure, _ = FIGURES.load("cells_tradeoff")(tables, "cells")
        figure.draw_without_rendering()
    assert len(FIGURES.load("cells_tradeoff")(cells(variants=("plain",)), "cells")[0].axes) == 3


def test_eleven_variants_look_different():
    tables = cells(variants=("plain", *(f"v{i}" for i in range(10))))
    figure, _ = FIGURES.load("cells_tradeoff")(tables, "cells")
    handles = [h for h in figure.legends[0].legend_handles if h.get_linestyle() == "None"]
    assert len({(h.get_color(), h.get_marker()) for h in handles}) == len(handles) == 11


def test_trades_need_a_shared_and_a_private_space():
    tables = cells()
    scores = tables["scores"]
    gone = (scores["metric"] == "knn_accuracy") & (scores["block"] == "z")
    with pytest.raises(UserError, match="a shared and a private block"):
        FIGURES.load("cells_tradeoff")(tables | {"scores": scores[~gone]}, "cells")


def test_maps_of_many_variants_are_a_grid():
    tables = cells([("s", "held", 201)])
    maps = tables["maps"]
    mine = tables | {"maps": maps[maps["variant"] != "other"]}
    figure, data = FIGURES.load("cells")(mine, "cells")
    assert len(figure.axes) == 3 * len(CELLS)
    assert figure.get_figheight() < 6
    assert set(data["variant"]) == {"plain", "penalised", "held"}
    assert data.groupby(["variant", "block"]).size().eq(40).all()
    texts = texts_of(figure)
    assert texts.count("no map") == 3
    assert "held (2 of 3 fits finished)" in texts
    figure.draw_without_rendering()


def test_maps_of_few_variants_have_scores_beside_them():
    figure, data = FIGURES.load("cells")(cells(variants=CELLS[:2]), "cells")
    assert len(figure.axes) == 2 * 6
    assert {"scores", "mixing"} <= set(data["panel"])
