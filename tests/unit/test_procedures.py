"""Restarts keep the best start of each member; pruning takes moved axes out and leaves all else alone."""

import itertools

import numpy as np
import pytest
import torch

from cdgm.evaluation.metrics.asymmetric_axes import axis_asymmetry, axis_ratios, moved_axes
from cdgm.evaluation.metrics.truth_scores import draw_nulls, score_member
from cdgm.models.inference import held_out_bounds, posterior_means
from cdgm.procedures.prune import without
from cdgm.procedures.restarts import FEWEST_ROWS, best, starts_of
from cdgm.training.loop import train
from cdgm.workflow import cost_ahead
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations
from tests.unit.data_helpers import refused

SUM = {"combiner": {"kind": "sum"}}
SEEDS = (0, 1, 2)


def with_procedure(*, seeds=SEEDS, variant=SUM, **procedure):
    return fit_spec(seeds=seeds, variant=variant | {"procedure": procedure})


def fitted(spec, x=None):
    x = observations(spec) if x is None else x
    return spec.variant.procedure.fit(spec, x, [m.seed for m in spec.members])


def parameters(stack, member):
    return np.concatenate([p[member].detach().numpy().ravel() for p in stack.parameters()])


# ---------------------------------------------------------------- restarts


@pytest.fixture(scope="module")
def swept():
    """Best of 1, 2 and 4 starts, from one stack, and the points that starts are not trained on."""
    spec = with_procedure(kind="restarts", starts=[1, 2, 4])
    return spec, fitted(spec)


def elbos(found):
    return np.array([found.history[f"procedure/elbo/{start}"] for start in range(4)])


def test_the_best_start_of_each_member_is_kept(swept):
    spec, found = swept
    assert [m.point for m in spec.members[::3]] == ["starts=1", "starts=2", "starts=4"]
    numbers, kept, elbo = found.history["procedure/fits"], found.history["procedure/start"], elbos(found)
    assert numbers.tolist() == [1] * 3 + [2] * 3 + [4] * 3
    for e, (number, start) in enumerate(zip(numbers, kept, strict=True)):
        own = elbo[:number, e]
        assert np.isfinite(own).all()
        assert np.isnan(elbo[number:, e]).all()
        assert own[start] == own.max()
    # Starts are nested: the best of more is never worse, and the first is the same in all.
    of_number = np.nanmax(elbo, axis=0).reshape(3, 3)
    assert (np.diff(of_number, axis=0) >= 0).all()
    assert (of_number[2] > of_number[0]).any()
    assert np.array_equal(elbo[0].reshape(3, 3), np.repeat(elbo[:1, :3], 3, axis=0))


def test_a_stack_of_starts_holds_the_fits_that_are_made_one_at_a_time(swept):
    spec, found = swept
    every, _ = starts_of(spec.members)
    assert len(every) == 12, "each number of starts shares those of the largest"
    assert spec.variant.procedure.trainings(spec.members) == 12
    x = observations(spec)
    used = dict(zip(("background", "target"), _trained_on(spec, x), strict=True))
    for e in (0, 7):
        start = int(found.history["procedure/start"][e])
        (member,) = (m for m in every if m.seed == spec.members[e].seed and m.start == start)
        alone = train(spec.of([member]), used, [member.seed])
        np.testing.assert_allclose(
            parameters(alone.model, 0), parameters(found.model, e), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            alone.history["elbo/target"][:, 0], found.history["elbo/target"][:, e], rtol=1e-4
        )


def _trained_on(spec, x):
    """Training points without those that are set aside, found by what the procedure hands to the trainer."""
    from cdgm.procedures import restarts

    rest, validation = restarts._set_aside(spec, x)
    for source, values in x.items():
        both = np.concatenate([rest[source], validation[source]], axis=1)
        assert validation[source].shape[1] == FEWEST_ROWS
        # Every point is in one of both.
        assert np.array_equal(np.sort(both, axis=1), np.sort(values, axis=1))
    return [rest[source] for source in spec.model.design.sources]


