"""The conclusion about a fit follows from the numbers of its tables."""

import numpy as np
import pandas as pd
import pytest

from cdgm.estimator.interpretation import check_crossing, check_effect, check_training, interpret, summarise
from cdgm.estimator.leakage_checks import TOLD_FITS
from cdgm.utils.joint_names import JOINT


def elbo(kl: float = 2.0, finite=(True, True, True)) -> pd.DataFrame:
    members = range(len(finite))
    return pd.DataFrame({"member": members, "finite": finite, "kl_background": 3.0, "kl_salient": kl})


def traces(metric: str, block: str, values, limit: float = 0.5, mean: float = 0.4) -> pd.DataFrame:
    """Rows of the table of leakage, one for each member."""
    source = f"background{JOINT}target" if metric.startswith("source_separation") else "target"
    rows = {"metric": metric, "block": block, "source": source, "value": values}
    return pd.DataFrame(rows | {"null_mean": mean, "null_high": limit}).assign(
        trace=lambda table: table["value"] > table["null_high"]
    )


def stability(block: str, *r2: float) -> pd.DataFrame:
    return pd.DataFrame({"block": block, "r2": r2, "agreement": 0.9, "r2_null_high": 0.1})


INDEPENDENT = traces("hsic", f"background{JOINT}salient", [0.001] * 3, 0.002)
STABLE = pd.concat([stability("background", 0.95, 0.9), stability("salient", 0.93, 0.85)])
SALIENT = ("salient",)


def verdicts(*tables, label: str = "donor") -> dict[str, str]:
    return {check.about: check.verdict for check in interpret(*tables, label)}


@pytest.mark.parametrize(
    ("r2", "verdict", "words"),
    [
        (0.81, "good", "No check speaks against the salient block of this fit, which does not prove"),
        (
            0.65,
            "minor",
            "Interpret the salient block of this fit with care: seeds agree only in part (r2 0.65).",
        ),
        (0.34, "doubt", "Do not interpret the salient block of this fit: seeds disagree (r2 0.34)."),
    ],
)
def test_the_worst_pair_of_members_decides(r2, verdict, words):
    table = pd.concat([stability("background", 0.95), stability("salient", 0.97, r2)])
    checks = interpret(elbo(), INDEPENDENT, table)
    assert {c.about: c.verdict for c in checks}["stability of the salient block"] == verdict
    summary = summarise(checks, SALIENT)
    assert summary.text.startswith(words)
    assert summary.verdict == verdict


def test_an_empty_block_is_a_doubt():
    empty = pd.DataFrame({"block": ["salient"], "r2": np.nan, "agreement": np.nan, "r2_null_high": np.nan})
    checks = interpret(elbo(kl=0.02), INDEPENDENT, empty)
    assert [c.verdict for c in checks if c.blocks == SALIENT] == ["doubt", "doubt"]
    text = "Do not interpret the salient block of this fit: the salient block is empty."
    assert summarise(checks, SALIENT).text == text


def test_members_that_diverged_are_counted():
    assert verdicts(elbo(finite=(True, True, False)), INDEPENDENT, STABLE)["members that diverged"] == "minor"
    checks = interpret(elbo(finite=(True, False, False)), INDEPENDENT, None)
    assert "2 of 3 members diverged" in summarise(checks, SALIENT).text
    assert summarise(checks, SALIENT).verdict == "doubt"


