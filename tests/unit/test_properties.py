"""Properties that hold for every input, searched by Hypothesis: merging, intervals, the min-norm point."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cdgm.config.layers import merge
from cdgm.evaluation.intervals import median_interval
from cdgm.objectives.simplex import minimise_on_simplex

NAMES = st.text("abc", min_size=1, max_size=2)
LAYERS = st.dictionaries(
    NAMES,
    st.recursive(
        st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
        lambda inner: st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)
FEW = settings(max_examples=60, deadline=None)


@FEW
@given(LAYERS, LAYERS)
def test_an_overlay_wins_and_laying_it_twice_changes_nothing(base: dict, overlay: dict):
    merged = merge(base, overlay)
    assert merge(merged, overlay) == merged
    assert merge(base, {}) == base
    for name, value in overlay.items():
        if not isinstance(value, dict):
            assert merged[name] == value
    assert merged.keys() == base.keys() | overlay.keys()


@FEW
@given(arrays(np.float64, st.integers(5, 30), elements=st.floats(-1e6, 1e6)), st.randoms())
def test_the_interval_of_a_median_ignores_order_and_follows_monotone_maps(values, random):
    found = median_interval(values)
    assert found.low <= np.median(values) <= found.high
    assert {found.low, found.high} <= set(values)
    shuffled = list(values)
    random.shuffle(shuffled)
    again = median_interval(np.array(shuffled))
    assert (again.low, again.high) == (found.low, found.high)
    turned = median_interval(-values)
    assert (-turned.high, -turned.low) == (found.low, found.high)


@FEW
@given(arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(1, 6)), elements=st.floats(-3, 3)))
def test_the_min_norm_point_makes_no_source_worse(gradients):
    gram = gradients @ gradients.T
    (weights,) = minimise_on_simplex(gram[None])
    assert weights.min() >= 0
    assert np.isclose(weights.sum(), 1)
    # The optimality condition of the simplex: every gradient's product with the point is at least its norm.
    point = gram @ weights
    assert (point >= weights @ point - 1e-6 * max(1.0, np.trace(gram))).all()
