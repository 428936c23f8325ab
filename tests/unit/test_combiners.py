"""Combiners agree with torchjd, general solvers and published properties; gradients are apart by source."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, nnls
from torchjd import aggregation

from cdgm.models.source_data import SourceData
from cdgm.models.stacks import flatten_parameters
from cdgm.objectives.combiners import COMBINERS
from cdgm.objectives.combiners.mgda import normalised
from cdgm.objectives.combiners.pcgrad import projected
from cdgm.objectives.lagrangian import Lagrangian
from cdgm.objectives.simplex import MAX_DIMENSION
from cdgm.training.loop import _batches, _contexts, build_model, train
from tests.unit.builders import fit_spec, observations


def gramians(k: int, n: int, seed: int = 0, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Random gradients (n, k, width) of unlike lengths, and their inner products."""
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((n, k, width)) * rng.lognormal(0, 1, (n, k, 1))
    gradients += rng.standard_normal((n, 1, width)) * rng.uniform(0, 2, (n, 1, 1))
    return gradients, gradients @ gradients.transpose(0, 2, 1)


def solve(kind: str, gram: np.ndarray, **options) -> np.ndarray:
    defaults = {"normalise": "none"} if kind == "mgda" else {}
    combiner = COMBINERS.parse({"kind": kind} | defaults | options)
    losses = torch.zeros(gram.shape[1], len(gram))
    rngs = [np.random.default_rng(i) for i in range(len(gram))]
    return combiner.weights(losses, gram, rngs if kind == "pcgrad" else None)


