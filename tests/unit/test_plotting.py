"""Figures from made-up tables: what is drawn, what is written, and what is said of missing pieces."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdgm.utils.errors import UserError

if importlib.util.find_spec("cdgm.evaluation.metrics.bounds") is None:
    # The closed form is tested with the metrics; here any decreasing curve will do.
    stub = types.ModuleType("cdgm.evaluation.metrics.bounds")
    stub.twisted_recovery = lambda angle, own, other: math.exp(-0.1 * angle * own / other)
    sys.modules["cdgm.evaluation.metrics.bounds"] = stub

spec = importlib.util.spec_from_file_location("fake_tables", Path(__file__).with_name("fake_tables.py"))
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)
spec = importlib.util.spec_from_file_location("fake_sweeps", Path(__file__).with_name("fake_sweeps.py"))
fake_sweeps = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_sweeps)

from cdgm.config.study import Study  # noqa: E402
from cdgm.evaluation.table_slices import main_source, order_of, read_table, rows_of  # noqa: E402
from cdgm.figures import FIGURES  # noqa: E402
from cdgm.plotting import style  # noqa: E402
from cdgm.plotting.sweeps import swept  # noqa: E402
from cdgm.workflow.plan import settings_of  # noqa: E402

ROOT = Path(__file__).parents[2]
STUDY_OF = {
    "recovery": "identifiability",
    "twist": "identifiability",
    "two_models": "identifiability",
    "training": "identifiability",
    "cells": "perturbation",
    "dims": "misspecification",
}
SEEDS = 4  # seed 102 is one of them
GRID = ((3, 5, 10), (1, 3))


@pytest.fixture(scope="module")
def tables():
    return {
        "identifiability": fake.simulation(SEEDS),
        "perturbation": fake.cells(seeds=SEEDS, cells=200),
        "misspecification": fake_sweeps.misspecification(SEEDS, grid=GRID),
    }


def points_of(axes):
    """All points of the scatters of an axes."""
    return np.concatenate([c.get_offsets() for c in axes.collections if hasattr(c, "get_sizes")])


def test_every_figure_is_listed_and_has_a_caption():
    assert set(STUDY_OF) <= set(FIGURES)
    for name in FIGURES:
        assert (ROOT / "report" / f"{name}.rst").is_file()


def test_listing_figures_does_not_import_matplotlib():
    code = "import sys; from cdgm.figures import FIGURES; list(FIGURES); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STUDY_OF))
def test_source_data_holds_every_seed_and_its_median(tables, name):
    study = STUDY_OF[name]
    _, data = FIGURES.load(name)(tables[study], study)
    assert {"panel", "kind", "value"} <= set(data.columns)
    keys = [
        c
        for c in (
            "setting",
            "variant",
            "point",
            "source",
            "block",
            "truth",
            "twist",
            "metric",
            "quantity",
            "step",
        )
    ]
    keys = ["panel", *(c for c in keys if c in data)]
    seeds = data[data["kind"] == "seed"].fillna({k: "" for k in keys})
    groups = seeds.groupby(keys)
    assert (groups["seed"].nunique() == SEEDS).all()
    medians = data[data["kind"] == "median"].fillna({k: "" for k in keys}).set_index(keys)["value"]
    expected = groups["value"].median()
    assert set(medians.index) == set(expected.index)
    np.testing.assert_allclose(medians[expected.index], expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(STUDY_OF))
def test_same_tables_give_equal_bytes(tables, name, tmp_path):
    study = STUDY_OF[name]
    for part in "ab":
        style.save(*FIGURES.load(name)(tables[study], study), tmp_path / part)
    for kind in ("png", "pdf", "csv"):
        first = (tmp_path / f"a.{kind}").read_bytes()
        assert first == (tmp_path / f"b.{kind}").read_bytes()
        assert first
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()
    assert {p.suffix for p in tmp_path.iterdir()} == {".png", ".pdf", ".csv"}


def test_recovery_draws_all_seeds_and_leaves_the_two_models_out(tables):
    figure, data = FIGURES.load("recovery")(tables["identifiability"], "identifiability")
    settings = [s for s in fake.SETTINGS if "twisted_decoder" not in s]
    assert list(data["setting"].unique()) == settings
    for axes in figure.axes:
        assert len(points_of(axes)) == SEEDS * len(settings) * 2
    # The shared block is judged where the blocks can mix, not where it is alone.
    assert set(data["source"]) == {"target"}


def test_recovery_matches_the_table(tables):
    scores = tables["identifiability"]["scores"]
    _, data = FIGURES.load("recovery")(tables["identifiability"], "identifiability")
    rows = scores[(scores["setting"] == "leaky_relu_2") & (scores["metric"] == "recovery_cc")]
    rows = rows[(rows["twist"] == 0) & (rows["block"] == "salient")]
    drawn = data[(data["kind"] == "median") & (data["setting"] == "leaky_relu_2")]
    drawn = drawn[(drawn["metric"] == "recovery_cc") & (drawn["block"] == "salient")]
    assert drawn["value"].item() == pytest.approx(rows["value"].median())


def test_recovery_without_nonlinear_leakage_shows_the_largest_correlation(tables):
    scores = tables["identifiability"]["scores"]
    scores = scores[scores["metric"] != "leakage_r2_nonlinear"]
    _, data = FIGURES.load("recovery")(tables["identifiability"] | {"scores": scores}, "identifiability")
    assert set(data["metric"]) == {"recovery_cc", "leakage_cc", "leakage_cc_max"}


def test_twist_overlays_the_closed_form_of_the_twisted_block(tables):
    _, data = FIGURES.load("twist")(tables["identifiability"], "identifiability")
    line = data[data["kind"] == "closed_form"]
    assert set(line["block"]) == {"background"}
    start = data[(data["kind"] == "median") & (data["metric"] == "recovery_cc") & (data["twist"] == 0)]
    start = start[start["block"] == "background"]["value"].item()
    assert line["value"].iloc[0] == pytest.approx(start)
    assert (np.diff(line["value"]) < 0).all()


def test_twist_without_dimensions_has_no_closed_form(tables):
    scores = tables["identifiability"]["scores"]
    scores = scores[scores["metric"] != "active_dims"]
    _, data = FIGURES.load("twist")(tables["identifiability"] | {"scores": scores}, "identifiability")
    assert "closed_form" not in set(data["kind"])


def test_two_models_pairs_fits_by_seed(tables):
    scores = tables["identifiability"]["scores"].sample(frac=1.0, random_state=0)
    # Shuffled rows would give other differences if they were paired by order.
    order = scores["setting"].map(list(fake.SETTINGS).index).sort_values(kind="stable").index
    _, data = FIGURES.load("two_models")(
        tables["identifiability"] | {"scores": scores.loc[order]}, "identifiability"
    )
    table = scores[(scores["metric"] == "elbo") & (scores["source"] == "target")]
    table = table.pivot(index="seed", columns="setting", values="value")
    expected = table["leaky_relu_2_twisted_decoder"] - table["leaky_relu_2"]
    drawn = data[(data["metric"] == "elbo_difference") & (data["source"] == "target")]
    drawn = drawn[(drawn["setting"] == "leaky_relu_2_twisted_decoder") & (drawn["kind"] == "seed")]
    np.testing.assert_allclose(drawn.set_index("seed")["value"].sort_index(), expected)


def test_cells_show_baselines_and_one_map_a_block(tables):
    figure, data = FIGURES.load("cells")(tables["perturbation"], "perturbation")
    assert set(data.loc[data["kind"] == "reference", "variant"]) == {"pca", "contrastive_pca", "oracle"}
    maps = data[data["kind"] == "map"]
    assert maps.groupby(["setting", "block"]).size().eq(200).all()
    assert len(figure.axes) == 2 * (4 + 2)


def test_cells_work_without_baselines_mixing_and_nulls(tables):
    scores = tables["perturbation"]["scores"]
    scores = scores[(scores["variant"] == "cvae") & ~scores["metric"].str.startswith("source_")]
    scores = scores.assign(null_high=np.nan)
    figure, data = FIGURES.load("cells")(tables["perturbation"] | {"scores": scores}, "perturbation")
    assert "reference" not in set(data["kind"])
    assert len(figure.axes) == 2 * (4 + 1)


@pytest.mark.parametrize("name", ["recovery", "twist", "two_models", "training"])
def test_fits_that_did_not_finish_are_left_out_and_counted(name):
    tables = fake.simulation(SEEDS, failed=(("leaky_relu_2", 102),))
    figure, data = FIGURES.load(name)(tables, "identifiability")
    drawn = data[(data["kind"] == "seed") & (data["setting"] == "leaky_relu_2")]
    assert set(drawn["seed"]) == {100, 101, 103}
    texts = " ".join(
        t.get_text().replace("\n", " ") for t in figure.findobj(match=lambda a: hasattr(a, "get_text"))
    )
    assert "3 of 4 fits finished" in texts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recovery", "twist", "two_models", "training"])
def test_one_seed_and_no_finished_fit_still_draw(name):
    for failed in ((), (("leaky_relu_2", 100),)):
        figure, _ = FIGURES.load(name)(fake.simulation(1, failed=failed), "identifiability")
        figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("recovery", "recovery_cc"),
        ("recovery", "leakage_cc"),
        ("twist", "entanglement_r2"),
        ("twist", "leakage_r2_nonlinear"),
        ("two_models", "elbo"),
        ("cells", "knn_accuracy"),
        ("dims", "recovery_cc"),
        ("dims", "leakage_r2"),
    ],
)
def test_a_missing_metric_is_named(tables, name, metric):
    study = STUDY_OF[name]
    scores = tables[study]["scores"]
    with pytest.raises(UserError, match=metric) as caught:
        FIGURES.load(name)(tables[study] | {"scores": scores[scores["metric"] != metric]}, study)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["leaky_relu_2", "leaky_relu_2_twisted_decoder"])
def test_a_missing_model_is_named(tables, setting):
    scores = tables["identifiability"]["scores"]
    scores = scores[
        ~scores["setting"].str.startswith(setting) | (scores["setting"] == f"{setting}_twisted_decoder")
    ]
    with pytest.raises(UserError, match=setting.removeprefix("leaky_relu_2_")):
        FIGURES.load("two_models")({"scores": scores}, "identifiability")


def test_missing_tables_columns_and_studies_are_named(tables):
    mine = tables["identifiability"]
    with pytest.raises(UserError, match="maps"):
        FIGURES.load("cells")(
            {k: v for k, v in tables["perturbation"].items() if k != "maps"}, "perturbation"
        )
    with pytest.raises(UserError, match="null_high"):
        FIGURES.load("recovery")(
            mine | {"scores": mine["scores"].drop(columns="null_high")}, "identifiability"
        )
    with pytest.raises(UserError, match="elsewhere"):
        FIGURES.load("recovery")(mine, "elsewhere")
    untwisted = mine["scores"][mine["scores"]["twist"] == 0]
    with pytest.raises(UserError, match="twist"):
        FIGURES.load("twist")(mine | {"scores": untwisted}, "identifiability")


def three_sources() -> dict[str, pd.DataFrame]:
    """A design that isn't contrastive: a block shared by three sources, and one for each of them."""
    rng = np.random.default_rng(0)
    base = {
        "study": "many",
        "setting": "three",
        "variant": "cvae",
        "finite": True,
        "twist": 0.0,
        "null_high": 0.05,
    }
    rows, history = [], []
    for seed in range(3):
        for source in "pqr":
            blocks = [f"own_{source}", "common"]
            for block in blocks:
                for truth in blocks:
                    metric = "recovery_cc" if block == truth else "leakage_cc"
                    value = rng.uniform(0.9, 1.0) if block == truth else rng.uniform(0.0, 0.1)
                    place = {"source": source, "block": block, "truth": truth, "metric": metric}
                    rows.append(base | place | {"value": value, "seed": seed})
                for step in (10, 20):
                    curve = {"step": step, "quantity": "kl", "source": source, "block": block, "value": 3.0}
                    history.append(base | {"seed": seed} | curve)
    return {"scores": pd.DataFrame(rows), "history": pd.DataFrame(history)}


