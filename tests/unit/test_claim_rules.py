"""A claim fills the holes of its rule; each mistake gives one line that names file and key."""

from pathlib import Path

import pytest
import yaml

from cdgm.claims.check_selectors import check_claims
from cdgm.config.claim import AnyOf
from cdgm.config.layers import load_layers
from cdgm.config.study import Config, parse_config
from cdgm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
RULE = [
    {
        "name": "$block above $least",
        "of": {"block": "$block", "truth": "$block", "metric": "recovery_cc"},
        "at_least": "$least",
    }
]
CLAIM = {
    "statement": "It is so", "source": "ours", "study": "identifiability", "figure": "recovery",
    "at": {"setting": "linear", "source": "target", "twist": 0},
    "rule": "recovered", "with": {"block": "salient", "least": 0.5},
}  # fmt: skip


def files_of(folder: Path, *layers: dict) -> list[Path]:
    files = [ROOT / "config.yaml"]
    for i, layer in enumerate(layers):
        files.append(folder / f"layer{i}.yaml")
        files[-1].write_text(yaml.safe_dump(layer, sort_keys=False), encoding="utf-8")
    return files


def parsed(folder: Path, *layers: dict) -> Config:
    files = files_of(folder, *layers)
    config = parse_config(load_layers(files), files)
    check_claims(config, files)
    return config


def with_claim(body: object = RULE, /, **changes: object) -> dict:
    claim = {key: value for key, value in (CLAIM | changes).items() if value is not None}
    return {"rules": {"recovered": body}, "claims": {"mine": claim}}


def test_holes_are_filled_once_for_each_mapping_after_the_claim_s_own_conditions(tmp_path):
    own = {"name": "own", "of": {"metric": "elbo"}, "at_most": 3}
    fillings = [{"block": "salient", "least": 0.5}, {"block": "background", "least": 1}]
    claim = parsed(tmp_path, with_claim(conditions=[own], **{"with": fillings})).claims["mine"]
    assert [c.name for c in claim.conditions] == ["own", "salient above 0.5", "background above 1"]
    assert [c.wanted for c in claim.conditions] == [("at_most", 3), ("at_least", 0.5), ("at_least", 1)]
    assert claim.conditions[1].of.given == CLAIM["at"] | {
        "block": "salient", "truth": "salient", "metric": "recovery_cc"
    }  # fmt: skip


def test_a_rule_may_hold_alternatives_that_a_claim_names(tmp_path):
    group = [{"name": "somewhere, for $$ 5", "any_of": "$places", "conditions": RULE}]
    places = [{"setting": "linear"}, {"setting": "leaky_relu_3"}]
    filling = CLAIM["with"] | {"places": places}
    (clause,) = parsed(tmp_path, with_claim(group, **{"with": filling})).claims["mine"].conditions
    assert isinstance(clause, AnyOf)
    assert clause.name == "somewhere, for $ 5"
    assert [place.given for place in clause.any_of] == places


def test_a_layer_may_use_the_rule_of_another_and_change_it(tmp_path):
    below = with_claim()
    above = {"claims": {"more": CLAIM | {"with": {"block": "background", "least": 0.9}}}}
    assert parsed(tmp_path, below, above).claims["more"].conditions[0].at_least == 0.9
    changed = {"rules": {"recovered": [RULE[0] | {"name": "$block $least", "absolute": True}]}}
    assert parsed(tmp_path, below, changed).claims["mine"].conditions[0].absolute


def wrong(**change: object) -> list[dict]:
    return [RULE[0] | change]


# What is wrong, and the line from the name of the key on.
MISTAKES = {
    "unknown rule": (
        with_claim(rule="recoverd"),
        "claims.mine.rule: got 'recoverd', expected one of ['recovered']",
    ),
    "holes without a rule": (
        with_claim(rule=None),
        "claims.mine.rule: got None, expected one of ['recovered']",
    ),
    "missing hole": (
        with_claim(**{"with": {"block": "salient"}}),
        "claims.mine.with: got ['block'], expected a value for each of ['block', 'least'],"
        " the holes of rule 'recovered', and no other",
    ),
    "hole of the wrong type": (
        with_claim(**{"with": CLAIM["with"] | {"least": "much"}}),
        "rules.recovered.0.at_least: got 'much', expected a valid number",
    ),
    "key": (
        with_claim(wrong(value=1)),
        "rules.recovered.0.value: unknown key, expected one of: absolute, at_least",
    ),
    "a score less itself": (with_claim(wrong(minus={})), "claims.mine.rule.recovered.0.minus: got "),
    "lone sign": (
        with_claim(wrong(name="5 $")),
        "rules.recovered: got '5 $', expected $name, or $$ for the sign itself",
    ),
    "no list": (with_claim({"name": "x"}), "rules.recovered: got {'name': 'x'}, expected a list"),
    "score that there will not be": (
        with_claim(**{"with": CLAIM["with"] | {"block": "saliant"}}),
        "claims.mine.rule.recovered.0.of.block: got 'saliant', expected one of",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_with_file_and_key(what, tmp_path):
    layer, line = MISTAKES[what]
    with pytest.raises(UserError) as caught:
        parsed(tmp_path, layer)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'layer0.yaml'}: {line}"), message
    assert len(message.splitlines()) == 1
