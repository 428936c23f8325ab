"""Verdicts follow the data: each verdict is reached, differences are paired by seed, mistakes are named."""

import numpy as np
import pandas as pd
import pytest

from cdgm.claims.judge import claims_table, judge
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
    given = {"statement": "It is so", "source": "paper", "study": "s", "figure": "f", **more}
    claim = Claim.model_validate({**given, "conditions": conditions})
    return judge({"claim": claim}, {"s": table}, {})[0]


def around(centre: float, spread: float = 0.01, n: int = 10, seed: int = 0) -> np.ndarray:
    return centre + spread * np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("relation", ["at_least", "at_most"])
def test_each_verdict_is_reached_and_turns_when_the_data_contradict(relation):
    sign = 1 if relation == "at_least" else -1
    for shift, expected in ((0.1, "reproduced"), (0.0, "inconclusive"), (-0.1, "not reproduced")):
        found = verdict(scores(x=around(0.5 + sign * shift)), condition(relation=relation))
        assert found.verdict == expected


def test_all_conditions_have_to_hold():
    table = scores(x=around(0.9), y=around(0.1), z=around(0.5))
    assert verdict(table, condition(), condition("d", of="z")).verdict == "inconclusive"
    both = verdict(table, condition(of="z"), condition("d", of="y"))
    assert both.verdict == "not reproduced"


def test_differences_are_paired_by_seed():
    base = around(0.0, spread=5.0)
    # A rise of 0.6 in every seed, under a spread over seeds that hides it.
    table = scores(x=base + around(0.6, seed=1), y=base)
    paired = verdict(table, condition(minus="y"))
    assert paired.verdict == "reproduced"
    mixed = table.copy()
    of_y = mixed["variant"] == "y"
    mixed.loc[of_y, "seed"] = np.roll(mixed.loc[of_y, "seed"], 3)
    assert verdict(mixed, condition(minus="y")).verdict == "inconclusive"
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
        "inconclusive",
        "more than half of the seeds diverged or are missing",
    )


def test_few_seeds_give_no_verdict_and_no_interval():
    five = verdict(scores(x=around(0.9, n=5)), condition()).judged[0].findings[0]
    assert (five.verdict, five.coverage) == ("reproduced", 0.9375)
    four = verdict(scores(x=around(0.9, n=4)), condition())
    (finding,) = four.judged[0].findings
    assert (finding.verdict, finding.reason) == ("inconclusive", "fewer than five seeds")
    assert np.isnan([finding.low, finding.high, finding.coverage]).all()
    assert "fewer than five seeds" in claims_page([four])
    assert claims_table([four])["reason"].tolist() == ["fewer than five seeds"]


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
    assert verdict(table, group).verdict == "reproduced"
    # Each condition holds somewhere, but nowhere both.
    assert verdict(table, group | {"conditions": [inside, low]}).verdict != "reproduced"
    two = group | {"any_of": group["any_of"][1:]}
    assert verdict(table, two).verdict == "inconclusive"
    alone = verdict(table, condition(of="r")).judged[0].findings[0]
    shared = verdict(table, group).judged[0].findings[2]
    assert shared.high - shared.low > alone.high - alone.low


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
        **{"statement": "It is so", "source": "paper", "study": "s", "figure": "f"},
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
