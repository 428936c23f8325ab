"""Counts that stay in the file give what counts in memory give, to the byte."""

from __future__ import annotations

import tracemalloc
import warnings

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cdgm.data import counts as module
from cdgm.data.counts import StoredCounts, blocks, census, in_memory
from cdgm.data.genes import GENES
from cdgm.data.genes.pearson_residuals import residual_variances
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
    counts = read(tmp_path / "a.h5ad", how).counts
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
    counts = read(tmp_path / "a.h5ad", how).counts
    for taken, dense in ((counts, COUNTS), (counts[5:90][:, 3:20], COUNTS[5:90, 3:20])):
        for found in (census(taken), census(in_memory(taken))):
            np.testing.assert_array_equal(found.cell_totals, dense.sum(axis=1))
            np.testing.assert_array_equal(found.cell_genes, (dense > 0).sum(axis=1))
            np.testing.assert_array_equal(found.gene_totals, dense.sum(axis=0))
            np.testing.assert_array_equal(found.gene_cells, (dense > 0).sum(axis=0))


def test_leaving_out_silent_genes_costs_no_further_pass(stored, tmp_path, monkeypatch):
    silent = COUNTS.copy()
    silent[:, [4, 11]] = 0
    counts = read(tmp_path / "a.h5ad", counts=silent).counts
    census(counts)
    heard = counts[:, silent.sum(axis=0) > 0]
    fewer = counts[:, 1:]
    monkeypatch.setattr(type(counts.source), "walk", lambda self: pytest.fail("read again"))
    np.testing.assert_array_equal(census(heard).gene_totals, silent.sum(axis=0)[silent.sum(axis=0) > 0])
    with pytest.raises(pytest.fail.Exception):
        census(fewer)


def test_residual_variances_match_the_formula_and_scanpy():
    import anndata
    import scanpy as sc

    rng = np.random.default_rng(0)
    mean = rng.lognormal(-0.5, 1.5, 300) * rng.lognormal(0, 0.5, (500, 1))
    counts = rng.negative_binomial(0.5, 0.5 / (0.5 + mean))
    counts[7, 3] = 5000  # beyond the clipping
    counts = counts[:, counts.sum(axis=0) > 0]
    theta = 100.0
    found = residual_variances(sp.csr_matrix(counts), theta)
    mean = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    residual = (counts - mean) / np.sqrt(mean + mean**2 / theta)
    clipped = np.clip(residual, -np.sqrt(500), np.sqrt(500))
    assert (clipped != residual).any()
    np.testing.assert_allclose(found, clipped.var(axis=0), rtol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sc.experimental.pp.highly_variable_genes(
            anndata.AnnData(sp.csr_matrix(counts.astype(np.float32))),
            n_top_genes=50,
            flavor="pearson_residuals",
            theta=theta,
            inplace=False,
        )
    # They add up in single precision.
    np.testing.assert_allclose(found, theirs["residual_variances"], rtol=1e-5)
    chosen = GENES.parse({"kind": "pearson_residuals", "n": 50, "theta": theta}).select(sp.csr_matrix(counts))
    assert set(chosen) == set(np.flatnonzero(theirs["highly_variable"]))


def test_a_cell_without_counts_changes_only_the_number_of_cells():
    some = sp.csr_matrix(np.vstack([COUNTS, np.zeros((1, 30), int)]))
    assert np.isfinite(residual_variances(some, 100.0)).all()


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


def test_memory_does_not_grow_with_the_genes_left_out(tmp_path, monkeypatch):
    # 3,000 x 2,000 counts, a third of them there, are 16 MB as CSR and 24 MB as a dense array of int32.
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(0.4, (3000, 2000)).astype(np.float32))
    path = write_h5ad(tmp_path / "a.h5ad", counts, treated(3000))
    peaks = {}
    for name, held in (("held", 1 << 26), ("stored", 0)):
        monkeypatch.setattr(module, "HELD_ENTRIES", held)
        monkeypatch.setattr(module, "BLOCK_ENTRIES", 100_000)
        tracemalloc.start()
        preprocess(spec(genes={"kind": "pearson_residuals", "n": 50, "theta": 100}), "toy", path, root=1)
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks["held"] > 14e6
    assert peaks["stored"] < 9e6


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
    monkeypatch.setattr("cdgm.training.batches.ROWS", 9)
    data = SourceData(x, [1, 0, 1], counts, precision)
    assert data.x.element_size() == np.dtype(dtype).itemsize
    batch, expected = assemble({"a": data}, {"a": index}), assemble({"a": wanted}, {"a": index})
    assert batch.x.dtype == batch.library.dtype == batch.constant.dtype == precision
    assert torch.equal(batch.x, expected.x)
    assert torch.equal(batch.library, expected.library)
    assert torch.equal(batch.constant, expected.constant)
    np.testing.assert_array_equal(batch.x[2].numpy(), x[1][index[2]])


# Damaged and hostile files


def broken(path, change):
    """A good CSR file with one part of it changed."""
    write_h5ad(path, sp.csr_matrix(COUNTS.astype(np.float32)), treated(200))
    with h5py.File(path, "a") as file:
        change(file)
    return path


