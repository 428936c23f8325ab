"""Multipliers reach known values and agree with cooper; guards fill blocks; bad constraints are refused."""

from dataclasses import dataclass
from typing import Any, Literal

import cooper
import numpy as np
import pytest
import torch

from cdgm.config.fit import VariantSpec
from cdgm.models.comparative_vae import Posterior
from cdgm.models.source_data import SourceData, assemble
from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.constraints import CONSTRAINTS
from cdgm.objectives.constraints.base import Constraint
from cdgm.objectives.constraints.kl_floor import private_pairs
from cdgm.objectives.context import ObjectiveContext
from cdgm.training.loop import build_model, train
from tests.unit.autograd_pass import autograd_pass
from tests.unit.builders import THREE_SOURCES, fit_spec, observations

DUAL = {"average": 0.0, "warm_up": 0}


class Plane(Constraint):
    """``<c, x> <= level`` for a "pass" that is a point x (E, d)."""

    kind: Literal["plane"] = "plane"
    normal: tuple[float, ...]
    level: float

    def begin(self, context: ObjectiveContext) -> Any:
        return context.numbers("level")

    def measure(self, result: Any, design: Any, state: Any):
        return (result * result.new_tensor(self.normal)).sum(1), state

    def assess(self, members, posteriors, design):
        raise NotImplementedError


def plane(level: float, **options) -> Plane:
    return Plane(normal=(1.0, 2.0), level=level, **({"rate": 0.05, "average": 0.0, "warm_up": 0} | options))


def context_of(constraint: Constraint, members: int = 2) -> ObjectiveContext:
    return ObjectiveContext([constraint] * members, None, {}, {}, 4, torch.float64, [])


def descend(constraint: Plane, a: torch.Tensor, steps: int = 4000) -> tuple[torch.Tensor, torch.Tensor, list]:
    """Minimise |x - a|^2 / 2 under the constraint; point, multiplier and its trace."""
    x = torch.zeros_like(a, requires_grad=True)
    state = constraint.start(context_of(constraint, len(a)))
    trace = []
    for _ in range(steps):
        term, record = constraint.term(x, None, state)
        (gradient,) = torch.autograd.grad((0.5 * (x - a).square().sum(1) + term).sum(), x)
        with torch.no_grad():
            x -= 0.05 * gradient
        trace.append(record["multiplier"].clone())
    return x.detach(), state.multiplier, trace


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"average": 0.9, "rate": 0.005}, {"proportional": 0.5}, {"rate": 0.2, "decay": 100}]
)
def test_multipliers_reach_their_known_values(options):
    a = torch.tensor([[3.0, 2.0], [0.1, 0.2]], dtype=torch.float64)
    constraint = plane(2.0, **options)
    x, multiplier, _ = descend(constraint, a)
    # Projection onto the half-space: multiplier (<c, a> - level) / |c|^2 where a lies outside of it.
    expected = ((a @ torch.tensor([1.0, 2.0]).double() - 2.0) / 5).clamp(min=0)
    torch.testing.assert_close(multiplier, expected, rtol=1e-2, atol=1e-6)
    assert multiplier[0] > 0.9
    assert multiplier[1] == 0.0
    torch.testing.assert_close(
        x, a - expected[:, None] * torch.tensor([1.0, 2.0]).double(), atol=1e-3, rtol=1e-2
    )


def test_a_rate_falls_after_the_warm_up_and_halves_in_its_decay():
    constraint = plane(0.0, warm_up=3, decay=2, rate=1.0)
    state = constraint.start(context_of(constraint))
    # The violation is 3 in each step.
    trace = [constraint.term(torch.ones(2, 2).double(), None, state) and state.multiplier for _ in range(6)]
    moves = torch.stack(trace).diff(dim=0)[:, 0]
    torch.testing.assert_close(moves, torch.tensor([0, 0, 3 / 1.5, 3 / 2, 3 / 2.5]).double())


def test_training_keeps_a_margin_under_the_level_that_held_out_rows_are_compared_with():
    values = {"kind": "upper_bound", "penalty": {"kind": "hsic", "of": "means", "estimator": "unbiased"},
              "level": [0.01, 0.04], "rate": 1, "margin": 0.25, **DUAL}  # fmt: skip
    variant = {"combiner": {"kind": "sum"}, "constraints": [values]}
    spec = fit_spec(seeds=(0,), variant=variant, training={"steps": 10})
    trained = train(spec, observations(spec), [0])
    assert trained.history["level/hsic"][-1] == pytest.approx([0.0075, 0.03])
    x = torch.randn(2, 20, 2)
    posteriors = {("target", block): Posterior(x, x, x) for block in ("background", "salient")}
    members = [member.variant.constraints[0] for member in spec.members]
    design = spec.model.design.model_copy(update={"sources": ("target",)})
    assert members[0].assess(members, posteriors, design)[1].tolist() == pytest.approx([0.01, 0.04])