def test_further_starts_have_numbers_of_their_own_and_the_first_has_the_usual_ones():
    spec, x = fit_spec(), observations(fit_spec())
    plain = train(spec, x, list(SEEDS))
    every, candidates = starts_of(spec.members, 1)
    assert tuple(every) == spec.members
    assert candidates == [(0,), (1,), (2,)]
    same = train(spec.of(every), x, list(SEEDS))
    for a, b in zip(plain.model.parameters(), same.model.parameters(), strict=True):
        assert torch.equal(a, b)
    several, _ = starts_of(spec.members[:1], 3)
    other = train(spec.of(several), x, [0, 0, 0])
    np.testing.assert_allclose(parameters(other.model, 0), parameters(plain.model, 0), rtol=1e-4, atol=1e-5)
    assert abs(parameters(other.model, 1) - parameters(other.model, 2)).max() > 0.1
    assert abs(parameters(other.model, 0) - parameters(other.model, 1)).max() > 0.1


def test_starts_of_a_sweep_stay_with_their_point():
    penalty = {"kind": "hsic", "weight": [1, 10], "of": "means", "estimator": "unbiased"}
    spec = with_procedure(
        kind="restarts", starts=[2, 3], variant=SUM | {"penalties": [penalty]}, seeds=(4, 5)
    )
    every, candidates = starts_of(spec.members)
    assert len(every) == 2 * 2 * 3
    for member, of_member in zip(spec.members, candidates, strict=True):
        assert len(of_member) == member.variant.procedure.starts
        for start, place in enumerate(of_member):
            assert every[place].seed == member.seed
            assert every[place].start == start
            assert every[place].variant.penalties == member.variant.penalties


@pytest.mark.parametrize(
    ("elbo", "finite", "expected"),
    [
        ([1.0, 3.0, 2.0], [True] * 3, 1),
        ([1.0, 3.0, 2.0], [True, False, True], 2),
        ([np.nan, -5.0, np.inf], [True] * 3, 1),
        ([2.0, 2.0, 2.0], [True] * 3, 0),
        ([1.0, 2.0, 3.0], [False] * 3, 0),
    ],
)
def test_a_start_that_diverged_is_not_kept(elbo, finite, expected):
    assert best(np.array(elbo), np.array(finite), [(0, 1, 2)]) == [expected]


def test_too_few_points_to_validate_starts_are_refused():
    spec = with_procedure(kind="restarts", starts=2)
    refused(lambda: fitted(spec, observations(spec, n=90)), "'background'", "90", "at least 100")


@pytest.mark.parametrize("starts", [0, 1.5, 101, [2, 2], "2"])
def test_numbers_of_starts_are_checked(starts):
    with pytest.raises(ValueError, match="expected a"):
        with_procedure(kind="restarts", starts=starts)


# ---------------------------------------------------------------- pruning


def simulated(axes, n=400, seed=0):
    """A linear problem in which all is plain to see, with so many true dimensions of both blocks."""
    rng = np.random.default_rng(seed)
    mixing = 2 * rng.standard_normal((sum(axes), 8))
    x = {}
    for source in ("background", "target"):
        z = rng.standard_normal((1, n, sum(axes)))
        if source == "background":
            z[..., axes[0] :] = 0
        x[source] = (z @ mixing + 0.1 * rng.standard_normal((1, n, 8))).astype(np.float32)
    return x


def over_specified(refits=3, seeds=SEEDS, background=3, variant=SUM):
    """One background and one salient dimension are true."""
    return fit_spec(
        seeds=seeds,
        dims={"background": background, "salient": 1},
        model={"encoder_hidden": [16], "decoder_hidden": []},
        training={"steps": 300, "batch_size": 32, "learning_rate": 0.02},
        variant=variant | {"procedure": {"kind": "prune", "refits": refits}},
    )


#: Makes the shared block cheap at first, so that what is private moves there.
SHARED_FIRST = SUM | {"kl_schedule": {"shared": {"from": 0, "to": 1, "steps": 150}}}


@pytest.fixture(scope="module")
def problem():
    return {source: np.repeat(values, 3, axis=0) for source, values in simulated((1, 1)).items()}