def test_designs_with_other_names_and_more_sources():
    tables = three_sources()
    sources, blocks = order_of(tables, "many")
    assert (sources, blocks) == (["p", "q", "r"], ["common", "own_p", "own_q", "own_r"])
    figure, data = FIGURES.load("recovery")(tables, "many")
    assert set(data["block"]) == set(blocks)
    assert len(figure.axes) == 2  # no third leakage was scored


def test_the_same_block_has_the_same_place_with_and_without_history(tables):
    for study, mine in tables.items():
        assert order_of(mine, study) == (["background", "target"], ["background", "salient"])
    mine = {"scores": tables["identifiability"]["scores"]}
    assert order_of(mine, "identifiability")[1] == ["background", "salient"]
    assert main_source(rows_of(mine, "scores", "identifiability"), "background") == "target"


@pytest.mark.parametrize(
    ("setting", "label"),
    [
        ("linear", "linear"),
        ("leaky_relu_2", "leaky ReLU, 2 layers"),
        ("leaky_relu_2_silu", "leaky ReLU, 2 layers, SiLU decoder"),
        ("leaky_relu_2_twisted_decoder_mean_field", "leaky ReLU, 2 layers, twisted decoder, mean-field"),
        ("spikein_keep02", "spike-in, keep 0.2"),
        ("something_new", "something new"),
    ],
)
def test_names_of_settings(setting, label):
    assert style.setting_label(setting) == label
    assert max(map(len, style.setting_label(setting, 20).split("\n"))) <= 20


