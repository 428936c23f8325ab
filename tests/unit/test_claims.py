"""Verdicts follow the data: each verdict is reached, differences are paired by seed, mistakes are named."""

import numpy as np
import pandas as pd
import pytest

from cdgm.claims.judge import ClaimVerdict, claims_table, judge
from cdgm.config.claim import Claim
from cdgm.config.validation import validated
from cdgm.reports.claims_page import claims_page
from cdgm.utils.errors import UserError

NAN = float("nan")


def scores(seeds=range(100, 110), **arms) -> pd.DataFrame:
    """A table with one metric; each arm (a variant) has one value a seed."""
    rows = [
        {"study": "s", "setting": "a", "variant": v, "point": "", "seed": seed, "finite": np.isfinite(value),
         "source": "target", "block": "b", "truth": "b", "twist": 0.0, "metric": "m", "value": value,
         "null_high": NAN}
        for v, values in arms.items()
        for seed, value in zip(seeds, values, strict=False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def condition(name="c", of="x", minus=None, relation="at_least", value=0.5, **more) -> dict:
    wanted = {"name": name, "of": {"variant": of, "metric": "m"}, relation: value}
    return wanted | ({"minus": {"variant": minus, "metric": "m"}} if minus else {}) | more


def verdict(table: pd.DataFrame, *conditions: dict, **more):
    given = {"statement": "It is so", "source": "abstract", "study": "s", "figure": "f", **more}
    claim = Claim.model_validate({**given, "conditions": conditions})
    return judge({"claim": claim}, {"s": table}, {})[0]


def around(centre: float, spread: float = 0.01, n: int = 10, seed: int = 0) -> np.ndarray:
    return centre + spread * np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("relation", ["at_least", "at_most"])
def test_each_verdict_is_reached_and_turns_when_the_data_contradict(relation):
    sign = 1 if relation == "at_least" else -1
    for shift, expected in ((0.1, "supported"), (0.0, "undecided"), (-0.1, "contradicted")):
        found = verdict(scores(x=around(0.5 + sign * shift)), condition(relation=relation))
        assert found.verdict == expected


def test_all_conditions_have_to_hold():
    table = scores(x=around(0.9), y=around(0.1), z=around(0.5))
    assert verdict(table, condition(), condition("d", of="z")).verdict == "undecided"
    both = verdict(table, condition(of="z"), condition("d", of="y"))
    assert both.verdict == "contradicted"


def test_differences_are_paired_by_seed():
    base = around(0.0, spread=5.0)
    # A rise of 0.6 in every seed, under a spread over seeds that hides it.
    table = scores(x=base + around(0.6, seed=1), y=base)
    paired = verdict(table, condition(minus="y"))
    assert paired.verdict == "supported"
    mixed = table.copy()
    of_y = mixed["variant"] == "y"
    mixed.loc[of_y, "seed"] = np.roll(mixed.loc[of_y, "seed"], 3)
    assert verdict(mixed, condition(minus="y")).verdict == "undecided"
    # The order of rows alone changes nothing.
    again = verdict(table.sample(frac=1, random_state=0), condition(minus="y"))
    assert again.judged[0].findings == paired.judged[0].findings


def test_seeds_that_lack_or_diverged_are_left_out_and_counted():
    x, y = around(0.9), around(0.1)[:8]
    x[0] = NAN
    found = verdict(scores(x=x, y=y), condition(minus="y")).judged[0].findings[0]
    assert (found.n, found.n_all) == (7, 10)
    assert found.estimate == pytest.approx(np.median(x[1:8] - y[1:]))
    many = np.append(np.full(7, NAN), around(0.9, n=6))
    few = verdict(scores(range(100, 113), x=many), condition()).judged[0].findings[0]
    assert (few.verdict, few.reason) == (
        "undecided",
        "more than half of the seeds diverged or are missing",
    )


def test_few_seeds_give_no_verdict():
    six = verdict(scores(x=around(0.9, n=6)), condition()).judged[0].findings[0]
    assert (six.verdict, six.coverage) == ("supported", 0.96875)
    # The widest interval of five values errs with probability 1/16.
    five = verdict(scores(x=around(0.9, n=5)), condition())
    (finding,) = five.judged[0].findings
    assert (finding.verdict, finding.reason) == ("undecided", "5 seeds, a verdict needs 6")
    assert "5 seeds, a verdict needs 6" in claims_page([five])
    assert claims_table([five])["reason"].tolist() == ["5 seeds, a verdict needs 6"]
    four = verdict(scores(x=around(0.9, n=4)), condition()).judged[0].findings[0]
    assert np.isnan([four.low, four.high, four.coverage, four.distance]).all()


def test_a_score_without_seeds_is_the_same_for_all():
    table = pd.concat([scores(x=around(0.9)), scores(seeds=[-1], pca=[0.2])])
    found = verdict(table, condition(minus="pca")).judged[0].findings[0]
    assert (found.n, found.n_all) == (10, 10)
    assert found.estimate == pytest.approx(np.median(around(0.9)) - 0.2)


def test_alternatives_have_to_hold_together_at_one_place_and_share_the_error():
    table = scores(p=around(0.9), q=around(0.1), r=around(0.5))
    inside = {"name": "high", "of": {"metric": "m"}, "at_least": 0.5}
    low = {"name": "low", "of": {"metric": "m"}, "at_most": 0.5}
    group = {"name": "somewhere", "any_of": [{"variant": v} for v in "pqr"], "conditions": [inside]}
    assert verdict(table, group).verdict == "supported"
    # Each condition holds somewhere, but nowhere both.
    assert verdict(table, group | {"conditions": [inside, low]}).verdict != "supported"
    two = group | {"any_of": group["any_of"][1:]}
    assert verdict(table, two).verdict == "undecided"
    alone = verdict(table, condition(of="r")).judged[0].findings[0]
    shared = verdict(table, group).judged[0].findings[2]
    assert shared.high - shared.low > alone.high - alone.low


@pytest.mark.parametrize("n_seeds", [10, 12])
def test_one_of_several_conditions_refutes_only_by_its_part_of_the_error(n_seeds):
    # All but one seed below: the second smallest and largest of ten values err by 2.1 %, enough for one
    # condition and too much for one of three.
    low = np.append(around(0.1, n=n_seeds - 1), 0.9)
    table = scores(range(100, 100 + n_seeds), x=low, y=around(0.9, n=n_seeds))
    assert verdict(table, condition()).verdict == "contradicted"
    three = verdict(table, condition(), condition("d", of="y"), condition("e", of="y"))
    assert three.verdict == ("undecided" if n_seeds == 10 else "contradicted")
    if n_seeds == 10:
        assert "that one of several conditions may spend" in three.judged[0].findings[0].reason


def test_too_many_conditions_for_the_seeds_refute_nothing():
    table = scores(range(100, 107), x=around(0.1, n=7), y=around(0.9, n=7))
    others = [condition(name, of="y") for name in "abcdef"]
    assert verdict(table, condition(), *others[:2]).verdict == "contradicted"
    assert verdict(table, condition(), *others).verdict == "undecided"


@pytest.mark.parametrize(
    ("gain", "delta", "expected"),
    [
        (0.0, 0.5, "equivalent"), (0.0, 0.001, "contradicted"), (0.9, 0.5, "supported"),
        (-0.9, 0.5, "contradicted"), (0.5, 0.5, "undecided"),
    ],
)  # fmt: skip
def test_a_difference_too_small_to_count_is_told_from_one_on_the_wrong_side(gain, delta, expected):
    table = scores(x=around(gain, seed=1), y=around(0.0))
    assert verdict(table, condition(minus="y", equivalent_within=delta)).verdict == expected


def test_a_demand_for_no_loss_is_supported_where_both_are_equal():
    table = scores(x=around(0.0, seed=1), y=around(0.0))
    assert verdict(table, condition(minus="y", value=-0.5, equivalent_within=0.5)).verdict == "supported"


def test_shares_of_seeds_are_judged_where_numbers_have_two_modes():
    # Eight of ten seeds at the upper mode: the median lies there, and says nothing of the other two.
    x = np.append(around(0.9, n=8), around(0.1, n=2))
    share = condition(seeds_at_least=0.5, value=0.4)
    found = verdict(scores(x=x), share).judged[0].findings[0]
    assert (found.estimate, found.verdict, found.coverage) == (0.8, "supported", 0.95)
    # Clopper and Pearson for 8 of 10: [.444, .975].
    assert (found.low, found.high) == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))
    assert verdict(scores(x=x), share | {"at_least": 0.7}).verdict == "undecided"
    below = condition(seeds_at_most=0.5, relation="at_least", value=0.7)
    assert verdict(scores(x=x), below).verdict == "contradicted"
    assert verdict(scores(x=x), below | {"at_least": 0.5}).verdict == "undecided"


