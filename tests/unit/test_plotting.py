"""Shared parts of figures are right: names, strips with intervals, scales, sweeps, paired evidence."""

import numpy as np
import pandas as pd
import pytest

from cdgm.evaluation.table_files import read_table
from cdgm.evaluation.table_slices import order_of
from cdgm.plotting import theme
from cdgm.plotting.elbo_differences import elbo_differences
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.labels import setting_label
from cdgm.plotting.scales import signed_scale
from cdgm.plotting.series import Series
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import swept
from cdgm.plotting.theme import Look, new_figure
from cdgm.utils.errors import UserError
from tests.unit.fake_studies import cell_variants, constrained, three_sources
from tests.unit.test_figures import draw, points_of


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
    assert setting_label(setting) == label
    assert max(map(len, setting_label(setting, 20).split("\n"))) <= 20


def test_a_colour_that_comes_back_has_another_marker():
    looks = theme.looks(map(str, range(2 * len(theme.VARIANT_COLOURS))))
    assert len({(look.colour, look.marker) for look in looks.values()}) == len(looks)


def scored(values, setting="s"):
    """Rows of one score, a seed each; NaN diverged."""
    values = np.asarray(values, dtype=float)
    fixed = {"setting": setting, "metric": "m", "null_high": 0.2}
    return pd.DataFrame({"seed": range(len(values)), "value": values, "finite": np.isfinite(values)} | fixed)


def test_strips_place_every_finite_value_the_median_and_the_interval():
    axes = new_figure(3, 3).subplots()
    data = FigureData()
    rows = pd.concat([scored([1.0, np.nan, 3.0, 8.0], "few"), scored(np.arange(10.0), "many")])
    series = [Series({"metric": "m"}, Look("black"))]
    groups = [{"setting": s} for s in ("few", "absent", "many")]
    strips(axes, rows, groups, series, data, "a", category="x")
    points = points_of(axes)
    assert len(points) == 13
    assert np.abs(points[:, 0] - np.where(points[:, 0] < 1, 0, 2)).max() < 0.4
    table = data.table()
    found = {kind: rows.set_index("setting")["value"] for kind, rows in table.groupby("kind")}
    assert found["median"].to_dict() == {"few": 3.0, "many": 4.5}
    assert found["interval_low"].to_dict() == {"many": 1.0}
    assert found["interval_high"].to_dict() == {"many": 8.0}
    assert len(table[table["kind"] == "left out"]) == 1
    drawn = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 2]
    assert any(np.allclose(np.sort(y), [1.0, 8.0]) for y in drawn)


def test_a_joined_line_breaks_where_no_fit_finished():
    axes = new_figure(3, 3).subplots()
    values = {"a": [1.0], "b": [2.0], "c": [np.nan], "d": [4.0], "e": [5.0]}
    rows = pd.concat([scored(v, s) for s, v in values.items()])
    series = [Series({}, Look("black"))]
    groups = [{"setting": s} for s in values]
    strips(axes, rows, groups, series, FigureData(), "a", category="x", join=[""] * 5)
    assert [list(line.get_ydata()) for line in axes.lines] == [[1.0, 2.0], [4.0, 5.0]]


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


def test_a_signed_scale_holds_all_data_and_is_linear_where_they_are_small():
    axes = new_figure(3, 3).subplots()
    axes.plot([0, 1], [-40.0, 900.0])
    signed_scale([axes], "y", linear=1.0)
    assert axes.get_yscale() == "symlog"
    low, high = axes.get_ylim()
    assert low < -40
    assert high > 900
    small = new_figure(3, 3).subplots()
    small.plot([0, 1], [-1.0, 1.5])
    signed_scale([small], "y", linear=1.0)
    assert small.get_yscale() == "linear"


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


def test_a_label_without_a_number_is_named():
    with pytest.raises(UserError, match="relu") as caught:
        swept("a@kind=relu")
    assert "\n" not in str(caught.value)


def test_designs_with_other_names_and_more_sources():
    tables = three_sources()
    assert order_of(tables, "three") == (["p", "q", "r"], ["common", "own_p", "own_q", "own_r"])
    figure, data = draw("recovery", tables)
    assert set(data["block"]) == {"common", "own_p", "own_q", "own_r"}
    assert len(figure.axes) == 2  # no third leakage was scored


def test_tables_survive_csv_and_parquet(tmp_path):
    tables = cell_variants()
    maps = tables["maps"].assign(label="NA")
    maps.loc[0, "label"] = ""
    maps.to_csv(tmp_path / "maps.csv", index=False)
    assert list(read_table(tmp_path / "maps.csv")["label"][:2]) == ["", "NA"]
    tables["history"].to_parquet(tmp_path / "history.parquet")
    assert len(read_table(tmp_path / "history.parquet")) == len(tables["history"])
    (tmp_path / "broken.parquet").write_text("no table")
    for name in ("broken.parquet", "absent.csv"):
        with pytest.raises(UserError, match=name):
            read_table(tmp_path / name)


def test_fits_that_share_a_seed_have_no_interval():
    rows = pd.concat([scored(np.arange(6.0)), scored(np.arange(6.0))])
    data = FigureData()
    strips(new_figure(3, 3).subplots(), rows, [{}], [Series({}, Look("black"))], data, "a")
    assert set(data.table()["kind"]) == {"seed", "median", "null_high"}