def test_block_and_source_colours_are_apart():
    colours = (*style.BLOCK_COLOURS, *style.SOURCE_COLOURS, *style.LABEL_COLOURS)
    assert len(set(colours)) == len(colours)


def test_strip_places_every_finite_value_and_the_median():
    axes = style.new_figure(3, 3).subplots()
    assert style.strip(axes, 1.0, [1.0, np.nan, 3.0, 8.0], "black") == 3.0
    assert sorted(points_of(axes)[:, 1]) == [1.0, 3.0, 8.0]
    assert math.isnan(style.strip(axes, 2.0, [], "black"))


def test_tables_survive_csv_and_parquet(tables, tmp_path):
    maps = tables["perturbation"]["maps"].assign(label="NA")
    maps.loc[0, "label"] = ""
    maps.to_csv(tmp_path / "maps.csv", index=False)
    read = read_table(tmp_path / "maps.csv")
    assert list(read["label"][:2]) == ["", "NA"]
    tables["perturbation"]["history"].to_parquet(tmp_path / "history.parquet")
    assert len(read_table(tmp_path / "history.parquet")) == len(tables["perturbation"]["history"])
    (tmp_path / "broken.parquet").write_text("no table")
    for name in ("broken.parquet", "absent.csv"):
        with pytest.raises(UserError, match=name):
            read_table(tmp_path / name)


