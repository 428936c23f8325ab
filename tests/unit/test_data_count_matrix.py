"""Counts read from disk in blocks give the same data, to the byte, as counts in memory and as scanpy."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cdgm.data import count_matrix as module
from cdgm.data.count_matrix import StoredCounts, blocks, count_totals, in_memory
from cdgm.data.gene_selection import GENES
from cdgm.data.gene_selection.pearson_residuals import residual_variances, variances_by_blocks
from cdgm.data.preprocess import preprocess, write_prepared
from cdgm.data.readers import READERS
from cdgm.models.likelihoods import LIKELIHOODS
from cdgm.models.source_data import SourceData, assemble
from tests.unit.data_helpers import made_counts, refused, treated, write_h5ad
from tests.unit.test_data_preprocess import SPEC, spec

STORAGES = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}
COUNTS = made_counts(200, 30, seed=2) * (np.random.default_rng(3).random((200, 30)) < 0.6)
COUNTS[:, 0] += 1
READER = READERS.parse(SPEC["reader"])


@pytest.fixture
def stored(monkeypatch):
    """Nothing is held in memory, and blocks are a few rows long."""
    monkeypatch.setattr(module, "HELD_ENTRIES", 0)
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 230)


def read(path, how="csr", counts=COUNTS):
    write_h5ad(path, STORAGES[how](counts.astype(np.float32)), treated(len(counts)))
    return READER.read(path)


@pytest.mark.parametrize("how", STORAGES)
def test_stored_counts_are_those_of_the_file(stored, tmp_path, how):
    counts = read(tmp_path / "a.h5ad", how).x
    assert isinstance(counts, StoredCounts)
    parts = list(blocks(counts))
    assert len(parts) > 5
    assert all(part.has_sorted_indices and (part.data > 0).all() for part in parts)
    np.testing.assert_array_equal(np.concatenate([part.toarray() for part in parts]), COUNTS)
    rows, genes = np.flatnonzero(np.arange(200) % 3), np.array([9, 2, 29, 4])
    np.testing.assert_array_equal(in_memory(counts[rows][:, genes]).toarray(), COUNTS[rows][:, genes])
    mask = COUNTS.sum(axis=1) > 40
    np.testing.assert_array_equal(in_memory(counts[:, genes[1:]][mask]).toarray(), COUNTS[mask][:, genes[1:]])
    with pytest.raises(IndexError, match="order of the file"):
        counts[np.array([3, 1])]


@pytest.mark.parametrize("how", STORAGES)
def test_a_census_counts_what_numpy_counts(stored, tmp_path, how):
    counts = read(tmp_path / "a.h5ad", how).x
    for taken, dense in ((counts, COUNTS), (counts[5:90][:, 3:20], COUNTS[5:90, 3:20])):
        for found in (count_totals(taken), count_totals(in_memory(taken))):
            np.testing.assert_array_equal(found.cell_totals, dense.sum(axis=1))
            np.testing.assert_array_equal(found.cell_genes, (dense > 0).sum(axis=1))
            np.testing.assert_array_equal(found.gene_totals, dense.sum(axis=0))
            np.testing.assert_array_equal(found.gene_cells, (dense > 0).sum(axis=0))


def test_residual_variances_by_blocks_match_the_formula_and_scanpy():
    rng = np.random.default_rng(0)
    mean = rng.lognormal(-0.5, 1.5, 300) * rng.lognormal(0, 0.5, (500, 1))
    counts = rng.negative_binomial(0.5, 0.5 / (0.5 + mean))
    counts[7, 3] = 5000  # beyond the clipping
    counts = counts[:, counts.sum(axis=0) > 0]
    theta = 100.0
    found = variances_by_blocks(sp.csr_matrix(counts), theta)
    mean = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    residual = (counts - mean) / np.sqrt(mean + mean**2 / theta)
    clipped = np.clip(residual, -np.sqrt(500), np.sqrt(500))
    assert (clipped != residual).any()
    np.testing.assert_allclose(found, clipped.var(axis=0), rtol=1e-10)
    # scanpy adds up in single precision.
    scanpys = residual_variances(sp.csr_matrix(counts), theta)
    np.testing.assert_allclose(found, scanpys, rtol=1e-6)
    chosen = GENES.parse({"kind": "pearson_residuals", "n": 50, "theta": theta}).select(sp.csr_matrix(counts))
    assert list(chosen) == list(np.argsort(-found, kind="stable")[:50])


@pytest.mark.parametrize("how", STORAGES)
@pytest.mark.parametrize("kind", ["pearson_residuals", "most_expressed"])
def test_files_are_equal_to_the_byte_however_counts_are_read(tmp_path, monkeypatch, how, kind):
    genes = {"kind": kind, "n": 12} | ({"theta": 100} if kind == "pearson_residuals" else {})
    filters = {"min_cells_per_gene": 60, "min_counts_per_cell": 15, "min_genes_per_cell": 10}
    options = spec(genes=genes, filters=filters, cells_per_source={"target": 90})
    paths = {name: write_h5ad(tmp_path / name, STORAGES[storage](COUNTS.astype(np.float32)), treated(200))
             for name, storage in (("held.h5ad", "csr"), ("stored.h5ad", how))}  # fmt: skip
    write_prepared(preprocess(options, "toy", paths["held.h5ad"], root=1), tmp_path / "held")
    cells = (tmp_path / "held" / "cells.csv").read_text().count("\n") - 1
    assert 40 < cells < 157  # the filters bite, and not on all
    for rows, name in ((230, "short"), (100_000, "long")):
        with monkeypatch.context() as patched:
            patched.setattr(module, "HELD_ENTRIES", 0)
            patched.setattr(module, "BLOCK_ENTRIES", rows)
            write_prepared(preprocess(options, "toy", paths["stored.h5ad"], root=1), tmp_path / name)
        for file in ("cells.npz", "cells.csv", "genes.csv", "programs.csv"):
            held, now = ((tmp_path / each / file).read_bytes() for each in ("held", name))
            assert held == now, file


@pytest.mark.slow
def test_memory_does_not_grow_with_the_genes_left_out(tmp_path, monkeypatch):
    # 2,000 x 1,500 counts, a third of them positive, are 8 MB as CSR.
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(0.4, (2000, 1500)).astype(np.float32))
    path = write_h5ad(tmp_path / "a.h5ad", counts, treated(2000))
    assert counts.nnz * 8 > 7.5e6
    monkeypatch.setattr(module, "HELD_ENTRIES", 0)
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 100_000)
    options = spec(genes={"kind": "pearson_residuals", "n": 50, "theta": 100})
    preprocess(options, "toy", path, root=1)  # modules that are imported now
    tracemalloc.start()
    preprocess(options, "toy", path, root=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6


# What training reads


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64, np.float32])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_batches_are_the_same_from_every_type(dtype, precision, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.poisson(3.0, (2, 40, 7)).astype(dtype)
    x[0, 4] = 0
    counts = LIKELIHOODS.parse({"kind": "negative_binomial", "link": "softmax", "dispersion": "learned"})
    index = torch.from_numpy(rng.integers(0, 40, (3, 16)))
    wanted = SourceData(x.astype(np.float64), [1, 0, 1], counts, precision)
    monkeypatch.setattr("cdgm.models.source_data.ROWS", 9)
    data = SourceData(x, [1, 0, 1], counts, precision)
    assert data.x.element_size() == np.dtype(dtype).itemsize
    batch, expected = assemble({"a": data}, {"a": index}), assemble({"a": wanted}, {"a": index})
    assert batch.x.dtype == batch.library.dtype == batch.constant.dtype == precision
    assert torch.equal(batch.x, expected.x)
    assert torch.equal(batch.library, expected.library)
    assert torch.equal(batch.constant, expected.constant)
    np.testing.assert_array_equal(batch.x[2].numpy(), x[1][index[2]])


def test_a_bad_count_of_a_stored_matrix_is_named_when_it_is_reached(stored, tmp_path):
    counts = COUNTS.astype(np.float32)
    counts[150, 7] = 2.5
    path = write_h5ad(tmp_path / "a.h5ad", sp.csr_matrix(counts), treated(200))
    cells = READER.read(path)
    refused(lambda: count_totals(cells.x), "a.h5ad", "X in cell 'c150', gene 'g7'", 2.5)
    refused(lambda: preprocess(spec(), "toy", path, root=1), "a.h5ad", "X in cell 'c150', gene 'g7'")
