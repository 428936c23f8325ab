"""Scores of a fit step by step: they end in what the evaluation says, and change nothing."""

import numpy as np
import pytest

from cdgm.config.evaluation import EvaluationSpec
from cdgm.config.training import TrainingSpec
from cdgm.data.bundle import read_bundle
from cdgm.evaluation.fits import embed, score_simulation
from cdgm.evaluation.trace import CHECKPOINTS, Trace, checkpoints
from cdgm.simulation.simulate import simulate
from cdgm.training.loop import train
from cdgm.utils.files import write_npz
from tests.unit.builders import fit_spec, simulation

SCHEDULE = {"private": {"from": 0, "to": 1, "steps": 10}}


def training(**values):
    return TrainingSpec(**{"batch_size": 16, "learning_rate": 0.01, "clip": 10.0} | values)


@pytest.mark.parametrize(("steps", "log_every"), [(3000, 30), (1000, 30), (60, 6), (7, 3), (2, 5)])
def test_checkpoints_are_recorded_steps_and_hold_the_last(steps, log_every):
    found = checkpoints(training(steps=steps, log_every=log_every))
    assert found == sorted(set(found))
    assert found[-1] == steps
    assert len(found) <= CHECKPOINTS
    assert all(step % log_every == 0 for step in found[:-1])
    if steps == 3000:
        assert len(found) == CHECKPOINTS
        assert found[1] - found[0] < found[-1] - found[-2]


def test_a_trace_ends_in_the_evaluation_and_leaves_the_training_alone(tmp_path):
    seeds = (3, 5)
    variant = {"combiner": {"kind": "sum"}, "kl_schedule": SCHEDULE}
    spec = fit_spec(seeds, variant=variant, training={"steps": 40, "log_every": 4})
    write_npz(tmp_path / "data.npz", simulate(simulation(), seeds, 0))
    bundle = read_bundle(tmp_path / "data.npz")
    trace = Trace(spec, bundle, [0, 1])
    traced, plain = (train(spec, bundle.x["train"], [0, 1], watch=watch) for watch in (trace, None))
    for name, values in plain.history.items():
        np.testing.assert_array_equal(values, traced.history[name])
    means = embed(plain.model, bundle, [0, 1])
    evaluation = EvaluationSpec(elbo_draws=1, null_draws=10)
    members = score_simulation(spec, evaluation, bundle, [0, 1], means)
    key = ("source", "block", "truth", "metric")
    expected = {
        (e, *(row[k] for k in key)): row["value"]
        for e, rows in enumerate(members)
        for row in rows
        if row["metric"] in ("recovery_r2", "leakage_r2")
    }
    last = {(r["member"], *(r[k] for k in key)): r["value"] for r in trace.rows if r["step"] == 40}
    assert last == pytest.approx(expected, rel=1e-12)
    assert sorted({row["step"] for row in trace.rows}) == checkpoints(spec.training)
    assert {(row["seed"], row["finite"]) for row in trace.rows} == {(3, True), (5, True)}