def test_shares_of_fits_are_means_over_all_fits_of_a_seed():
    # Ten seeds of four fits: in two, one fit has another number and one diverged; the last has no number.
    tables = [scores(x=np.ones(10)).assign(setting=setting) for setting in "abcd"]
    tables[0].loc[:1, "value"] = 0.0
    tables[1].loc[:1, "finite"] = False
    for table in tables:
        table.loc[9, "value"] = NAN
    table = pd.concat(tables, ignore_index=True)
    share = condition(over_fits=True, value=0.9)
    finding = verdict(table, share).judged[0].findings[0]
    assert (finding.estimate, finding.low, finding.n, finding.n_all) == (1, pytest.approx(2 / 3), 9, 10)
    assert finding.verdict == "undecided"
    assert verdict(table, share | {"at_least": 0.6}).verdict == "supported"
    with pytest.raises(UserError, match="matches 4 rows of seed 100"):
        verdict(table, condition(value=0.9))


def test_a_claim_is_not_testable_without_its_precondition():
    def claim(needed: float) -> ClaimVerdict:
        need = condition("there is leakage", of="y")
        return verdict(scores(x=around(0.9), y=around(needed)), condition(), needs=[need])

    assert claim(0.9).verdict == "supported"
    assert (claim(0.1).verdict, claim(0.1).reason[:14]) == ("not testable", "A precondition")
    assert (claim(0.5).verdict, claim(0.5).reason[:21]) == ("undecided", "Whether the precondit")
    table = claims_table([claim(0.1)])
    assert table["role"].tolist() == ["precondition", "condition"]
    assert table["verdict"].tolist() == ["contradicted", "supported"]
    page = claims_page([claim(0.1)])
    assert "∅ not testable" in page
    assert page.count("Precondition") == 1