def test_a_constrained_vae_agrees_with_cooper():
    """The same small stack, batches and noise, trained by cooper: multipliers within 1 %."""
    from cdgm.objectives.lagrangian import Lagrangian

    floor, rate, steps = 2.5, 0.02, 400
    variant = {
        "combiner": {"kind": "sum"},
        "constraints": [{"kind": "kl_floor", "level": floor, "rate": rate, **DUAL}],
    }
    spec = fit_spec(seeds=(0,), variant=variant, training={"precision": "float64"})
    x = observations(spec, n=16)
    data = {s: SourceData(x[s], [0], spec.model.likelihood, torch.float64) for s in spec.model.design.sources}
    batch = assemble(data, {s: torch.arange(16).unsqueeze(0) for s in data})
    generator = torch.Generator().manual_seed(0)
    noises = [
        {
            "background": torch.randn(1, 32, 2, generator=generator, dtype=torch.float64),
            "salient": torch.randn(1, 16, 2, generator=generator, dtype=torch.float64),
        }
        for _ in range(steps)
    ]

    model = build_model(spec, 6)
    flat = flatten_parameters(model, 1)
    contexts = {"combiner": context_of(spec.variant.combiner, 1)}
    contexts["constraint/kl_floor"] = context_of(spec.variant.constraints[0], 1)
    objective = Lagrangian(model, flat, spec.variant, contexts)
    adam = torch.optim.Adam([flat], lr=3e-3)
    ours = []
    for noise in noises:
        step = objective.step(batch, noise)
        ours.append(step.terms["multiplier/kl_floor"].item())
        flat.grad = step.gradient
        adam.step()

    class Problem(cooper.ConstrainedMinimizationProblem):
        def __init__(self):
            super().__init__()
            multiplier = cooper.multipliers.DenseMultiplier(num_constraints=1, dtype=torch.float64)
            self.floor = cooper.Constraint(
                multiplier=multiplier, constraint_type=cooper.ConstraintType.INEQUALITY
            )

        def compute_cmp_state(self, noise):
            result = autograd_pass(other, batch, noise)
            violation = floor - result.kl["target", "salient"]
            return cooper.CMPState(-result.elbo.sum(), {self.floor: cooper.ConstraintState(violation)})

    other = build_model(spec, 6)
    problem = Problem()
    optimiser = cooper.optim.SimultaneousOptimizer(
        problem, torch.optim.Adam(other.parameters(), lr=3e-3),
        torch.optim.SGD(problem.dual_parameters(), rate, maximize=True),
    )  # fmt: skip
    theirs = []
    for noise in noises:
        theirs.append(problem.floor.multiplier().item())
        optimiser.roll(compute_cmp_state_kwargs={"noise": noise})
    assert max(ours) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-4)


def test_warm_up_holds_the_multiplier_at_zero():
    a = torch.tensor([[3.0, 2.0]], dtype=torch.float64)
    _, _, trace = descend(plane(2.0, warm_up=50, proportional=1.0), a, 60)
    assert all(t == 0 for t in trace[:50])
    assert trace[55] > 0


def test_an_unknown_level_holds_nothing_and_a_lost_member_stays_alone():
    constraint = plane(2.0)
    state = constraint.start(context_of(constraint, 3))
    state.inner = torch.tensor([2.0, float("nan"), 2.0], dtype=torch.float64)
    x = torch.full((3, 2), 5.0, dtype=torch.float64)
    x[2] = float("nan")
    for _ in range(3):
        constraint.term(x, None, state)
    assert state.multiplier[0] == pytest.approx(3 * 0.05 * 13)
    assert state.multiplier[1] == 0


def test_floor_looks_at_the_emptiest_private_block():
    design = fit_spec(design=THREE_SOURCES).model.design
    assert private_pairs(design) == [("b", "own"), ("a", "pair"), ("c", "pair")]

    @dataclass
    class Result:
        kl: dict

    kl = {
        ("b", "own"): [3.0, 1.0],
        ("a", "pair"): [2.0, 9.0],
        ("c", "pair"): [4.0, 9.0],
        ("a", "shared"): [0.0, 0.0],
    }
    floor = CONSTRAINTS.parse({"kind": "kl_floor", "level": 1, "rate": 1, **DUAL})
    value, _ = floor.measure(Result({k: torch.tensor(v) for k, v in kl.items()}), design, torch.ones(2))
    torch.testing.assert_close(value, torch.tensor([2.0, 1.0]))


@pytest.mark.slow
def test_floor_fills_a_block_that_the_elbo_would_empty():
    # Pure noise: without the guard the posterior is the prior.
    def salient_kl(constraints):
        spec = fit_spec(
            variant={"combiner": {"kind": "sum"}, "constraints": constraints}, training={"steps": 600}
        )
        return train(spec, observations(spec), [0, 1, 2]).history

    guard = {"kind": "kl_floor", "level": 0.8, "rate": 0.05, "average": 0.9, "warm_up": 50}
    free, held = salient_kl([]), salient_kl([guard])
    assert (free["kl/target/salient"][-1] < 0.4).all()
    np.testing.assert_allclose(held["kl/target/salient"][-10:].mean(0), 0.8, rtol=0.15)
    assert (held["multiplier/kl_floor"].mean(0) > 0.05).all()
    np.testing.assert_allclose(held["level/kl_floor"], 0.8, rtol=1e-6)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"kind": "kl_floor", "level": 0, "rate": 1, **DUAL}, "above 0"),
        ({"kind": "kl_floor", "level": 1, "rate": 1, "warm_up": 0}, "average"),
        ({"kind": "kl_flor", "level": 1}, "unknown constraint 'kl_flor'"),
    ],
)
def test_bad_constraints_are_refused(constraint, message):
    with pytest.raises(ValueError, match=message):
        VariantSpec.model_validate({"combiner": {"kind": "sum"}, "constraints": [constraint]})


def test_a_design_without_private_blocks_has_no_floor():
    shared = {"sources": ["a", "b"], "blocks": {"shared": ["a", "b"]}}
    guard = {"kind": "kl_floor", "level": 1, "rate": 1, **DUAL}
    with pytest.raises(ValueError, match="some source lacks"):
        fit_spec(design=shared, variant={"combiner": {"kind": "sum"}, "constraints": [guard]})