@pytest.mark.parametrize(
    ("values", "verdict", "words"),
    [
        ([0.001, 0.002, 0.001], "good", "within its limit"),
        ([0.001, 0.003, 0.001], "minor", "in 1 of 3 members: HSIC 0.001."),
        ([0.003, 0.003, 0.003], "minor", "in 3 of 3 members: HSIC 0.003, 1.5 times its limit"),
        ([0.16, 0.15, 0.17], "doubt", "HSIC 0.16, 80 times its limit"),
    ],
)
def test_a_dependence_of_blocks_has_a_size(values, verdict, words):
    table = traces("hsic", f"background{JOINT}salient", values, 0.002)
    checks = interpret(elbo(), table, STABLE)
    (check,) = [c for c in checks if c.term == "hsic"]
    assert check.verdict == verdict
    assert words in check.text
    assert ("with care" in summarise(checks, SALIENT).text) == (verdict != "good")


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([0.49, 0.5, 0.5], "good"), ([0.53, 0.49, 0.5], "minor"), ([0.53] * 3, "minor"), ([0.7] * 3, "doubt")],
)
def test_sources_that_the_background_block_reveals_have_a_size(values, verdict):
    table = traces("source_separation", "background", values)
    assert verdicts(elbo(), table, STABLE)["sources in the background block"] == verdict


@pytest.mark.parametrize(
    ("linear", "axes", "words"),
    [
        (0.68, "minor", "Encodings are shifted: their means alone give 0.68. Variant mmd-cvae brings them"),
        (0.52, "doubt", "Means alone give 0.52, so it is hardly a shift"),
    ],
)
def test_a_separation_is_of_one_of_two_kinds(linear, axes, words):
    """Axes of unequal variance are a dimension that moved only where the means are not shifted."""
    asymmetry = traces("axis_asymmetry", "background", [4.4] * 3, 1.1, 1.0)
    asymmetry["source"], asymmetry["member"] = f"target{JOINT}background", range(3)
    of_sources = [
        traces("source_separation", "background", [0.7] * 3),
        traces("source_separation_linear", "background", [linear] * 3),
    ]
    checks = interpret(elbo(), pd.concat([*of_sources, asymmetry]), STABLE)
    found = {check.about: check for check in checks}
    assert words in found["sources in the background block"].text
    assert found["sources in the background block"].verdict == "doubt"
    assert found["axes of the background block"].verdict == axes
    assert ("need not be a dimension that has moved" in found["axes of the background block"].text) == (
        axes == "minor"
    )


def test_a_salient_block_that_predicts_labels_is_prominent():
    mixed = traces("source_separation", "background", [0.49] * 3)
    leakage = pd.concat(
        [INDEPENDENT, mixed]
        + [traces("knn_accuracy", block, [0.74] * 3, 0.24, 0.2) for block in ("background", "salient")]
    )
    checks = interpret(elbo(), leakage, STABLE, "donor")
    assert checks[0].about == "donor in the salient block"
    assert checks[0].verdict == "ask"
    assert "predicts donor of target cells with 74% balanced accuracy (20% by chance)" in checks[0].text
    assert "confounded" in checks[0].text
    assert "make sure that donor is not a batch" in summarise(checks, SALIENT).text
    shared = next(c for c in checks if c.about == "donor in the background block")
    assert shared.verdict == "open"
    assert "leaks" in shared.text
    low = interpret(elbo(), traces("knn_accuracy", "salient", [0.25] * 3, 0.24, 0.2), STABLE, "donor")
    assert "hardly predicts" in low[0].text
    assert low[0].verdict == "open"


@pytest.mark.parametrize(
    ("values", "limit", "verdict", "words"),
    [
        ([1.1, 2.9, 1.2], 1.3, "good", "no axis varies more than 2.9 times as much as in the background"),
        (
            [1.1, 12, 1.2],
            1.3,
            "minor",
            "1 of 3 members has a background axis that is alive only in",
        ),
        (
            [11, 12.04, 1.2],
            1.3,
            "doubt",
            "2 of 3 members have a background axis that is alive only in",
        ),
        # With few rows chance alone gets as far.
        ([4, 4.5, 5], 5.5, "good", "5.0 times"),
    ],
)
def test_an_axis_that_is_alive_in_one_source_is_counted(values, limit, verdict, words):
    table = traces("axis_asymmetry", "background", values, limit, 1.1)
    table["source"], table["member"] = f"target{JOINT}background", range(3)
    checks = interpret(elbo(), table, STABLE)
    (check,) = [c for c in checks if c.term == "asymmetry"]
    assert check.verdict == verdict
    assert words in check.text
    summary = summarise(checks, SALIENT)
    assert (words in summary.text) == (verdict != "good")
    assert summary.verdict == verdict
    if verdict == "doubt":
        assert "(member 0, 1)" in check.text
        assert "alive only in the target: it varies 12.0 times as much as in the background" in check.text


