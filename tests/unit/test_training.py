"""The trainer: stacks against separate fits, independence of members, freezing, equal bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cdgm.training.loop import build_model, train
from cdgm.training.optimiser import FrozenAwareAdam
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations


def parameters(trained, member):
    return np.concatenate([p[member].detach().numpy().ravel() for p in trained.model.parameters()])


@pytest.mark.parametrize(("precision", "steps", "tolerance"), [("float64", 200, 1e-9), ("float32", 50, 1e-4)])
@pytest.mark.parametrize("design", [CONTRASTIVE, THREE_SOURCES], ids=["contrastive", "three"])
def test_a_stack_equals_separate_fits(design, precision, steps, tolerance):
    training = {"steps": steps, "precision": precision}
    spec = fit_spec((3, 1, 2), design, training=training)
    x = observations(spec)
    stack = train(spec, x, [0, 1, 2])
    for member, seed in enumerate(spec.seeds):
        alone = train(fit_spec((seed,), design, training=training), x, [member])
        together, separate = parameters(stack, member), parameters(alone, 0)
        assert np.abs(together - separate).max() <= tolerance * np.abs(separate).max()
        np.testing.assert_allclose(
            stack.history["elbo/" + design["sources"][0]][-1, member],
            alone.history["elbo/" + design["sources"][0]][-1, 0],
            rtol=max(tolerance, 1e-6),
        )


def test_training_moves_every_parameter_and_raises_the_elbo():
    spec = fit_spec(training={"steps": 200})
    x = {source: values * 3.0 for source, values in observations(spec).items()}  # a scale to be learned
    trained = train(spec, x, [0, 1, 2])
    start = build_model(spec, 6)
    for (name, p), q in zip(trained.model.named_parameters(), start.parameters(), strict=True):
        assert (p != q).flatten(1).any(1).all(), name
    for source in x:
        history = trained.history[f"elbo/{source}"]
        assert (history[-5:].mean(0) > history[0] + 0.2).all()


def test_background_rows_leave_the_salient_encoder_alone():
    """Only the target's rows may move an encoder of a block that the target alone has."""
    spec = fit_spec(training={"steps": 5})
    x = observations(spec)
    moved = x | {"background": x["background"] + 1.0}
    first, second = train(spec, x, [0, 1, 2]), train(spec, moved, [0, 1, 2])
    # The first step's gradient of the salient encoder does not see the background at all.
    one = fit_spec(training={"steps": 1, "clip": 1e9})
    a, b = train(one, x, [0, 1, 2]), train(one, moved, [0, 1, 2])
    for p, q in zip(
        a.model.encoders["salient"].parameters(), b.model.encoders["salient"].parameters(), strict=True
    ):
        assert torch.equal(p, q)
    assert not np.array_equal(parameters(first, 0), parameters(second, 0))


def test_a_member_does_not_feel_its_neighbours_data():
    spec = fit_spec()
    x = observations(spec)
    other = {source: values.copy() for source, values in x.items()}
    for values in other.values():
        values[1] *= 3.0
    first, second = train(spec, x, [0, 1, 2]), train(spec, other, [0, 1, 2])
    for member in (0, 2):
        assert np.array_equal(parameters(first, member), parameters(second, member))
    assert not np.array_equal(parameters(first, 1), parameters(second, 1))


def test_a_member_that_diverges_is_frozen_and_its_neighbours_do_not_notice():
    spec = fit_spec()
    x = observations(spec)
    broken = {source: values.copy() for source, values in x.items()}
    for values in broken.values():
        values[1] = 1e30  # squares overflow float32
    clean, dirty = train(spec, x, [0, 1, 2]), train(spec, broken, [0, 1, 2])
    assert clean.finite.tolist() == [True, True, True]
    assert dirty.finite.tolist() == [True, False, True]
    for member in (0, 2):
        assert np.array_equal(parameters(clean, member), parameters(dirty, member))
    frozen = np.concatenate([p[1].detach().numpy().ravel() for p in build_model(spec, 6).parameters()])
    assert np.array_equal(parameters(dirty, 1), frozen)


def test_a_member_that_diverges_late_keeps_its_last_finite_parameters():
    """Momentum moves a parameter at zero gradient: freezing must hold it all the same."""
    spec = fit_spec((0, 1), training={"steps": 40, "batch_size": 10})
    x = observations(spec, n=100, replicates=2)
    for values in x.values():
        values[1, 0] = 1e30  # one row, so the member breaks at the step that draws it
    trained = train(spec, x, [0, 1])
    assert trained.finite.tolist() == [True, False]
    late = parameters(trained, 1)
    assert np.isfinite(late).all()
    short = train(fit_spec((0, 1), training={"steps": 40, "batch_size": 10}), x, [0, 1])
    assert np.array_equal(late, parameters(short, 1))
    start = np.concatenate([p[1].detach().numpy().ravel() for p in build_model(spec, 6).parameters()])
    assert not np.array_equal(late, start)


def test_the_same_job_twice_gives_equal_numbers():
    spec = fit_spec()
    x = observations(spec)
    first, second = train(spec, x, [0, 1, 2]), train(spec, x, [0, 1, 2])
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    for name in first.history:
        assert np.array_equal(first.history[name], second.history[name])


def test_clipping_is_per_member():
    flat = torch.zeros(3, 4)
    optimiser = FrozenAwareAdam(flat, fit_spec(training={"clip": 2.0}).training)
    gradient = torch.tensor([[1.0], [3.0], [0.5]]).expand(3, 4).clone()
    norm = optimiser.step(gradient, torch.zeros(3))
    torch.testing.assert_close(norm, torch.tensor([2.0, 6.0, 1.0]))
    torch.testing.assert_close(gradient.norm(dim=1), torch.tensor([2.0, 2.0, 1.0]))


def test_history_has_the_last_step_and_all_quantities():
    spec = fit_spec(training={"steps": 25, "log_every": 10})
    history = train(spec, observations(spec), [0, 1, 2]).history
    assert history["step"].tolist() == [10, 20, 25]
    assert {"kl/background/background", "kl/target/background", "kl/target/salient"} <= set(history)
    assert "kl/background/salient" not in history
    assert (history["weight/target"] == 1).all()


@pytest.mark.parametrize("link", ["exp", "softmax"])
def test_counts_train(link):
    spec = fit_spec(
        model={"likelihood": {"kind": "negative_binomial", "link": link, "dispersion": "learned"}}
    )
    trained = train(spec, observations(spec, counts=True), [0, 1, 2])
    assert trained.finite.all()
    assert (trained.history["elbo/target"][-1] > trained.history["elbo/target"][0]).all()
