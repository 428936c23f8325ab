"""The spike-in thins only the genes of its programs, in its own cells, by the stated share."""

import numpy as np
import pytest
import scipy.sparse as sp
from pydantic import ValidationError

from cdgm.config.dataset import SpikeIn
from cdgm.data.spike_in import spike_in
from tests.unit.data_helpers import made_counts, refused

OPTIONS = SpikeIn(programs=3, genes_per_program=8, most_expressed=40, keep=0.3, target_fraction=0.5)
COUNTS = sp.csr_matrix(made_counts(403, 60, seed=5) * 4)


@pytest.fixture(scope="module")
def spiked():
    return spike_in(COUNTS, OPTIONS, np.random.default_rng(0))


def members(spiked, name):
    return np.flatnonzero(spiked.label == name), spiked.genes[spiked.program == name]


def test_sources_and_groups_have_the_sizes_asked_for(spiked):
    assert (spiked.source == "target").sum() == round(0.5 * 403)
    assert set(spiked.label[spiked.source == "background"]) == {""}
    names, sizes = np.unique(spiked.label[spiked.source == "target"].astype(str), return_counts=True)
    assert list(names) == ["program 1", "program 2", "program 3", "untouched"]
    assert sizes.max() - sizes.min() <= 1


def test_programs_are_disjoint_and_drawn_from_the_most_expressed(spiked):
    assert len(set(spiked.genes)) == 24
    assert list(spiked.program) == ["program 1"] * 8 + ["program 2"] * 8 + ["program 3"] * 8
    total = np.asarray(COUNTS.sum(axis=0)).ravel()
    assert total[spiked.genes].min() >= np.sort(total)[-40]


def test_only_a_programs_genes_in_its_own_cells_change(spiked):
    allowed = np.zeros(COUNTS.shape, dtype=bool)
    for name in ("program 1", "program 2", "program 3"):
        rows, columns = members(spiked, name)
        allowed[np.ix_(rows, columns)] = True
    change = (spiked.counts - COUNTS).toarray()
    assert not change[~allowed].any()
    assert (change[allowed] <= 0).all()
    assert not change[spiked.source == "background"].any()
    assert not change[spiked.label == "untouched"].any()


@pytest.mark.parametrize("name", ["program 1", "program 2", "program 3"])
def test_the_share_that_stays_is_keep(spiked, name):
    """Molecules stay independently: the total kept is Binomial(total, keep)."""
    rows, columns = members(spiked, name)
    before, after = (matrix[rows][:, columns].sum() for matrix in (COUNTS, spiked.counts))
    error = np.sqrt(OPTIONS.keep * (1 - OPTIONS.keep) / before)
    assert abs(after / before - OPTIONS.keep) < 4 * error


def test_the_input_is_not_changed_and_equal_seeds_give_equal_results():
    before = COUNTS.copy()
    one, two, other = (spike_in(COUNTS, OPTIONS, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (before != COUNTS).nnz == 0
    assert (one.counts != two.counts).nnz == 0
    np.testing.assert_array_equal(one.label, two.label)
    assert (one.counts != other.counts).nnz > 0


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"keep": 1.0}, "keep"),
        ({"target_fraction": 1.0}, "target_fraction"),
        ({"most_expressed": 20}, "do not fit"),
    ],
)
def test_bad_options_are_refused(changes, part):
    with pytest.raises(ValidationError, match=part):
        SpikeIn.model_validate(OPTIONS.model_dump() | changes)


def test_too_few_genes_or_cells_are_refused():
    rng = np.random.default_rng(0)
    refused(lambda: spike_in(COUNTS[:, :30], OPTIONS, rng), "most_expressed", 40, "30 genes")
    refused(lambda: spike_in(COUNTS[:10], OPTIONS, rng), "target_fraction", "10 cells", "4 groups")
