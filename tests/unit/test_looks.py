"""Undecided claims get more seeds: the next look, its price, what is reused, what a decided claim sees."""

import copy
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdgm.claims.judge import claims_table, judge
from cdgm.claims.looks import alpha_of, announcement, checked, next_looks, with_looks
from cdgm.claims.scope import judging_of_study
from cdgm.config.claim import Claim, VerdictRules
from cdgm.config.layers import load_layers
from cdgm.config.study import Config, Seeds, parse_config
from cdgm.config.validation import validated
from cdgm.evaluation.intervals import median_rank
from cdgm.utils.errors import UserError
from cdgm.workflow.plan import expand
from cdgm.workflow.timings import seconds_of_a_fit

ROOT = Path(__file__).parents[2]
RULES = VerdictRules(alpha=0.05, looks=(10, 20, 40))
PLACE = {"setting": "linear", "variant": "cvae", "source": "target", "metric": "elbo"}


def config_of(count: int = 10, per_file: int = 10) -> Config:
    """Two claims on one study, of one setting."""
    values = copy.deepcopy(load_layers([ROOT / "config.yaml"]))
    study = values["studies"]["identifiability"]
    study |= {"settings": {"linear": {}}, "figures": ["recovery"]}
    study["seeds"] = {"first": 200, "count": count, "per_job": per_file, "per_file": per_file}
    claim = {
        **{"statement": "It is so", "source": "ours", "study": "identifiability", "figure": "recovery"},
        "conditions": [{"name": "c", "of": PLACE, "at_least": 0.5}],
    }
    values |= {
        "studies": {"identifiability": study},
        "verdicts": RULES.model_dump(),
        "claims": {"one": claim, "two": claim},
    }
    return parse_config(values)


def verdicts(n: int = 10, **of: str) -> dict[str, pd.DataFrame]:
    rows = [{"claim": name, "claim_verdict": verdict, "n_all": n} for name, verdict in of.items()]
    return {"results/claims.csv": pd.DataFrame(rows)}


@pytest.mark.parametrize(
    ("count", "looks"), [(10, 3), (20, 2), (40, 1), (5, 4)], ids=lambda value: str(value)
)
def test_the_looks_that_a_claim_may_take_share_the_error(count, looks):
    seeds = Seeds(first=200, count=count, per_job=5, per_file=5)
    assert alpha_of(RULES, seeds) == pytest.approx(0.05 / looks)
    assert alpha_of(VerdictRules(), seeds) == 0.05


def test_three_looks_together_err_less_often_than_alpha():
    seeds = Seeds(first=0, count=10, per_job=10, per_file=10)
    draws = np.random.default_rng(0).standard_normal((4000, 40))
    wrong = np.zeros(len(draws), bool)
    for n in RULES.looks:
        rank = median_rank(n, alpha_of(RULES, seeds))
        ordered = np.sort(draws[:, :n], axis=1)
        wrong |= (ordered[:, rank - 1] > 0) | (ordered[:, n - rank] < 0)
    # The three intervals alone err with .2, 1.2 and 1.7 %.
    assert 0.017 < wrong.mean() < 0.033


def test_looks_have_to_ascend():
    with pytest.raises(UserError, match="ascending numbers of seeds"):
        validated(VerdictRules, {"looks": [20, 10]}, "my.yaml")


def test_an_undecided_claim_moves_to_the_next_look_and_a_decided_one_stays():
    config = config_of()
    first = next_looks(config, verdicts(one="undecided", two="supported"), {})
    assert first == {"one": 20}
    # A run that was interrupted before it judged anew stays where it is.
    assert next_looks(config, verdicts(one="undecided", two="supported"), first) == first
    second = next_looks(config, verdicts(20, one="undecided"), first)
    assert second == {"one": 40}
    assert next_looks(config, verdicts(40, one="undecided"), second) == second
    assert next_looks(config, verdicts(one="not testable", two="contradicted", gone="undecided"), {}) == {}


