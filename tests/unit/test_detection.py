"""Areas, thresholds and intervals of detection against other libraries, and scores with known answers."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from cdgm.evaluation.detection import (
    COLUMNS,
    FAULTS,
    auc_interval,
    detection_table,
    faults,
    rank_interval,
    youden,
)
from cdgm.evaluation.metrics.inherited_axes import inherited_axis
from cdgm.evaluation.truth_free import MEMBER, SCORES, agreement, scores_of_latents, scores_without_truth


def members(n=60, seeds=6, seed=0) -> pd.DataFrame:
    """Two families; ratios of moved fits are above 5 in one and hidden, near 1, in the other."""
    rng = np.random.default_rng(seed)
    moved = np.arange(n) % 3 == 0
    family = np.where(np.arange(n) < n // 2, "seen", "hidden")
    ratio = np.where(moved & (family == "seen"), 5 + rng.random(n), 1 + 0.1 * rng.random(n))
    table = pd.DataFrame({score: rng.random(n) for score in SCORES})
    return table.assign(
        fit=family, member=range(n), seed=np.arange(n) % seeds, family=family, terms="none",
        moved=moved.astype(float), lost=0.0, inherited=np.nan, recovery=1 - moved / 3, axis_asymmetry=ratio,
    )  # fmt: skip


def test_areas_and_correlations_are_those_of_the_libraries():
    rng = np.random.default_rng(1)
    fault, seeds = pd.Series(rng.random(80) < 0.3), pd.Series(np.arange(80) % 8)
    score = pd.Series(np.round(rng.normal(size=80) + fault, 1))  # rounded: ties
    area, low, high = auc_interval(fault, score, seeds, rng)
    assert area == pytest.approx(roc_auc_score(fault, score))
    assert low < area < high
    rho, low, high = rank_interval(score, score + rng.normal(size=80), seeds, rng)
    assert low < rho < high
    other = pd.Series(rng.normal(size=80))
    assert rank_interval(score, other, seeds, rng)[0] == pytest.approx(spearmanr(score, other).statistic)


def test_an_interval_is_that_of_drawn_seeds():
    """Copies of a fit within its seed narrow nothing; more seeds do."""
    rng = np.random.default_rng(2)
    fault, score = pd.Series(np.arange(40) % 2 == 0), pd.Series(rng.normal(size=40))
    width = {}
    for copies in (1, 9):
        f, s = (pd.concat([v] * copies, ignore_index=True) for v in (fault, score))
        seeds = pd.Series(np.tile(np.arange(20).repeat(2), copies))
        _, low, high = auc_interval(f, s, seeds, np.random.default_rng(3))
        width[copies] = high - low
    assert width[9] == pytest.approx(width[1])


def test_thresholds_come_from_other_groups_and_hidden_faults_are_missed():
    table = detection_table(members(), np.random.default_rng(0))
    assert list(table.columns) == COLUMNS
    rows = table[(table["fault"] == "moved") & (table["score"] == "axis_asymmetry")]
    rows = rows.set_index(["group", "rule"])
    assert (rows.loc[("seen", "frozen"), ["sensitivity", "specificity", "auc"]] == 1).all()
    assert rows.loc[("hidden", "frozen"), "sensitivity"] == 0
    # Clopper and Pearson for 10 of 10.
    assert rows.loc[("seen", "frozen"), "sensitivity_low"] == pytest.approx(0.025 ** (1 / 10))
    assert rows.loc[("all", "frozen"), "sensitivity"] == 0.5
    # Chosen where moved fits stand apart, it misses all that are hidden.
    assert 1.1 < rows.loc[("hidden", "youden"), "threshold"] < 5.1
    assert rows.loc[("hidden", "youden"), "n_caught"] == 0
    lost = table[table["fault"] == "lost"]
    assert lost["auc"].isna().all()
    assert lost["n_fault"].eq(0).all()
    assert table.loc[table["fault"] == "inherited", "n"].eq(0).all()


def test_a_fit_of_several_studies_is_seen_by_none_that_leaves_it_out():
    table = members()
    again = table[table["family"] == "seen"].assign(family="hidden")
    found = detection_table(pd.concat([table, again]), np.random.default_rng(0))
    rows = found[(found["fault"] == "moved") & (found["score"] == "axis_asymmetry")]
    # Nothing is left to choose a threshold for `hidden` by.
    assert np.isnan(rows.set_index(["group", "rule"]).loc[("hidden", "youden"), "threshold"])


def test_youden_lies_between_the_sides_and_no_sides_give_none():
    fault = pd.Series([0.0, 0, 1, 1])
    assert youden(fault, pd.Series([1.0, 2, 5, 6])) == 3.5
    assert np.isnan(youden(pd.Series([0.0, 0]), pd.Series([1.0, 2])))


def test_without_members_the_table_is_empty():
    table = detection_table(members().iloc[:0], np.random.default_rng(0))
    assert set(table["fault"]) == set(FAULTS)
    assert table["n"].eq(0).all()


def test_an_inherited_axis_is_the_share_that_the_other_source_keeps():
    rng = np.random.default_rng(4)
    z, t = rng.standard_normal((2, 5000, 2))
    own, inactive = np.c_[t, 0 * z], np.zeros((5000, 4))
    assert inherited_axis(inactive, own) == pytest.approx(0, abs=1e-9)
    other = rng.standard_normal((5000, 2))
    copied = inherited_axis(np.c_[0 * other, other], np.c_[t, z])
    assert copied == pytest.approx(1 / 1.05, abs=0.05)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert inherited_axis(np.c_[0 * other, other] @ turn, np.c_[t, z] @ turn) == pytest.approx(copied)
    assert np.isnan(inherited_axis(inactive[:1], own))


def test_agreement_singles_out_the_fit_that_differs():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((200, 2))
    turned = x @ np.linalg.qr(rng.standard_normal((2, 2)))[0]
    found = agreement([x, turned, 2 * x, rng.standard_normal((200, 2))])
    assert found[:3] == pytest.approx(1.0)
    assert found[3] < 0.1
    assert np.isnan(agreement([x])).all()


def rows(*members: dict) -> list[dict]:
    place = dict.fromkeys(("study", "setting", "variant", "dataset", "fit"), "f") | {"point": "", "seed": 1}
    names = ("metric", "source", "block", "truth")
    return [
        {**place, "twist": 0.0, "member": e, **dict(zip(names, key, strict=True)), "value": value}
        for e, scores in enumerate(members)
        for key, value in scores.items()
    ]


def test_scores_and_faults_of_a_study_and_of_its_latents():
    def member(ratio, recovery, elbo, back):
        return {
            ("axis_asymmetry", "target&background", "background", ""): ratio,
            ("elbo", "target", "", ""): elbo,
            ("elbo", "background", "", ""): 1.0,
            ("kl", "target", "salient", ""): 3.0,
            ("active_dims", "target", "background", ""): 4.0,
            ("hsic", "target", "background&salient", ""): 0.1,
            ("hsic_p", "target", "background&salient", ""): 0.3,
            ("dimension_moved", "", "", ""): float(ratio > 3),
            ("leakage_cc_max", "target", "salient", "background"): back,
            ("recovery_cc", "target", "salient", "salient"): recovery,
            ("true_dims", "target", "salient", ""): 3.0,
        }

    table = pd.DataFrame(rows(member(9.0, 0.66, 5.0, 0.1), member(1.1, 0.97, 7.0, 0.9)))
    wrong = faults(table)
    assert wrong["moved"].tolist() == [1, 0]
    assert wrong["lost"].tolist() == [1, 0]
    assert wrong["inherited"].tolist() == [0, 1]
    # A true model that falls as short excuses the fit.
    ceiling = table[(table["metric"] == "recovery_cc") & (table["member"] == 0)].assign(
        variant="ceiling", fit=""
    )
    assert faults(pd.concat([table, ceiling]))["lost"].tolist() == [0, 0]
    scores = scores_without_truth(table)
    assert scores["elbo_gap"].tolist() == [2, 0]
    assert scores["axis_asymmetry"].tolist() == [9, 1.1]
    assert scores["pairs"].iloc[0] == (["background", "target", "background"],)

    rng = np.random.default_rng(6)
    means = {
        f"mean/{split}/{source}/{block}": rng.standard_normal((2, 120, 3)).astype("f4")
        for split in ("train", "test")
        for source in ("target", "background")
        for block in ("background", "salient")
    }
    # The shared block of the first member stands apart; the salient one of the second knows its truth alone.
    means["mean/test/target/background"][0] += 5
    means["mean/test/background/salient"][1] = 0
    found = scores_of_latents(scores, [("f", means | {"seeds": np.array([1, 1])})])
    assert found["source_separation"].iloc[0] == 1 > found["source_separation"].iloc[1]
    assert found["mmd_shared"].iloc[0] > 0.1 > found["mmd_shared"].iloc[1]
    assert found["inherited_axis"].iloc[1] == pytest.approx(0)
    assert found["inherited_axis"].iloc[0] > 0.5
    assert found["agreement"].max() < 0.2
    assert set(SCORES) <= {*scores, *found}
    assert set(MEMBER) <= set(scores)