def test_distances_are_in_half_widths_and_below_one_exactly_where_the_threshold_is_inside():
    values = around(0.5)
    for shift in np.linspace(-0.03, 0.03, 25):
        for relation, sign in (("at_least", 1), ("at_most", -1)):
            found = verdict(scores(x=values + shift), condition(relation=relation)).judged[0].findings[0]
            inside = found.low < 0.5 < found.high
            assert found.is_close == inside
            assert np.sign(found.distance) == np.sign(sign * (found.estimate - 0.5))
    same = verdict(scores(x=np.full(10, 0.9)), condition()).judged[0].findings[0]
    assert same.distance == np.inf
    far, near = condition("far"), condition("near", value=0.89)
    judged = verdict(scores(x=around(0.9)), far, near)
    assert judged.closest.condition.name == "near"
    page = " ".join(claims_page([judged], rules="abc of 2026").split())
    assert "Closest call:</b> near" in page
    assert "half-widths from its threshold" in page
    assert "those of commit abc of 2026." in page


def test_failures_of_optimisation_are_told_apart():
    fits = condition("same ELBO", of="x", minus="y", relation="at_most", absolute=True, optimisation=True)
    for gap, words in ((0.1, "fits agree"), (2.0, "optimisation differs"), (0.5, "undecided")):
        table = scores(x=around(gap, seed=1), y=around(0.0))
        assert verdict(table, fits).optimisation == words
    assert verdict(scores(x=around(0.9)), condition()).optimisation == ""


