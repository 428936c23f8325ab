"""Ramps of KL weights: their values, what they leave alone, and what is refused."""

import json

import numpy as np
import pytest
import torch

import cdgm
from cdgm.config.design import Design
from cdgm.config.fit import FitSpec, VariantSpec
from cdgm.config.layers import merge
from cdgm.config.ramp import Ramp, ramps_of_blocks, stated
from cdgm.config.study import parse_config
from cdgm.config.yaml_file import read_yaml
from cdgm.training.loop import train
from cdgm.utils.errors import UserError
from cdgm.workflow.plan import dump, expand
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations
from tests.unit.test_environment import ROOT

SUM = {"combiner": {"kind": "sum"}}
UP = {"from": 0, "to": 1, "steps": 10}


def scheduled(schedule=None, design=CONTRASTIVE, seeds=(0, 1, 2), combiner="sum", **training):
    variant = {"combiner": {"kind": combiner} | ({"normalise": "none"} if combiner == "mgda" else {})}
    variant |= {} if schedule is None else {"kl_schedule": schedule}
    return fit_spec(seeds, design, variant=variant, training={"steps": 20, "log_every": 1} | training)


def fitted(spec):
    return train(spec, observations(spec), [m.seed for m in spec.members])


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))


def test_weights_of_a_ramp():
    ramp = {"private": {"from": 0.5, "to": 2, "steps": 4}}
    found = fitted(scheduled(ramp)).history["kl_weight/target/salient"]
    expected = np.full(20, 2.0)
    expected[:4] = [0.875, 1.25, 1.625, 2]
    np.testing.assert_array_equal(found, np.repeat(expected[:, None], 3, axis=1))


def test_the_history_states_the_whole_objective_of_a_schedule_and_only_of_one():
    history = fitted(scheduled({"own": UP, "pair": UP | {"to": 0.3}}, THREE_SOURCES)).history
    last = {name: values[-1] for name, values in history.items() if name.startswith("kl_weight/")}
    assert {name.removeprefix("kl_weight/") for name in last} == {
        name.removeprefix("kl/") for name in history if name.startswith("kl/")
    }
    for name, values in last.items():
        np.testing.assert_allclose(values, 0.3 if name.endswith("/pair") else 1.0, rtol=1e-6)
    assert not any(name.startswith("kl_weight/") for name in fitted(scheduled()).history)


@pytest.mark.parametrize("combiner", ["sum", "mgda"])
@pytest.mark.parametrize("design", [CONTRASTIVE, THREE_SOURCES], ids=["contrastive", "three"])
def test_weights_of_1_change_no_byte(design, combiner):
    one = {key: {"from": 1, "to": 1, "steps": 5} for key in ("private", "shared")}
    plain, weighted = (
        fitted(scheduled(None, design, combiner=combiner)),
        fitted(scheduled(one, design, combiner=combiner)),
    )
    assert same(plain, weighted)
    for name, values in plain.history.items():
        assert values.tobytes() == weighted.history[name].tobytes(), name
    assert not same(plain, fitted(scheduled({"private": UP}, design, combiner=combiner)))


def test_a_specification_without_a_schedule_is_written_as_before():
    """Names of results follow from it."""
    assert "kl_schedule" not in json.dumps(dump(scheduled()))
    spec = scheduled({"private": UP, "background": {"from": [1, 2], "to": 1, "steps": [3, 4]}})
    for written in (dump(spec), spec.model_dump(), json.loads(spec.model_dump_json())):
        assert FitSpec.model_validate(written) == spec
    assert dump(spec)["variant"]["kl_schedule"]["private"] == UP


def test_the_reported_bound_is_that_of_the_model():
    """A schedule that has not begun to weigh anything reports the ELBO of the plain fit's first step."""
    plain, weighted = fitted(scheduled()), fitted(scheduled({"private": UP, "shared": UP}))
    for source in ("background", "target"):
        name = f"elbo/{source}"
        np.testing.assert_array_equal(plain.history[name][0], weighted.history[name][0])