def test_seeds_are_added_and_nothing_is_fitted_anew():
    config = config_of()
    before, after = expand(config), expand(with_looks(config, {"one": 40}))
    assert len(before.fits) == 1
    assert len(after.fits) == 4
    for group in ("simulations", "fits", "evaluations"):
        assert set(getattr(before, group)) < set(getattr(after, group))
    told = announcement(config, {}, {"one": 40})
    assert "identifiability: 10 -> 40 seeds for one" in told
    assert "30 fits in 3 stacks are added to 1 stacks" in told
    # Seeds that are there already for another claim cost nothing.
    assert "no claim" in announcement(config, {"one": 40}, {"one": 40, "two": 20})
    stacks = int(re.search(r"in (\d+) stacks", told)[1])
    assert (
        announcement(config, {}, {"one": 40}, 90.0)
        == f"{told}: some {round(stacks * 1.5)} minutes of one core"
    )


def test_the_time_of_a_stack_is_that_of_the_last_run(tmp_path):
    file = tmp_path / "timings.csv"
    assert seconds_of_a_fit(file) is None
    file.write_text("rule,jobs,wall_seconds\nfit,2,40\nevaluate,4,20\ndraw,9,900\n", encoding="utf-8")
    assert seconds_of_a_fit(file) == 25.0
    for damaged in (
        "rule,jobs\nfit,2\n",
        "rule,jobs,wall_seconds\nfit,0,0\n",
        "rule,jobs,wall_seconds\nfit,a,b\n",
    ):
        file.write_text(damaged, encoding="utf-8")
        assert seconds_of_a_fit(file) is None


def test_blocks_of_seeds_that_would_change_are_refused():
    with pytest.raises(
        UserError, match=r"identifiability.seeds.per_file: got 20, expected a divisor of count"
    ):
        next_looks(config_of(count=10, per_file=20), verdicts(one="undecided"), {})


def test_a_decided_claim_is_judged_on_the_seeds_of_its_own_look():
    config = config_of()
    job = judging_of_study(config, "identifiability", {"one": 20})
    assert job["ends"] == {"two": 210}
    assert job["alpha"] == {"one": pytest.approx(0.05 / 3), "two": pytest.approx(0.05 / 3)}
    assert judging_of_study(config, "identifiability", {"one": 20, "two": 20})["ends"] == {}
    # Later seeds contradict: they turn the claim that sees them alone.
    values = np.where(np.arange(200, 220) < 210, 0.9, 0.1)
    table = pd.DataFrame({**PLACE, "study": "identifiability", "seed": range(200, 220), "finite": True})
    table = table.assign(value=values, block="", truth="", twist=0.0, point="", null_high=np.nan)
    claims = {name: Claim.model_validate(claim) for name, claim in job["claims"]}
    judged = judge(claims, {"identifiability": table}, {}, job["alpha"], job["ends"])
    assert [v.verdict for v in judged] == ["undecided", "supported"]
    assert claims_table(judged)["n_all"].tolist() == [20, 10]


@pytest.mark.parametrize(
    ("taken", "part"),
    [
        ([1], "looks.json: got [1], expected a mapping"),
        ({"one": 15}, "looks.json: one: got 15, expected one of verdicts.looks, [10, 20, 40]"),
    ],
)
def test_a_damaged_file_of_looks_is_one_line(taken, part):
    with pytest.raises(UserError) as caught:
        checked(config_of(), taken, "looks.json")
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_claims_that_are_no_longer_stated_are_left_out_of_the_looks():
    assert checked(config_of(), {"one": 20, "gone": 40}, "looks.json") == {"one": 20}


def test_a_table_that_is_none_of_verdicts_is_refused():
    with pytest.raises(
        UserError, match=r"results/claims.csv: columns: got .*, expected also 'claim_verdict'"
    ):
        next_looks(config_of(), {"results/claims.csv": pd.DataFrame({"claim": []})}, {})