@pytest.mark.parametrize(
    ("wanted", "parts"),
    [
        (condition(of="z"), ["variant 'z'", "['x', 'y']"]),
        ({**condition(), "of": {"metric": "m"}}, ["2 rows of seed 100", "'variant': ['x', 'y']"]),
    ],
    ids=["missing", "twice"],
)
def test_a_selector_that_picks_nothing_or_too_much_is_told(wanted, parts):
    with pytest.raises(UserError) as caught:
        verdict(scores(x=around(0.9), y=around(0.1)), wanted)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for part in ["claim 'claim'", "condition 'c'", "metric=m", *parts]:
        assert part in message


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"at_most": 0.9}, ["conditions.0", "both 'at_least' and 'at_most'"]),
        ({"at_least": None}, ["conditions.0", "neither 'at_least' nor 'at_most'"]),
        ({"relation": "at_least"}, ["conditions.0.relation: unknown key", "at_least, at_most"]),
        ({"of": {"variant": "x"}}, ["of.metric: missing"]),
        ({"seeds_at_least": 0.5, "seeds_at_most": 0.5}, ["both 'seeds_at_least' and 'seeds_at_most'"]),
        ({"seeds_at_least": 0.5, "at_least": 1}, ["share of seeds of 1, expected one between 0 and 1"]),
        ({"equivalent_within": 0.1}, ["'equivalent_within', expected it for the median of a signed"]),
        (
            {"over_fits": True, "minus": {"metric": "m"}},
            ["'over_fits' beside 'minus' or 'over', expected 'of'"],
        ),
        ({"over": {"metric": "m"}, "minus": {"metric": "m"}}, ["'minus' and 'over'"]),
    ],
)
def test_mistakes_in_a_claim_are_one_line(change, parts):
    claim = {"statement": "It is so", "source": "ours", "study": "s", "figure": "f"}
    with pytest.raises(UserError) as caught:
        validated(Claim, claim | {"conditions": [condition() | change]}, "my.yaml")
    assert len(str(caught.value).splitlines()) == 1
    for part in ["my.yaml", *parts]:
        assert part in str(caught.value)


def test_selectors_take_over_what_they_do_not_name():
    short = {
        **{"statement": "It is so", "source": "abstract", "study": "s", "figure": "f"},
        "at": {"setting": "a", "source": "target", "twist": 0},
        "conditions": [
            {"name": "c", "of": {"variant": "x", "metric": "m"}, "minus": {"variant": "y"}} | {"at_least": 0},
            {
                **{"name": "g", "any_of": [{"point": "w=1"}, {"point": "w=2"}]},
                "conditions": [
                    {"name": "c", "of": {"variant": "x", "metric": "m", "source": "other"}}
                    | {"over": {"variant": "y"}, "at_most": 1}
                ],
            },
        ],
    }
    claim = Claim.model_validate(short)
    shared = {"setting": "a", "twist": 0, "metric": "m"}
    first, group = claim.conditions
    assert first.of.given == shared | {"variant": "x", "source": "target"}
    assert first.minus.given == shared | {"variant": "y", "source": "target"}
    # The swept point belongs to what is judged and not to what it is compared with.
    [inner] = [group.conditions[0].at(place) for place in group.any_of[:1]]
    assert inner.of.given == shared | {"variant": "x", "source": "other", "point": "w=1"}
    assert inner.over.given == shared | {"variant": "y", "source": "other"}
    # What a job is told is whole, and reading it again changes nothing.
    assert Claim.model_validate(claim.model_dump(exclude_defaults=True)) == claim
