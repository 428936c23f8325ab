"""Agreement of fits has its known value for rotations, shared directions and missing axes."""

import numpy as np
import pytest

from cdgm.evaluation.metrics.recovery import recovery_cc
from cdgm.evaluation.metrics.stability import MOST_ROWS, pair_rows


def rotation(dims: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dims, dims)))[0]


def pairs(means: np.ndarray, draws: int = 40, **changes: object) -> dict[tuple[int, int], dict[str, float]]:
    rows = pair_rows(means, np.random.default_rng(0), draws, **changes)
    return {(row["member_a"], row["member_b"]): row for row in rows}


def test_fits_that_are_rotations_of_each_other_agree_and_independent_ones_do_as_permuted_rows():
    rng = np.random.default_rng(0)
    x, other = rng.standard_normal((2, 2_000, 4))
    found = pairs(np.stack([x, 2 * x @ rotation(4, 1) + 3, other]))
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    same = found[0, 1]
    assert same["agreement"] == pytest.approx(1)
    assert same["r2"] == pytest.approx(1)
    for pair in ((0, 2), (1, 2)):
        assert abs(found[pair]["agreement"]) < 0.1
        assert abs(found[pair]["r2"]) < 0.02
        # Pairs with equally many axes share a null.
        assert found[pair]["null_high"] == same["null_high"]
    assert 0 < same["null_high"] < 0.1
    assert same["r2_null_high"] < 0.02


def test_half_of_the_directions_in_common_is_half_an_agreement():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 4_000, 4))
    y[:, :2] = x[:, :2]
    row = pairs(np.stack([x @ rotation(4, 3), y @ rotation(4, 4)]))[0, 1]
    assert row["agreement"] == pytest.approx(0.5, abs=0.05)
    assert row["r2"] == pytest.approx(0.5, abs=0.05)
    assert recovery_cc(x, y) == pytest.approx(0.5, abs=0.05)


def test_a_missing_axis_counts_for_agreement_and_little_for_the_share_of_variance():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3_000, 3)) * [2.0, 2.0, 0.4]
    row = pairs(np.stack([x, x * [1, 1, 0]]))[0, 1]
    assert (row["active_a"], row["active_b"]) == (3, 2)
    assert row["agreement"] == pytest.approx(2 / 3)
    assert row["r2"] == pytest.approx(1 - 0.16 / 8.16, abs=0.01)


def test_empty_blocks_have_no_agreement_and_no_null():
    row = pairs(1e-3 * np.random.default_rng(0).standard_normal((2, 100, 3)))[0, 1]
    assert (row["active_a"], row["active_b"], row["rows"]) == (0, 0, 100)
    assert np.isnan([row[name] for name in ("agreement", "null_high", "r2", "r2_null_high")]).all()


def test_only_the_named_members_are_compared_on_rows_spread_over_all():
    means = np.random.default_rng(0).standard_normal((4, 2 * MOST_ROWS, 2))
    means[1, :MOST_ROWS] = means[3, :MOST_ROWS] = means[0, :MOST_ROWS]
    found = pairs(means, draws=2, members=[0, 3])
    assert list(found) == [(0, 3)]
    assert found[0, 3]["rows"] == MOST_ROWS
    # Equal in the first half of the rows and independent in the second.
    assert found[0, 3]["agreement"] == pytest.approx(0.5, abs=0.05)