@pytest.mark.parametrize("combiner", ["sum", "mgda"])
def test_a_stack_equals_fits_of_its_members(combiner):
    schedule = {"private": {"from": [0, 2], "to": 1, "steps": [3, 15]}, "shared": UP}
    stack = scheduled(schedule, seeds=(0, 2), combiner=combiner, precision="float64")
    together = fitted(stack)
    for e, member in enumerate(stack.members):
        alone = scheduled(
            dump(member.variant)["kl_schedule"], seeds=(member.seed,), combiner=combiner, precision="float64"
        )
        single = fitted(alone)
        for a, b in zip(together.model.parameters(), single.model.parameters(), strict=True):
            torch.testing.assert_close(a[e], b[0], rtol=1e-9, atol=1e-12)


def test_the_same_job_twice_gives_equal_numbers():
    spec = scheduled({"private": UP})
    assert same(fitted(spec), fitted(spec))


def test_keys_name_groups_of_blocks():
    ramp = Ramp.model_validate(UP)
    design = Design.model_validate(THREE_SOURCES)
    assert list(ramps_of_blocks({"private": ramp}, design)) == ["own"]
    # Also where a block bears the name.
    assert list(ramps_of_blocks({"shared": ramp}, design)) == ["shared", "pair"]
    assert list(ramps_of_blocks({"pair": ramp, "own": ramp}, design)) == ["own", "pair"]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"salient": UP, "nothing": UP}, "names 'nothing', the design has no such block, expected private"),
        ({"salient": UP, "private": UP}, "block 'salient' two ramps, the second by 'private'"),
        ({"private": UP | {"steps": 21}}, "kl_schedule.private.steps is 21, expected at most 20"),
        ({"private": UP | {"steps": [3, 21]}}, "kl_schedule.private.steps is 21, expected at most 20"),
        ({"private": UP | {"steps": 2.5}}, "expected a whole number, got 2.5"),
        ({"private": UP | {"steps": 0}}, "of at least 1, got 0"),
        ({"private": UP | {"steps": "x"}}, "expected a number, got 'x'"),
        ({"private": UP | {"from": -1}}, "of at least 0, got -1"),
        ({"private": UP | {"to": True}}, "expected a number, got True"),
        ({"private": UP | {"to": float("nan")}}, "expected a number, got nan"),
        ({"private": UP | {"until": 3}}, "until"),
        ({"private": {"from": 0, "to": 1}}, "neither steps nor share"),
        ({"private": UP | {"share": 0.5}}, "both steps and share"),
        ({"private": {"from": 0, "to": 1, "share": 1.5}}, "of at most 1, got 1.5"),
        ({"private": 1000}, "Ramp"),
        (1000, "dictionary"),
    ],
)
def test_bad_schedules_are_refused(schedule, message):
    with pytest.raises(ValueError, match=message):
        scheduled(schedule)


def test_a_design_without_private_blocks_has_none_to_warm_up():
    shared = {"sources": ["a", "b"], "blocks": {"z": ["a", "b"]}}
    with pytest.raises(ValueError, match="names 'private'"):
        scheduled({"private": UP}, shared)


def test_what_the_report_says():
    ramps = {"salient": Ramp.model_validate(UP | {"steps": 1000})}
    assert stated(ramps) == (
        "KL weights change at first: salient from 0 to 1 over 1,000 steps. "
        "In the final objective all KL weights are 1."
    )
    ramps["background"] = Ramp.model_validate(UP | {"to": 0.3})
    assert stated(ramps).endswith("In the final objective KL weights are 1 but for background 0.3.")


def test_points_of_a_sweep_are_named_by_block_and_number():
    spec = VariantSpec.model_validate(SUM | {"kl_schedule": {"private": UP | {"steps": [5, 10]}}})
    assert [label for label, _ in spec.points()] == ["kl.private.steps=5", "kl.private.steps=10"]
    assert [variant.kl_schedule["private"].steps for _, variant in spec.points()] == [5, 10]
    assert spec.settled_after == 10