def counted(stack, x):
    """Moved axes of each member of a stack on training points."""
    means = {
        (source, block): mean
        for source in x
        for block, mean in posterior_means(stack, x[source], [0] * stack.n_members, source).items()
    }
    return [
        moved_axes(stack.design, {place: mean[e] for place, mean in means.items()})["background"]
        for e in range(stack.n_members)
    ]


@pytest.fixture(scope="module")
def pruned(problem):
    spec = over_specified(variant=SHARED_FIRST)
    return spec, fitted(spec, problem)


def test_moved_axes_are_taken_out_until_none_is_left(problem, pruned):
    spec, found = pruned
    first = train(spec, problem, list(SEEDS))
    before, after = counted(first.model, problem), counted(found.model, problem)
    dims, fits = found.history["procedure/dims/background"], found.history["procedure/fits"]
    assert max(before) > 0, "nothing has moved: the test tests nothing"
    for e in range(3):
        if before[e]:
            assert fits[e] > 1
            assert dims[e] <= 3 - before[e]
            assert after[e] == 0
        else:
            assert (fits[e], dims[e]) == (1, 3)
    assert "procedure/dims/salient" not in found.history


def test_where_nothing_has_moved_nothing_is_changed():
    """At the right dimensions there is no room to move to."""
    x = {source: np.repeat(values, 3, axis=0) for source, values in simulated((2, 1)).items()}
    spec = over_specified(background=2)
    plain, found = train(spec, x, list(SEEDS)), fitted(spec, x)
    assert counted(plain.model, x) == [0, 0, 0]
    assert found.history["procedure/fits"].tolist() == [1, 1, 1]
    assert found.history["procedure/dims/background"].tolist() == [2, 2, 2]
    for a, b in zip(plain.model.parameters(), found.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(np.array_equal(plain.history[name], found.history[name]) for name in plain.history)


def test_a_pruned_member_computes_what_its_own_fit_does(problem, pruned):
    spec, found = pruned
    dims = found.history["procedure/dims/background"]
    e = int(np.argmin(dims))
    assert dims[e] < 3
    model = spec.model.model_copy(update={"dims": {"background": int(dims[e]), "salient": 1}})
    small = train(spec.of([spec.members[e]], model), problem, [e])
    x = {source: values[:1] for source, values in problem.items()}
    for source in x:
        own = posterior_means(small.model, x[source], [0], source)
        wide = posterior_means(found.model, x[source], [0] * 3, source)
        for block, mean in own.items():
            np.testing.assert_allclose(wide[block][e][:, : mean.shape[2]], mean[0], rtol=1e-3, atol=1e-4)
            assert not wide[block][e][:, mean.shape[2] :].any()

    def bounds(stack):
        generators = [np.random.default_rng(0) for _ in range(stack.n_members)]
        return held_out_bounds(stack, x, [0] * stack.n_members, generators, 50)

    (elbo, kl), (of_small, kl_of_small) = bounds(found.model), bounds(small.model)
    for source in x:
        assert elbo[source][e] == pytest.approx(of_small[source][0], abs=0.1)
    for place, value in kl.items():
        assert value[e] == pytest.approx(kl_of_small[place][0], rel=1e-3)


def test_axes_that_were_taken_out_change_no_score():
    rng = np.random.default_rng(0)
    truth = {"background": rng.normal(size=(300, 2)), "salient": rng.normal(size=(300, 1))}
    own = {block: values + 0.3 * rng.normal(size=values.shape) for block, values in truth.items()}
    wide = own | {"background": np.concatenate([own["background"], np.zeros((300, 3))], axis=1)}

    def scores(estimate):
        estimates, truths = {"target": estimate}, {"target": truth}
        nulls = draw_nulls(estimates, truths, np.random.default_rng(1), 5, 2, 2)
        rows = score_member(estimates, truths, rng=np.random.default_rng(2), nulls=nulls, hsic_draws=9)
        return {(row["metric"], row["block"], row["truth"]): row["value"] for row in rows}

    expected, found = scores(own), scores(wide)
    assert found.keys() == expected.keys()
    # The kernel of HSIC is as wide as the shape asks for.
    for place, value in expected.items():
        if not place[0].startswith("hsic"):
            assert found[place] == pytest.approx(value, abs=1e-3), place


def test_the_last_fit_stays_as_it_is(problem):
    """With one fit more than the first, a member that would need another one is left with axes that moved."""
    spec = over_specified(refits=1, variant=SHARED_FIRST)
    found = fitted(spec, problem)
    assert found.history["procedure/fits"].max() == 2


def test_moved_axes_are_counted_by_source():
    rng = np.random.default_rng(0)
    scales = {"a": [1.0, 1.0, 0.01, 1.0], "b": [1.0, 0.01, 1.0, 1.0], "c": [1.0, 0.01, 0.01, 1.0]}
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    means = {(s, "shared"): (rng.standard_normal((900, 4)) * scale) @ turn for s, scale in scales.items()}
    means |= {(s, "pair"): rng.standard_normal((900, 2)) for s in "ac"}
    design = fit_spec(design=THREE_SOURCES).model.design
    # An axis of a (idle in b and c: counted once) and one of b. The sources of "pair" have equal blocks.
    assert moved_axes(design, means) == {"shared": 2}
    ratios = axis_ratios(means["a", "shared"], means["b", "shared"])
    assert (np.diff(ratios) <= 0).all()
    assert ratios[0] == pytest.approx(axis_asymmetry(means["a", "shared"], means["b", "shared"])[0])
    # An axis may hold nothing at all in both.
    empty = np.concatenate([means["a", "pair"], np.zeros((900, 1))], axis=1)
    assert axis_ratios(empty, empty) == pytest.approx(np.ones(3))
    assert axis_ratios(empty[:, :1], 0.1 * empty[:, :1]).shape == (1,)


def test_costs_are_told_ahead_by_the_fits_that_are_trained():
    plain, started, refitted = fit_spec(), with_procedure(kind="restarts", starts=[1, 8]), over_specified(3)
    of_scores = cost_ahead.OF_SCORES * 3
    of_fits = [cost_ahead.seconds_of(s) - cost_ahead.OF_A_STACK - of_scores for s in (plain, refitted)]
    assert of_fits[1] / of_fits[0] == pytest.approx(4 * refitted.training.steps / plain.training.steps)
    assert cost_ahead.seconds_of(started) - cost_ahead.OF_A_STACK - 2 * of_scores == pytest.approx(
        8 * of_fits[0]
    )


def test_a_block_keeps_one_dimension():
    assert without({"background": 3, "salient": 2}, {"background": 2}) == {"background": 1, "salient": 2}
    assert without({"background": 3, "salient": 2}, {"background": 3}) == {"background": 1, "salient": 2}
    assert without({"background": 3, "salient": 2}, {}) == {"background": 3, "salient": 2}


def test_models_without_anything_to_compare_are_refused():
    alone = {"sources": ["a", "b"], "blocks": {"shared": ["a", "b"]}}
    with pytest.raises(ValueError, match="nothing to compare"):
        fit_spec(design=alone, variant=SUM | {"procedure": {"kind": "prune", "refits": 1}})
    twist = {"angle": 1, "block": "background", "by": "salient"}
    with pytest.raises(ValueError, match="without a twist"):
        fit_spec(
            design=CONTRASTIVE,
            model={"twist": twist},
            variant=SUM | {"procedure": {"kind": "prune", "refits": 1}},
        )


def test_a_variant_without_a_procedure_is_written_as_before():
    spec = fit_spec()
    assert "procedure" not in spec.model_dump(mode="json", exclude_defaults=True)["variant"]
    again = type(spec).model_validate(spec.model_dump(mode="json"))
    assert again == spec
    named = with_procedure(kind="restarts", starts=[2, 4])
    assert type(named).model_validate(named.model_dump(mode="json", exclude_defaults=True)) == named
    assert [point for point, _ in named.variant.points()] == ["starts=2", "starts=4"]
    assert list(itertools.islice((v.procedure.starts for _, v in named.variant.points()), 2)) == [2, 4]
