"""A claim on a score that its study does not compute is refused before anything runs."""

from pathlib import Path

import pytest
import yaml

from cdgm.claims.check_selectors import check_claims
from cdgm.claims.expected_scores import scores_of
from cdgm.claims.scope import judged_studies, judging_of_study, judging_of_target, not_run
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.utils.errors import UserError

ROOT = Path(__file__).parents[2]
BASE = ROOT / "config.yaml"
PLACE = {"setting": "linear", "source": "target", "block": "salient", "truth": "salient", "twist": 0}


def claim(study="identifiability", figure="recovery", metric="recovery_cc", **place) -> dict:
    of = {**(PLACE if study == "identifiability" else {}), **place, "metric": metric}
    of = {column: value for column, value in of.items() if value is not None}
    return {
        "statement": "It is so",
        "source": "abstract",
        "study": study,
        "figure": figure,
        "conditions": [{"name": "c", "of": of, "at_least": 0.5}],
    }


def config_of(tmp_path: Path, *layers: dict):
    """The project's config without its claims, and ``layers`` over it."""
    files = [BASE]
    for i, layer in enumerate(layers):
        files.append(tmp_path / f"layer{i}.yaml")
        files[-1].write_text(yaml.safe_dump(layer, sort_keys=False), encoding="utf-8")
    config = parse_config(load_layers(files), files)
    return config, files


def refusal(tmp_path: Path, wanted: dict, *layers: dict) -> str:
    with pytest.raises(UserError) as caught:
        check_claims(*config_of(tmp_path, {"claims": {"mine": wanted}}, *layers))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{tmp_path / 'layer0.yaml'}: claims.mine."), message
    return message


GOOD = {
    "recovery": {},
    "a twisted truth": {"setting": "leaky_relu_2", "twist": 2},
    "both blocks": {"block": "background&salient", "metric": "entanglement_r2"},
    "a bound": {"block": None, "truth": None, "metric": "elbo"},
    "a baseline": {
        "study": "perturbation", "figure": "cells", "setting": "spikein_keep02", "variant": "oracle",
        "metric": "knn_accuracy",
    },
    "mixing": {
        "study": "perturbation", "figure": "cells", "setting": "spikein_keep02", "variant": "cvae",
        "source": "background&target", "block": "background", "metric": "source_separation",
    },
}  # fmt: skip

# What is wrong, and what the line has to hold.
BAD = {
    "metric": ({"metric": "recovery_c"}, ["0.of.metric: got 'recovery_c'", "recovery_cc"]),
    "metric of cells": ({"metric": "knn_accuracy"}, ["of.metric: got 'knn_accuracy'", "'identifiability'"]),
    "swept setting": ({"setting": "linear@width=3"}, ["of.setting: got 'linear@width=3'", "'linear'"]),
    "variant": ({"variant": "cave"}, ["variant: got 'cave'", "cvae"]),
    "swept value": ({"point": "hsic.weight=1"}, ["of.point: got 'hsic.weight=1'", "['']"]),
    "source": ({"source": "taget"}, ["of.source: got 'taget'", "target"]),
    "block": ({"block": "saliant"}, ["of.block: got 'saliant'", "salient", "source=target"]),
    "truth": ({"truth": "label"}, ["of.truth: got 'label'", "salient"]),
    "angle": ({"twist": 2}, ["of.twist: got 2.0", "[0.0]"]),
    "ceiling that is not asked for": ({"variant": "ceiling"}, ["of.variant: got 'ceiling'"]),
    "several scores": ({"block": None, "truth": None}, ["picks 2 scores", "background", "salient"]),
    "study": ({"study": "identifiabilty"}, ["study: got 'identifiabilty'", "identifiability"]),
    "figure of another study": ({"figure": "cells"}, ["figure: got 'cells'", "recovery", "twist"]),
}


@pytest.mark.parametrize("what", GOOD)
def test_a_claim_on_scores_that_there_will_be_is_accepted(what, tmp_path):
    config, files = config_of(tmp_path, {"claims": {"mine": claim(**GOOD[what])}})
    check_claims(config, files)
    assert not_run(config, "all") == {}


@pytest.mark.parametrize("what", BAD)
def test_a_mistake_in_a_claim_is_one_line_before_anything_is_computed(what, tmp_path):
    change, parts = BAD[what]
    message = refusal(tmp_path, claim(**change))
    for part in parts:
        assert part in message