def test_a_single_member_says_nothing_about_stability():
    checks = interpret(elbo(finite=(True,)), INDEPENDENT.head(1), None)
    assert summarise(checks, SALIENT).text.startswith("Do not rely on the salient block of this fit yet")


def history(steps: int, half_life: float, seed: int = 0, quantity: str = "elbo") -> pd.DataFrame:
    step = np.arange(1, 51) * steps // 50
    values = -100 * 0.5 ** (np.arange(1, 51) / 50 / half_life)
    return pd.DataFrame({"step": step, "seed": seed, "quantity": quantity, "value": values})


@pytest.mark.parametrize(
    ("steps", "half_life", "verdict"),
    [(3000, 0.1, "good"), (3000, 0.4, "minor"), (300, 0.1, "minor"), (300, 0.4, "doubt")],
)
def test_short_and_unsettled_training_are_doubts(steps, half_life, verdict):
    (check,) = check_training(history(steps, half_life), 3000)
    assert check.verdict == verdict
    assert ("300 steps, of 3,000" in check.text) == (steps == 300)
    # Minibatches say little; the ELBO of validation rows is judged where there is one.
    both = pd.concat([history(steps, half_life, quantity="elbo_validation"), history(steps, 0.9 - half_life)])
    assert check_training(both, 3000) == [check]
    if verdict == "doubt":
        text = summarise([check], SALIENT).text
        assert "training was short (300 of the usual 3,000 steps) and has not settled" in text


def test_members_that_early_stopping_ended_are_not_unsettled():
    rising = [history(3000, 0.4, seed, "elbo_validation") for seed in (7, 8, 9)]
    (check,) = check_training(pd.concat(rising), 3000, ended=[7])
    assert (check.verdict, check.size) == ("minor", "+10 nats")
    for table in rising[:2]:
        table.loc[table["step"] > 1500, "value"] = np.nan
    (check,) = check_training(pd.concat(rising), 3000, ended=[7, 8])
    assert check.verdict == "good"
    assert "2 of 3 members" in check.text
    # Members that diverged are others than those that stopped.
    (check,) = check_training(pd.concat(rising), 3000)
    assert check.verdict == "minor"


def test_the_scatter_of_minibatches_is_no_rise():
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(40):
        table = pd.concat([history(3000, 0.1, seed) for seed in range(2)])
        table["value"] += rng.normal(0.0, 20.0, len(table))
        verdicts += [check.verdict for check in check_training(table, 3000)]
    assert verdicts.count("good") >= 36


def batches(block: str, values, floor: float = 0.3) -> pd.DataFrame:
    return traces("batch_accuracy", block, values, 0.24, 0.2).assign(floor=floor)


@pytest.mark.parametrize(
    ("block", "values", "verdict"),
    [
        ("salient", [0.43] * 3, "good"),  # 0.3 by the sizes of cells alone
        ("salient", [0.84] * 3, "doubt"),
        ("salient", [0.84, 0.2, 0.2], "good"),
        ("background", [0.84] * 3, "minor"),
    ],
)
def test_batches_are_judged_and_not_asked_about(block, values, verdict):
    mixing = traces("source_separation", "background", [0.49] * 3)
    labels = traces("knn_accuracy", block, values, 0.24, 0.2)
    leakage = pd.concat([INDEPENDENT, mixing, labels, batches(block, values)])
    checks = interpret(elbo(), leakage, STABLE, "donor", "donor")
    # The same column as labels is not told twice.
    (check,) = [c for c in checks if c.about == f"donor in the {block} block"]
    assert (check.verdict, check.term) == (verdict, "batches")
    if verdict == "doubt":
        assert check.size == "84%, floor 30%"
        assert "may be donor and not the effect" in check.text
        assert "--batch-key" in check.text
        text = "of this fit with care: the salient block predicts donor (84%, floor 30%)."
        assert summarise(checks, SALIENT).text.endswith(text)
        told = interpret(elbo(), leakage, STABLE, "donor", "donor", TOLD_FITS)
        assert "--batch-key" not in " ".join(c.text for c in told)


