"""HSIC of the metrics equals its sum over quadruples; its test has the right size and power."""

from itertools import permutations

import numpy as np
import pytest

from cdgm.evaluation.metrics import independence
from cdgm.evaluation.metrics.independence import hsic_biased, hsic_test, hsic_unbiased, rbf_kernel
from cdgm.objectives.kernels import expected_distance


def test_bandwidth_is_the_expected_distance():
    rng = np.random.default_rng(0)
    for dim in (1, 3, 10):
        distances = np.linalg.norm(rng.normal(size=(100_000, dim)) - rng.normal(size=(100_000, dim)), axis=1)
        assert expected_distance(dim) == pytest.approx(distances.mean(), rel=0.01)
    x = np.array([[0.0], [expected_distance(1)]])
    assert rbf_kernel(x)[0, 1] == pytest.approx(np.exp(-0.5))


def test_quadruple_sums():
    rng = np.random.default_rng(1)
    n = 6
    x = rng.normal(size=(n, 2))
    y = x[:, :1] + rng.normal(size=(n, 1))
    k, m = rbf_kernel(x), rbf_kernel(y)

    def term(i, j, q, r):
        return k[i, j] * (m[i, j] + m[q, r] - 2.0 * m[i, q])

    every = [term(i, j, q, r) for i in range(n) for j in range(n) for q in range(n) for r in range(n)]
    distinct = [term(*quadruple) for quadruple in permutations(range(n), 4)]
    assert hsic_biased(x, y) == pytest.approx(np.mean(every), abs=1e-12)
    assert hsic_unbiased(x, y) == pytest.approx(np.mean(distinct), abs=1e-12)


def test_p_values():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(600, 3))
    value, p, (mean, high) = hsic_test(x, np.abs(x) + 0.3 * rng.normal(size=x.shape), rng, draws=99)
    assert p == 1 / 500  # all shifts of 500 points
    assert value > high > mean
    small = [
        hsic_test(rng.normal(size=(60, 3)), rng.normal(size=(60, 2)), rng, draws=19)[1] for _ in range(300)
    ]
    assert np.mean(np.array(small) <= 0.1) == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("n", [11, 12])
def test_all_shifts_at_once_equal_each_by_itself(n):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    k, m = (independence._u_centred(rbf_kernel(v)) for v in (x, y))
    expected = [hsic_unbiased(x, np.roll(y, -shift, axis=0)) for shift in range(n)]
    np.testing.assert_allclose(independence._shifted(k, m), expected, atol=1e-14)


def test_few_points_get_further_rounds():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(40, 2))
    _, p, _ = hsic_test(x, x, rng, draws=99)
    assert p == 1 / 120


def test_a_collapsed_block_is_independent():
    rng = np.random.default_rng(4)
    value, p, _ = hsic_test(rng.normal(size=(100, 3)), np.zeros((100, 2)), rng, draws=49)
    assert value == pytest.approx(0.0, abs=1e-12)
    assert p == 1.0