def norms(weights: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Squared length of the combined gradient (n,)."""
    return np.einsum("ek,ekl,el->e", weights, gram, weights)


def test_mgda_agrees_with_torchjd_for_two():
    _, gram = gramians(2, 100)
    oracle = aggregation.MGDAWeighting(epsilon=1e-12, max_iters=50)
    expected = np.stack([oracle(torch.from_numpy(g)).numpy() for g in gram])
    np.testing.assert_allclose(solve("mgda", gram) / 2, expected, atol=1e-5)


@pytest.mark.parametrize("k", [3, 5])
def test_mgda_agrees_with_a_general_solver(k):
    # Min-norm on the simplex by non-negative least squares with the sum as a heavy row.
    gradients, gram = gramians(k, 30)
    ours = solve("mgda", gram) / k
    for g, w in zip(gradients, ours, strict=True):
        heavy = 1e4 * np.abs(g).max()
        expected, _ = nnls(np.vstack([g.T, np.full((1, k), heavy)]), np.r_[np.zeros(g.shape[1]), heavy])
        np.testing.assert_allclose(w, expected / expected.sum(), atol=1e-5)


@pytest.mark.parametrize("k", [2, 4])
def test_equal_and_vanishing_gradients_are_solved(k):
    same = np.ones((1, k, k))
    none = np.zeros((1, k, k))
    for kind, options in (("mgda", {}), ("pcgrad", {}), ("cagrad", {"c": 0.5})):
        assert np.isfinite(solve(kind, none, **options)).all()
        # Equal gradients give their sum, but for CAGrad, which goes c of its length further.
        assert solve(kind, same, **options).sum() == pytest.approx(k * (1 + options.get("c", 0)))


def test_pcgrad_conflicts_with_neither_of_two_gradients():
    """The published property; rescaling or normalisation of the gradients would break it."""
    gradients, gram = gramians(2, 2000, seed=13)
    gradients[0], gram[0] = 0, 0
    gradients[0, 0, 0], gradients[0, 1, :2] = 2, (-1, 0.5)  # normalised by length, this pair conflicts
    gram[0] = gradients[0] @ gradients[0].T
    weights = solve("pcgrad", gram)
    along = np.einsum("ekl,el->ek", gram, weights)
    assert (along >= -1e-9 * gram.max(axis=(1, 2))[:, None]).all()
    conflict = gram[:, 0, 1] < 0
    assert 0.1 < conflict.mean() < 0.9
    np.testing.assert_allclose(weights[~conflict], 1.0)


@pytest.mark.parametrize("c", [0.0, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("k", [2, 3])
def test_cagrad_stays_within_its_radius_and_helps_the_worst_source(k, c):
    """|d - g0| <= c |g0| for the sum g0 of the gradients, and no worse a least improvement than g0's."""
    _, gram = gramians(k, 500, seed=14)
    weights = solve("cagrad", gram, c=c)
    away, length = np.sqrt(norms(weights - 1, gram)), np.sqrt(norms(np.ones_like(weights), gram))
    assert (away <= c * length * (1 + 1e-6) + 1e-9).all()
    least, of_sum = (np.einsum("ekl,el->ek", gram, w).min(1) for w in (weights, np.ones_like(weights)))
    assert (least >= of_sum - 1e-9 * gram.max(axis=(1, 2))).all()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_weights_do_not_depend_on_the_scale_of_all_gradients(scale):
    _, gram = gramians(3, 20, seed=4)
    for kind, options in (("mgda", {}), ("pcgrad", {}), ("cagrad", {"c": 0.4})):
        np.testing.assert_allclose(
            solve(kind, gram * scale, **options), solve(kind, gram, **options), rtol=1e-6, atol=1e-7
        )


def test_pcgrad_agrees_with_torchjd_and_the_text():
    gradients, gram = gramians(2, 50, seed=5)
    oracle = aggregation.PCGradWeighting()
    expected = np.stack([oracle(torch.from_numpy(g)).numpy() for g in gram])
    ours = solve("pcgrad", gram)
    np.testing.assert_allclose(ours, expected)
    # Three objectives, one order: the projections written out.
    gradients, gram = gramians(3, 30, seed=6)
    order = np.array([[2, 1, 0], [0, 2, 1], [1, 0, 2]])
    weights = projected(gram, np.broadcast_to(order, (30, 3, 3)))
    for g, w in zip(gradients, weights, strict=True):
        total = np.zeros(g.shape[1])
        for i in range(3):
            v = g[i].copy()
            for j in order[i]:
                if j != i and v @ g[j] < 0:
                    v -= (v @ g[j]) / (g[j] @ g[j]) * g[j]
            total += v
        np.testing.assert_allclose(w @ g, total, atol=1e-9)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_cagrad_solves_the_published_problem(k):
    """Maximise the least <g_k, d> within c |g0| of the mean gradient g0, by a general solver."""
    _, gram = gramians(k, 10, seed=7)
    mean = np.full(k, 1 / k)
    for g, ours in zip(gram, solve("cagrad", gram, c=0.5) / k, strict=True):
        g = g / np.abs(g).max()  # the solver's tolerances are absolute
        square = 0.25 * mean @ g @ mean
        bound = {"type": "ineq", "fun": lambda v, g=g, s=square: s - (v[:-1] - mean) @ g @ (v[:-1] - mean)}
        least = {"type": "ineq", "fun": lambda v, g=g: g @ v[:-1] - v[-1]}
        start = np.append(mean, (g @ mean).min())
        found = minimize(lambda v: -v[-1], start, constraints=[bound, least], tol=1e-10).x
        assert bound["fun"](found) > -1e-6
        assert (g @ ours).min() == pytest.approx((g @ found[:-1]).min(), abs=1e-4)


def test_normalisation():
    gradients, gram = gramians(3, 10, seed=11)
    lengths = np.linalg.norm(gradients, axis=2)
    unit = gradients / lengths[:, :, None]
    losses = -lengths
    np.testing.assert_allclose(normalised(gram, losses, "l2"), unit @ unit.transpose(0, 2, 1), atol=1e-12)
    np.testing.assert_allclose(normalised(gram, losses, "loss"), normalised(gram, losses, "l2"), atol=1e-12)
    np.testing.assert_array_equal(normalised(gram, losses, "none"), gram)
    # Two gradients of one length: the shortest combination is their mean.
    two = solve("mgda", gram[:, :2, :2], normalise="l2")
    np.testing.assert_allclose(two, 1.0)


def test_a_member_without_finite_gradients_leaves_the_others_alone():
    _, gram = gramians(3, 4, seed=10)
    spoiled = gram.copy()
    spoiled[1] = np.nan
    for kind, options in (("mgda", {}), ("pcgrad", {}), ("cagrad", {"c": 0.4})):
        clean, with_nan = solve(kind, gram, **options), solve(kind, spoiled, **options)
        np.testing.assert_array_equal(np.delete(clean, 1, 0), np.delete(with_nan, 1, 0))
        np.testing.assert_array_equal(with_nan[1], 1.0)


def test_size_weighted_and_fixed_sweeps():
    spec = fit_spec(variant={"combiner": {"kind": "size_weighted"}})
    x = observations(spec)
    x["target"] = x["target"][:, :25]
    weights = train(spec, x, [0, 1, 2]).history
    np.testing.assert_allclose(weights["weight/background"], 1.6)
    np.testing.assert_allclose(weights["weight/target"], 0.4)
    ratio = {"background": [1, 3], "target": 1}
    spec = fit_spec(seeds=(4,), variant={"combiner": {"kind": "fixed", "ratio": ratio}})
    assert [m.point for m in spec.members] == ["ratio.background=1", "ratio.background=3"]
    history = train(spec, observations(spec), [0, 0]).history
    np.testing.assert_allclose(history["weight/background"][-1], [1.0, 1.5])


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_averaged_weights_are_the_weighted_mean_of_all_steps(decay):
    """Closed form: (1 - a) sum of a^(t - s) w_s / (1 - a^t), beside a member that averages nothing."""
    combiner = COMBINERS.parse({"kind": "mgda", "normalise": "none", "average": [0, decay]})
    spec = fit_spec(seeds=(4,), variant={"combiner": combiner})
    state = combiner.start(SimpleNamespace(members=[m.variant.combiner for m in spec.members]))
    grams = [np.repeat(gram[None], 2, axis=0) for gram in gramians(2, 6, seed=3)[1]]
    plain = [solve("mgda", gram)[1] for gram in grams]
    assert np.ptp(plain, axis=0).min() > 0.1
    losses = torch.zeros(2, 2)
    for t, gram in enumerate(grams, 1):
        shares = (1 - decay) * decay ** np.arange(t)[::-1] / (1 - decay**t)
        ours = combiner.weights(losses, gram, state)
        np.testing.assert_allclose(ours[0], plain[t - 1])
        np.testing.assert_allclose(ours[1], shares @ plain[:t])


def test_a_single_source_trains_alone():
    """The other source's data reach nothing that the first one's ELBO depends on."""
    variant = {"combiner": {"kind": "single", "place": [1, 2]}}
    spec = fit_spec(seeds=(4,), variant=variant, training={"clip": 1e6})
    x = observations(spec)
    other = {**x, "target": x["target"][:, ::-1] * 3.0 + 1.0}
    ours, theirs = train(spec, x, [0, 0]), train(spec, other, [0, 0])
    np.testing.assert_array_equal(ours.history["weight/background"][-1], [2, 0])
    elbo, changed = (fit.history["elbo/background"] for fit in (ours, theirs))
    np.testing.assert_array_equal(elbo[:, 0], changed[:, 0])
    assert not np.isclose(elbo[-1, 1], changed[-1, 1])
    # The limit of fixed ratios.
    ratio = {"background": [1, 1e-30], "target": 1e-15}
    near = fit_spec(
        seeds=(4,), variant={"combiner": {"kind": "fixed", "ratio": ratio}}, training={"clip": 1e6}
    )
    limit = train(near, x, [0, 0]).history
    for source in spec.model.design.sources:
        np.testing.assert_allclose(ours.history[f"elbo/{source}"], limit[f"elbo/{source}"], rtol=1e-3)


def stepped(rows=None, same=False):
    """The objective's step under MGDA on a batch, with a second batch of ``rows`` for the weights."""
    options = {"normalise": "none"} | ({} if rows is None else {"rows": rows})
    spec = fit_spec(variant={"combiner": {"kind": "mgda"} | options})
    x = observations(spec)
    data = {s: SourceData(x[s], [0, 1, 2], spec.model.likelihood, torch.float32) for s in x}
    model = build_model(spec, next(iter(data.values())).n_features)
    flat = flatten_parameters(model, 3)
    objective = Lagrangian(model, flat, spec.variant, _contexts(spec, {s: d.n for s, d in data.items()}))
    first = next(_batches(spec, model, data, False, 16))
    second = (
        first if same else None if rows is None else next(_batches(spec, model, data, False, rows, "weights"))
    )
    return objective.step(*first, second)


def test_weights_from_the_step_s_own_batch_are_those_without_a_second_one():
    plain, same, other = stepped(), stepped(16, same=True), stepped(16)
    assert torch.equal(plain.gradient, same.gradient)
    assert torch.equal(plain.weights, same.weights)
    for key, value in plain.result.kl.items():
        assert torch.equal(value, other.result.kl[key])
    assert torch.equal(plain.loss, other.loss)
    assert not torch.allclose(plain.weights, other.weights)


def test_more_rows_make_weights_steadier():
    """The spread of weights of one model over batches falls with the rows; each step sees its own batch."""
    spreads = []
    for rows in (8, 512):
        variant = {"combiner": {"kind": "mgda", "normalise": "none", "rows": rows}}
        spec = fit_spec(variant=variant, training={"steps": 30, "learning_rate": 1e-12, "log_every": 1})
        history = train(spec, observations(spec), [0, 1, 2]).history
        spreads.append(history["each/weight/background"].std(axis=0))
    assert (spreads[1] < 0.5 * spreads[0]).all()


def test_bad_combiners_are_refused():
    with pytest.raises(ValueError, match="place is 3, expected a whole number from 1 to 2"):
        fit_spec(variant={"combiner": {"kind": "single", "place": [1, 3]}})
    with pytest.raises(ValueError, match=r"at most 0\.9999"):
        fit_spec(variant={"combiner": {"kind": "mgda", "normalise": "none", "average": 1}})
    with pytest.raises(ValueError, match="ratio names"):
        fit_spec(variant={"combiner": {"kind": "fixed", "ratio": {"background": 1}}})
    many = [f"s{i}" for i in range(MAX_DIMENSION + 1)]
    design = {"sources": many, "blocks": {"shared": many}}
    with pytest.raises(ValueError, match="up to 8 sources"):
        fit_spec(design=design, variant={"combiner": {"kind": "mgda", "normalise": "none"}})
    with pytest.raises(ValueError, match="above 0"):
        fit_spec(variant={"combiner": {"kind": "fixed", "ratio": {"background": 0, "target": 1}}})