def test_mistakes_in_alternatives_and_second_scores_are_found(tmp_path):
    inside = claim()["conditions"][0]
    second = claim() | {"conditions": [inside | {"minus": inside["of"] | {"block": "z"}}]}
    assert "conditions.0.minus.block: got 'z'" in refusal(tmp_path, second)
    group = {
        "name": "g",
        "any_of": [{"setting": "linear"}, {"setting": "leaky_relu_9"}],
        "conditions": [inside],
    }
    message = refusal(tmp_path, claim() | {"conditions": [group]})
    assert "setting: got 'leaky_relu_9'" in message


def test_what_an_overlay_leaves_out_is_not_run(tmp_path):
    stated = {
        "claims": {
            "angle": claim(setting="leaky_relu_2", twist=2),
            "weight": claim(study="perturbation", figure="cells", setting="spikein_keep02", variant="cvae",
                            source="target", block="salient", truth="label", metric="ari"),
            "kept": claim(variant="cvae"),
            "unclear": claim(),
            "gone": claim(),
        }
    }  # fmt: skip
    settings = {"leaky_relu_2": {"evaluation": {"twist": {"angles": [1]}}}}
    reduced = {
        "studies": {
            "identifiability": {"settings": settings, "variants": ["cvae", "mo-cvae"]},
            "perturbation": {"variants": ["mo-cvae"]},
        },
        "claims": {"gone": None},
    }
    config, files = config_of(tmp_path, stated, reduced)
    check_claims(config, files)
    reasons = not_run(config, "all")
    assert set(reasons) == {"angle", "weight", "unclear"}
    assert "no twist 2.0" in reasons["angle"]
    assert "no variant 'cvae'" in reasons["weight"]
    assert "no single score with setting=linear" in reasons["unclear"]
    job = judging_of_target(config, "all")
    assert judged_studies(job) == ["identifiability"]
    assert [name for name, _ in job["claims"]] == ["angle", "weight", "kept", "unclear"]
    # The page of one study needs its table alone, and none where nothing can be judged.
    study = judging_of_study(config, "identifiability")
    assert [name for name, _ in study["claims"]] == ["angle", "kept", "unclear"]
    assert judged_studies(study) == ["identifiability"]
    study = judging_of_study(config, "perturbation")
    assert (set(study["not_run"]), judged_studies(study)) == ({"weight"}, [])


def test_other_targets_judge_their_own_claims(tmp_path):
    place = dict(setting="papalexi2021", source="target", block="salient", metric="ari")
    wanted = {"mine": claim(study="papalexi2021", figure="cells", **place), "first": claim(variant="cvae")}
    config, _ = config_of(tmp_path, {"claims": wanted})
    assert list(not_run(config, "all")) == ["mine"]
    assert [name for name, _ in judging_of_target(config, "perturbseq")["claims"]] == ["mine"]
    assert not_run(config, "perturbseq") == {}
    assert judging_of_study(config, "papalexi2021")["not_run"] == {}


def test_constraints_are_scored_by_their_names(tmp_path):
    layer = {"studies": {"identifiability": {"variants": ["cvae", "co-cvae"]}}}
    config, _ = config_of(tmp_path, layer)
    found = {s for s in scores_of(config, config.studies["identifiability"]) if s.variant == "co-cvae"}
    assert {s.block for s in found if s.metric == "constraint_value"} == {"mmd_shared", "hsic", "kl_floor"}


def test_the_project_s_own_claims_name_scores_that_there_will_be():
    files = [BASE, ROOT / "claims.yaml"]
    config = parse_config(load_layers(files), files)
    check_claims(config, files)
    targets = {study.target for study in config.studies.values()}
    judged = {name for t in targets for name, _ in judging_of_target(config, t)["claims"]}
    unjudged = [set(not_run(config, target)) for target in targets - {"all"}]
    assert judged == set(config.claims)
    # Each stands on something, and each threshold has a reason.
    assert all(claim.cites for claim in config.claims.values())
    clauses = [c for claim in config.claims.values() for c in (*claim.needs, *claim.conditions)]
    conditions = [c for clause in clauses for c in getattr(clause, "conditions", [clause])]
    assert not [c.name for c in conditions if not c.why]
    assert not any(unjudged)