def test_labels_that_batches_explain_are_not_judged():
    table = traces("knn_accuracy", "salient", [0.8] * 3, 0.8, 0.8)
    (check,) = [c for c in interpret(elbo(), table, STABLE, "sample", "donor") if c.term == "labels"]
    assert check.text == "all target cells of a donor have the same sample: nothing tells the two apart."


def test_the_conclusion_names_size_doubts_and_questions_at_once():
    genes = changes([1.3, 0.1], [0.01, 0.9])
    leakage = pd.concat(
        [
            traces("hsic", f"background{JOINT}salient", [0.16] * 3, 0.002),
            traces("source_separation", "background", [0.9] * 3),
            traces("knn_accuracy", "salient", [0.74] * 3, 0.24, 0.2),
        ]
    )
    effect = check_effect(elbo(), genes, SALIENT)
    summary = summarise([*interpret(elbo(), leakage, STABLE, "guide"), *effect], SALIENT)
    assert summary.verdict == "minor"
    assert summary.text == (
        "Interpret the salient block of this fit (2 nats per cell, 1 of 2 genes called) with care: "
        "background and salient depend on each other (HSIC 0.16, 80 times its limit); and make sure that "
        "guide is not a batch or donor: the block predicts it with 74% balanced accuracy (20% by chance). "
        "Do not use the background block as a space of what the sources share: "
        "the background block reveals the source of a cell (90%, chance 50%)."
    )
    mixed = traces("source_separation", "background", [0.49] * 3)
    clean = summarise([*interpret(elbo(), pd.concat([INDEPENDENT, mixed]), STABLE), *effect], SALIENT)
    assert clean.text.startswith("No check speaks against the salient block of this fit (2 nats per cell")
    assert "seeds agree (r2 0.85)" in clean.text
    assert "no dependence of blocks" in clean.text


def changes(size, q_value) -> pd.DataFrame:
    return pd.DataFrame(
        {"gene": [f"g{i}" for i in range(len(size))], "size": size, "q_value": q_value}
    ).assign(lfc_mean=lambda table: -table["size"])


def test_the_size_of_an_effect_is_no_objection():
    assert check_effect(elbo(kl=0.02), changes([1.0], [0.5]), SALIENT) == []
    (check,) = check_effect(elbo(), changes([0.5, 1.5, 0.7], [0.5, 0.01, 0.5]), SALIENT)
    assert (check.verdict, check.size) == ("note", "2 nats per cell")
    assert check.reason == "2 nats per cell, 1 of 3 genes called"
    assert (
        "2 nats per cell; typical change of a gene 0.7 in log2, largest of g1 (-1.5 on average)" in check.text
    )
    (check,) = check_effect(elbo(), changes([0.5, 1.5], [0.5, 0.2]), SALIENT)
    assert (check.verdict, check.reason) == ("note", "2 nats per cell")
    assert "0 of 2 genes change more than most do" in check.text
    # Few genes have no probabilities, and real values units of their own.
    few = changes([0.5, 1.5], np.nan).rename(columns={"lfc_mean": "difference_mean"})
    (check,) = check_effect(elbo(), few, SALIENT)
    assert (check.verdict, check.size) == ("note", "2 nats per cell")
    assert "log2" not in check.text


def test_cells_without_a_batch_are_left_out_of_the_crossing():
    sources, of = np.array(["a", "b", "a", "b", "a"]), np.array(["1", "1", "2", "2", ""])
    (check,) = check_crossing(sources, of, "donor")
    assert check.verdict == "good"
