"""A stack trains as separate fits do, members are independent, and equal jobs give equal bytes."""

import numpy as np
import pytest
import torch

from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.lagrangian import Lagrangian
from cdgm.training.loop import build_model, train
from cdgm.training.optimiser import FrozenAwareAdam, learning_rates
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations


def parameters(trained, member):
    return np.concatenate([p[member].detach().numpy().ravel() for p in trained.model.parameters()])


@pytest.mark.parametrize(("precision", "steps", "tolerance"), [("float64", 60, 1e-9), ("float32", 30, 1e-4)])
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


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 1001])
def test_learning_rates_are_those_of_one_cycle(steps):
    spec = fit_spec(training={"steps": steps, "schedule": {"kind": "one_cycle", "pct_start": 0.4}}).training
    flat = torch.zeros(1, 1)
    flat.grad = torch.zeros(1, 1)
    adam = torch.optim.Adam([flat], lr=spec.learning_rate)
    options = spec.schedule.model_dump(exclude={"kind"})
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, max_lr=spec.learning_rate, total_steps=steps + 1, cycle_momentum=False, **options
    )
    rates = []
    for _ in range(steps):
        rates.append(adam.param_groups[0]["lr"])
        adam.step()
        schedule.step()
    assert learning_rates(spec) == rates


def test_steps_are_those_of_torchs_adam():
    training = {"steps": 20, "clip": 1e9, "optimiser": {"kind": "adam", "betas": [0.8, 0.95], "eps": 1e-3}}
    spec = fit_spec(training=training).training
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(3, 5, generator=generator)
    theirs = ours.clone()
    optimiser = FrozenAwareAdam(ours, spec)
    adam = torch.optim.Adam([theirs], betas=(0.8, 0.95), eps=1e-3, fused=True)
    for rate in learning_rates(spec):
        gradient = torch.randn(3, 5, generator=generator)
        adam.param_groups[0]["lr"] = rate
        theirs.grad = gradient.clone()
        adam.step()
        optimiser.step(gradient, torch.zeros(3))
        assert torch.equal(ours, theirs)


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


VARIANTS = [
    {"combiner": {"kind": "mgda", "normalise": "none"}},
    {
        "combiner": {"kind": "sum"},
        "penalties": [
            {
                "kind": "mmd_inactive",
                "weight": [1, 10],
                "of": "means",
                "kernel": "mm_cvae",
                "estimator": "biased",
            }
        ],
    },
]


@pytest.mark.parametrize("variant", VARIANTS, ids=["combiner", "penalty"])
def test_variants_of_a_seed_share_start_values_batches_and_noise(variant, monkeypatch):
    def seen(spec):
        """Start values, and the first batches and noise, of each member by its seed."""
        found = []

        class Spy(Lagrangian):
            def step(self, batch, noise, for_weights=None):
                found.append((batch.x, {block: values[:, :16] for block, values in noise.items()}))
                return super().step(batch, noise, for_weights)

        monkeypatch.setattr("cdgm.training.loop.Lagrangian", Spy)
        start = flatten_parameters(build_model(spec, 6), len(spec.members))
        train(spec, observations(spec), [spec.seeds.index(m.seed) for m in spec.members])
        return start, found

    training = {"steps": 20, "log_every": 3}
    plain, other = (
        fit_spec(training=training),
        fit_spec(variant=variant, training=training | {"log_every": 20, "learning_rate": 1e-3, "clip": 1.0}),
    )
    (start, steps), (start_other, steps_other) = seen(plain), seen(other)
    for e, member in enumerate(other.members):
        like = plain.seeds.index(member.seed)
        assert torch.equal(start_other[e], start[like])
        for (x, noise), (x_other, noise_other) in zip(steps, steps_other, strict=True):
            assert torch.equal(x_other[e], x[like])
            assert torch.equal(noise_other["background"][e], noise["background"][like])
            if not other.variant.needs_inactive:  # else the first rows are those of the background source
                assert torch.equal(noise_other["salient"][e], noise["salient"][like])


def test_the_interval_of_the_log_changes_nothing():
    one, two = (fit_spec(training={"log_every": n}) for n in (1, 50))
    first, second = (train(spec, observations(spec), [0, 1, 2]) for spec in (one, two))
    for member in range(3):
        assert np.array_equal(parameters(first, member), parameters(second, member))


def test_optimiser_and_schedule_follow_their_options():
    options = {
        "optimiser": {"kind": "adam", "betas": [0.5, 0.9], "eps": 0.1},
        "schedule": {"kind": "one_cycle", "pct_start": 0.5, "div_factor": 2, "final_div_factor": 1},
    }
    training = fit_spec(training={"steps": 3, "learning_rate": 0.01, "clip": 1e9} | options).training
    flat = torch.zeros(1, 1)
    optimiser = FrozenAwareAdam(flat, training)
    rates, moments, position = [], np.zeros(2), 0.0
    for step, gradient in enumerate((1.0, -2.0, 3.0), 1):
        optimiser.step(torch.full((1, 1), gradient), torch.zeros(1))
        rates.append(optimiser.learning_rate)
        moments = np.array([0.5, 0.9]) * moments + np.array([0.5, 0.1]) * np.array([gradient, gradient**2])
        mean, square = moments / (1 - np.array([0.5, 0.9]) ** step)
        position -= rates[-1] * mean / (np.sqrt(square) + 0.1)
        assert flat.item() == pytest.approx(position, rel=1e-5)
    np.testing.assert_allclose(rates, [0.005, 0.01, 0.0075], rtol=1e-6)


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