def put(file, name, values, **options):
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=values, **options).attrs.update(attributes)


def lengthen(file):
    pointers = file["X/indptr"][:].astype(np.int64)
    pointers[3] = pointers[-1] + 10**12
    put(file, "X/indptr", pointers)


def outside(file):
    indices = file["X/indices"][:]
    indices[5] = 30
    put(file, "X/indices", indices)


def one_row(file):
    pointers = np.full(201, len(file["X/indices"]))
    pointers[0] = 0
    put(file, "X/indptr", pointers)


def declared(file):
    """Indices of half a terabyte, of which nothing is stored."""
    for name in ("data", "indices"):
        put(file, f"X/{name}", np.zeros(1, np.int32))
        del file[f"X/{name}"]
        file.create_dataset(f"X/{name}", (1 << 37,), np.int32, chunks=(1 << 20,), compression="gzip")


def absurd_index(file):
    attributes = dict(file["obs/_index"].attrs)
    del file["obs/_index"]
    index = file.create_dataset("obs/_index", (1 << 40,), h5py.string_dtype(), chunks=(1 << 16,))
    index.attrs.update(attributes)


def absurd_dense(file):
    del file["X"]
    file.create_dataset("X", (200, 1 << 40), np.float32, chunks=(1, 1 << 16))


def absurd_column(file):
    del file["obs/treatment"]
    file.create_dataset("obs/treatment", (1 << 40,), np.int8, chunks=(1 << 16,))


HOSTILE = {
    "shape": (lambda file: file["X"].attrs.__setitem__("shape", (10**15, 10**15)), ["X shape", "(200, 30)"]),
    "three axes": (lambda file: file["X"].attrs.__setitem__("shape", (200, 30, 1)), ["X shape"]),
    "pointers": (lengthen, ["X", "damaged sparse matrix", "pointers do not lead"]),
    "too few pointers": (lambda f: put(f, "X/indptr", np.zeros(4, int)), ["damaged", "pointers for 200"]),
    "an index outside": (outside, ["damaged sparse matrix", "outside of 0 to 29"]),
    "one long row": (one_row, ["damaged sparse matrix", "a line of 30 has"]),
    "fractions for indices": (lambda f: put(f, "X/indices", f["X/indices"][:] + 0.5), ["no integers"]),
    "values fewer than indices": (lambda file: put(file, "X/data", np.zeros(4)), ["damaged", "4 values"]),
    "declared and not stored": (declared, ["declared bytes", 4 << 37]),
    "absurd index": (absurd_index, ["obs/_index", "declared bytes"]),
    "absurd dense": (absurd_dense, ["X: declared bytes", 800 << 40]),
    "absurd column": (absurd_column, ["obs/treatment", "declared bytes", 1 << 40]),
    "text for counts": (lambda f: put(f, "X/data", np.full(len(f["X/indices"]), b"a")), ["X type"]),
    "an array for obs": (lambda file: put(file, "obs", np.zeros(3)), ["a.h5ad"]),
    "an array for a column": (lambda f: put(f, "obs/treatment", np.zeros((200, 3))), ["a.h5ad"]),
    "no indices": (lambda file: file["X"].__delitem__("indices"), ["a.h5ad", "indices"]),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_line(tmp_path, case):
    change, parts = HOSTILE[case]
    path = broken(tmp_path / "a.h5ad", change)
    refused(lambda: in_memory(READER.read(path).counts), "a.h5ad", *parts)


@pytest.mark.parametrize("kind", ["external link", "external storage", "virtual"])
def test_a_file_may_not_reach_into_another(tmp_path, kind):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(COUNTS.astype(np.float32).tobytes())
    other = write_h5ad(tmp_path / "other.h5ad", COUNTS.astype(np.float32), treated(200))

    def change(file):
        del file["X"]
        if kind == "external link":
            file["X"] = h5py.ExternalLink(str(other), "/X")
        elif kind == "external storage":
            file.create_dataset(
                "X", (200, 30), np.float32, external=[(str(secret), 0, secret.stat().st_size)]
            )
        else:
            layout = h5py.VirtualLayout((200, 30), np.float32)
            layout[:] = h5py.VirtualSource(str(other), "X", (200, 30))
            file.create_virtual_dataset("X", layout)

    path = broken(tmp_path / "a.h5ad", change)
    refused(lambda: READER.read(path), "a.h5ad", "X", "data of another file")


def test_a_bad_count_of_a_stored_matrix_is_named_when_it_is_reached(stored, tmp_path):
    counts = COUNTS.astype(np.float32)
    counts[150, 7] = 2.5
    path = write_h5ad(tmp_path / "a.h5ad", sp.csr_matrix(counts), treated(200))
    cells = READER.read(path)
    refused(lambda: census(cells.counts), "a.h5ad", "X in cell 'c150', gene 'g7'", 2.5)
    refused(lambda: preprocess(spec(), "toy", path, root=1), "a.h5ad", "X in cell 'c150', gene 'g7'")