def test_a_share_becomes_steps_of_the_training():
    up = {"from": 0, "to": 1, "share": 0.3333}
    assert Ramp.model_validate(up).over(3000) == Ramp.model_validate(UP | {"steps": 1000})
    assert Ramp.model_validate(up).over(1).steps == 1
    assert Ramp.model_validate(up | {"share": [0.1, 1]}).over(50).steps == (5, 50)
    spec = VariantSpec.model_validate(SUM | {"kl_schedule": {"private": up}})
    assert spec.over(3000).kl_schedule["private"].steps == 1000
    # What is written is read again as the same.
    assert VariantSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValueError, match="lengths are steps"):
        scheduled({"private": up})


def test_ramps_of_penalties_are_ramps_as_others():
    penalty = {"kind": "hsic", "weight": 1, "of": "means", "estimator": "unbiased"}

    def variant(**ramp) -> VariantSpec:
        return VariantSpec.model_validate(
            SUM | {"penalties": [penalty | {"ramp": {"from": 0, "to": 1} | ramp}]}
        )

    assert variant(share=0.5).over(40).penalties[0].ramp.steps == 20
    # Early stopping waits for its end, and a training that is too short is refused.
    assert variant(steps=20).settled_after == 20
    with pytest.raises(ValueError, match=r"penalties\.0\.ramp\.steps is 20, expected at most 10"):
        variant(steps=20).check_steps(10)


# ---------------------------------------------------------------- own data


def arrays():
    rng = np.random.default_rng(0)
    return {source: rng.standard_normal((60, 8)) for source in ("a", "b")}


def model_of(schedule):
    return cdgm.ComparativeModel.from_arrays(
        arrays(),
        variant=SUM | {"kl_schedule": schedule},
        n_background=2,
        n_salient=2,
        model={"encoder_hidden": [16], "decoder_hidden": [32]},
    )


def test_training_does_not_stop_before_the_schedule_has_ended(tmp_path):
    options = {"early_stopping_share": 0.3, "early_stopping_patience": 1, "early_stopping_min_delta": 10.0}
    ends = {}
    for steps in (1, 120):
        model = model_of({"private": {"from": 0, "to": 1, "steps": steps}})
        model.train(max_steps=200, learning_rate=0.02, progress_bar=False, **options)
        ends[steps] = model.ensemble.stopping
        # Checks before the end are in the history, and keep nothing.
        values = model.ensemble.history["elbo_validation"]
        assert np.isfinite(values).all()
    assert ends[1].last_step[0] < 120
    assert ends[120].last_step[0] > ends[120].best_step[0] >= 120
    model.save(tmp_path / "model")
    loaded = cdgm.ComparativeModel.load(tmp_path / "model", arrays())
    assert loaded.variant == model.variant
    last = loaded.history.query("quantity == 'kl_weight'").groupby("block")["value"].last()
    assert last.to_dict() == {"background": 1.0, "salient": 1.0}


def test_too_few_steps_are_one_line():
    with pytest.raises(UserError) as error:
        model_of({"private": UP | {"steps": 1000}}).train(max_steps=30, progress_bar=False)
    assert str(error.value) == (
        "fit: kl_schedule.private.steps is 1000, expected at most 30, the steps of training"
    )


def test_unknown_blocks_are_one_line():
    with pytest.raises(UserError, match=r"^variant: kl_schedule names 'nothing'"):
        model_of({"nothing": UP})


def test_a_study_of_too_few_steps_is_refused_before_anything_runs():
    short = {"variants": ["cvae", "slow"], "settings": {"linear": {"training": {"steps": 900}}}}
    slow = SUM | {"kl_schedule": {"private": UP | {"steps": 1000}}}
    changed = {"studies": {"identifiability": short}, "variants": {"slow": slow}}
    config = merge(read_yaml(ROOT / "config.yaml"), changed)
    with pytest.raises(UserError) as error:
        expand(parse_config(config, [ROOT / "config.yaml"]), [ROOT / "config.yaml"])
    assert str(error.value).endswith(
        "studies.identifiability.variants.1: got 'slow', expected one that suits trainings of 900 "
        "steps: kl_schedule.private.steps is 1000, expected at most 900, the steps of training"
    )
