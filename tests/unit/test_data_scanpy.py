"""Maps of latents repeat and keep clusters apart; groups are compared by Welch's test."""

import numpy as np
import pytest
import scipy.stats

from cdgm.evaluation.embedding import layout
from cdgm.evaluation.group_comparison import compare_groups


@pytest.mark.slow  # the first map of a process compiles UMAP
def test_a_map_is_the_same_each_time_and_keeps_clusters_apart():
    rng = np.random.default_rng(0)
    latents = np.concatenate([rng.normal(size=(40, 5)), rng.normal(size=(40, 5)) + 30])
    first, again, other = layout(latents, 1), layout(latents, 1), layout(latents, 2)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == (80, 2)
    centres = first[:40].mean(axis=0), first[40:].mean(axis=0)
    assert (
        np.linalg.norm(centres[0] - centres[1]) > 2 * np.linalg.norm(first[:40] - centres[0], axis=1).mean()
    )


def test_groups_are_compared_by_welchs_test_on_log_normalised_counts():
    rng = np.random.default_rng(0)
    rows, reference = rng.poisson(5.0, (60, 12)), rng.poisson(5.0, (50, 12))
    rows[:, 3] *= 4
    rows[:, 7] = reference[:, 7] = 0
    found = compare_groups(rows, reference)
    totals = np.median(np.concatenate([rows, reference]).sum(axis=1))
    a, b = (np.log1p(x * totals / x.sum(axis=1, keepdims=True)) for x in (rows, reference))
    expected = np.nan_to_num(scipy.stats.ttest_ind(a, b, equal_var=False).statistic)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-3, atol=1e-4)
    assert found["score"].idxmax() == 3
    assert found["p_adjusted"][3] < 1e-6
    assert (found["score"][7], found["p_adjusted"][7]) == (0, 1)
    real = compare_groups(a, b, support="real")
    np.testing.assert_allclose(real["score"], expected, rtol=1e-3, atol=1e-4)