def draw_py(*arguments):
    command = [sys.executable, "workflow_scripts/draw.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.mark.slow
def test_command_line(tables, tmp_path):
    paths = []
    for name, table in tables["perturbation"].items():
        path = tmp_path / (f"{name}.parquet" if name == "history" else f"{name}.csv")
        table.to_parquet(path) if name == "history" else table.to_csv(path, index=False)
        paths += [f"--{name}", str(path)]
    out = tmp_path / "figures" / "cells"
    common = ["--study", "perturbation", *paths, "--out-prefix", str(out)]
    done = draw_py("--figure", "cells", *common)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in out.parent.iterdir()) == ["cells.csv", "cells.pdf", "cells.png"]
    style.save(*FIGURES.load("cells")(tables["perturbation"], "perturbation"), tmp_path / "direct")
    assert (tmp_path / "direct.png").read_bytes() == out.with_suffix(".png").read_bytes()

    done = draw_py("--figure", "cell", *common)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'cells'" in done.stderr


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("", ("", {})),
        ("equal", ("equal", {})),
        ("dims@background=3,salient=1", ("dims", {"background": 3.0, "salient": 1.0})),
        ("hsic.weight=0.5,mmd_shared.alpha=1e-05", ("", {"hsic.weight": 0.5, "mmd_shared.alpha": 1e-5})),
    ],
)
def test_labels_of_sweeps_are_read_back(label, expected):
    assert swept(label) == expected


def test_labels_of_the_plan_are_read_back():
    study = Study.model_construct(
        settings={"dims": {}}, sweep={"model.dims.background": (3, 10), "model.dims.salient": (1,)}
    )
    found = [swept(name) for name, _ in settings_of(study)]
    assert found == [("dims", {"background": b, "salient": 1.0}) for b in (3.0, 10.0)]


def test_a_label_without_a_number_is_named():
    with pytest.raises(UserError, match="relu") as caught:
        swept("a@kind=relu")
    assert "\n" not in str(caught.value)


def test_dims_matches_the_table_and_marks_the_truth(tables):
    mine = tables["misspecification"]
    figure, data = FIGURES.load("dims")(mine, "misspecification")
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
    assert len(texts) == len(GRID[0]) * len(GRID[1])


def test_dims_draws_a_mark_for_every_seed_and_one_for_a_leak(tables):
    mine = tables["misspecification"]
    figure, data = FIGURES.load("dims")(mine, "misspecification")
    leaks = data[(data["panel"] == "d") & (data["kind"] == "seed")]
    beyond = (leaks.groupby("setting")["value"].max() > 0.2).sum()
    assert beyond
    assert len(points_of(figure.axes[3])) == len(leaks) + beyond


def test_dims_shows_seeds_beyond_the_scale_as_arrows(tables):
    scores = tables["misspecification"]["scores"].copy()
    one = (scores["metric"] == "elbo") & (scores["source"] == "target") & (scores["seed"] == 202)
    scores.loc[one & (scores["setting"] == "dims@background=5,salient=3"), "value"] = -500.0
    figure, data = FIGURES.load("dims")({"scores": scores}, "misspecification")
    (axes,) = (
        a for a in figure.axes if a.get_title("left").endswith("evidence on target,\nbelow the best cell")
    )
    assert len(points_of(axes)) == SEEDS * len(GRID[0]) * len(GRID[1])
    assert (points_of(axes)[:, 0] >= -0.5).all()
    assert data.loc[data["metric"] == "elbo_below_best", "value"].min() < -490


def test_dims_with_lost_fits_missing_cells_and_no_truth():
    gone = "dims@background=3,salient=1"
    failed = [(gone, "cvae", s) for s in (200, 201)] + [("dims@background=5,salient=3", "cvae", 201)]
    scores = fake_sweeps.misspecification(2, failed, GRID)["scores"]
    scores = scores[(scores["setting"] != "dims@background=10,salient=1") & (scores["metric"] != "true_dims")]
    figure, data = FIGURES.load("dims")({"scores": scores}, "misspecification")
    figure.draw_without_rendering()
    assert "true_dims" not in set(data["kind"])
    assert set(data.loc[data["setting"] == gone, "kind"]) == {"left out", "median"}
    assert "1/2" in [t.get_text() for t in figure.axes[0].texts]


@pytest.mark.slow
def test_dims_with_one_seed_other_names_and_several_variants():
    scores = fake_sweeps.misspecification(1, grid=GRID)["scores"]
    names = {"background": "common", "salient": "own"}
    scores["block"], scores["truth"] = scores["block"].replace(names), scores["truth"].replace(names)
    scores["setting"] = scores["setting"].str.replace("background", "common").str.replace("salient", "own")
    scores = pd.concat([scores, scores.assign(variant="mo-cvae")])
    figure, data = FIGURES.load("dims")({"scores": scores}, "misspecification")
    figure.draw_without_rendering()
    assert set(data["block"].dropna()) == {"common", "own", ""}
    assert set(data["variant"].dropna()) == {"cvae", "mo-cvae"}


def test_dims_needs_two_swept_dimensions(tables):
    scores = tables["misspecification"]["scores"].assign(setting="dims@background=3")
    with pytest.raises(UserError, match="two swept") as caught:
        FIGURES.load("dims")({"scores": scores}, "misspecification")
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
