"""AnnData objects in any form give the same data; unusable ones give a one-line error."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import cdgm
from cdgm.data import count_matrix
from cdgm.estimator.genes import choose_genes
from tests.unit import small_cells
from tests.unit.data_helpers import refused

setup = cdgm.ComparativeModel.setup_anndata
SUM = {"combiner": {"kind": "sum"}}


def seen(adata, **changes) -> dict[str, np.ndarray]:
    """What a model of an object sees."""
    return small_cells.model(small_cells.set_up(adata, **changes.pop("setup", {})), **changes).observations.x


@pytest.fixture(scope="module")
def plain():
    return seen(small_cells.cells())


def equal(found, expected):
    assert found.keys() == expected.keys()
    for source, x in expected.items():
        np.testing.assert_array_equal(found[source], x)
        # One or two bytes a count, whatever they came as.
        assert found[source].dtype == x.dtype == np.uint8


@pytest.mark.parametrize(
    "form",
    [
        sp.csc_matrix,
        sp.csr_array,
        lambda x: x.astype(np.int64),
        lambda x: sp.csc_matrix(x.astype(np.int64)),
        lambda x: x.astype(np.float64),
        np.asfortranarray,
        lambda x: x.astype(np.uint16),
    ],
    ids=["csc", "csr_array", "int64", "csc int64", "float64", "fortran", "uint16"],
)
def test_forms_of_a_matrix_are_the_same_data(form, plain):
    equal(seen(small_cells.cells(form(small_cells.counts()))), plain)


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, np.asarray], ids=["csr", "csc", "dense"])
@pytest.mark.parametrize("layer", [None, "raw"])
def test_backed_files_are_the_same_data(form, layer, plain, tmp_path):
    adata = small_cells.cells(form(small_cells.counts().astype(np.float32)))
    if layer is not None:
        adata.layers["raw"], adata.X = adata.X, adata.X * 0.5
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    try:
        equal(seen(backed, setup={"layer": layer}), plain)
        # Latents go to the object in memory; the file stays as it is.
        model = small_cells.trained(backed, steps=2)
        assert model.to_anndata().obsm["X_cdgm_background"].shape == (small_cells.CELLS, 2)
        half = backed[: small_cells.CELLS // 2 + 20]
        found = small_cells.model(half).observations.x
        np.testing.assert_array_equal(found["target"], plain["target"][:20])
    finally:
        backed.file.close()


def test_counts_that_stay_in_their_file_are_the_same_data(tmp_path, monkeypatch):
    """Block by block, with a count that needs two bytes in a late block of one source."""
    x = small_cells.counts()
    x[small_cells.CELLS // 2 + 70, 3] = 300
    adata = small_cells.cells(sp.csr_matrix(x.astype(np.float32)))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    whole = small_cells.model(small_cells.set_up(adata), n_genes=8).observations
    monkeypatch.setattr(count_matrix, "HELD_ENTRIES", 0)
    monkeypatch.setattr(count_matrix, "BLOCK_ENTRIES", 50 * small_cells.GENES)
    backed = small_cells.set_up(anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r"))
    try:
        in_blocks = small_cells.model(backed, n_genes=8).observations
    finally:
        backed.file.close()
    np.testing.assert_array_equal(in_blocks.features, whole.features)
    assert [values.dtype for values in in_blocks.x.values()] == [np.uint8, np.uint16]
    for source, values in whole.x.items():
        np.testing.assert_array_equal(in_blocks.x[source], values)
        assert in_blocks.x[source].dtype == values.dtype


def test_views_are_read_and_not_set_up(plain):
    adata = small_cells.set_up(small_cells.cells())
    view = adata[20:, 3:]
    model = small_cells.trained(view, steps=2)
    np.testing.assert_array_equal(model.observations.x["background"], plain["background"][20:, 3:])
    annotated = model.to_anndata()
    assert view.is_view
    assert "X_cdgm_salient" in annotated.obsm
    assert "X_cdgm_salient" not in adata.obsm
    refused(lambda: setup(small_cells.cells()[20:], "condition", "ctrl"), "view", "adata.copy()")


def test_what_is_not_there_is_named():
    adata = small_cells.cells()
    refused(lambda: setup(adata, "batch", "ctrl"), "source_key", "'batch'", "['condition', 'state']")
    refused(lambda: setup(adata, "condition", "control"), "obs['condition']", "'control'", "'ctrl' (80")
    groups = (adata, "condition", "ctrl")
    refused(lambda: setup(*groups, layer="counts"), "layer", "'counts'", "None for adata.X")
    refused(lambda: setup(*groups, labels_key="type"), "labels_key", "'type'")
    refused(lambda: setup(adata, "condition", ["ctrl", "drug"]), "background", "the target")
    refused(lambda: setup(*groups, batch_key="donor"), "batch_key", "'donor'", "['condition', 'state']")
    assert "_cdgm" not in adata.uns
    refused(lambda: cdgm.ComparativeModel(adata), "not set up", "setup_anndata")
    refused(lambda: setup(adata.X, "condition", "ctrl"), "adata", "csr_matrix", "from_arrays")
    del adata.X
    refused(lambda: setup(adata, "condition", "ctrl"), "adata.X", "layer")
    later = small_cells.set_up(small_cells.cells())
    del later.obs["condition"]
    refused(lambda: cdgm.ComparativeModel(later), "source_key", "'condition'")


def test_repeated_gene_names_are_refused():
    adata = small_cells.cells()
    adata.var_names = ["g0", *adata.var_names[:-1]]
    refused(lambda: small_cells.set_up(adata), "adata.var_names", "'g0'", "var_names_make_unique")


def test_unused_categories_are_no_sources(plain):
    adata = small_cells.cells()
    adata.obs["condition"] = adata.obs["condition"].cat.add_categories(["vehicle"])
    refused(lambda: small_cells.set_up(adata, background="vehicle"), "'vehicle'", "'ctrl' (80 cells)")
    equal(seen(adata), plain)


def test_several_values_make_a_background():
    adata = small_cells.cells()
    condition = adata.obs["condition"].astype(str).to_numpy()
    condition[:5], condition[-5:] = "vehicle", "dose 2"
    adata.obs["condition"] = condition
    found = seen(adata, setup={"background": ["ctrl", "vehicle"]})
    assert {source: len(x) for source, x in found.items()} == {"background": 80, "target": 80}
    adata.obs["dose"] = np.arange(adata.n_obs) // 80
    assert len(seen(adata, setup={"source_key": "dose", "background": 0})["target"]) == 80


@pytest.mark.parametrize("missing", [np.nan, None])
def test_a_cell_without_a_source_is_refused(missing):
    adata = small_cells.cells()
    for column in (adata.obs["condition"], adata.obs["condition"].astype(object)):
        adata.obs["condition"] = column
        adata.obs.loc["c7", "condition"] = missing
        refused(lambda: small_cells.set_up(adata), "obs['condition']", "1 of 160 cells", "no value")


def test_labels_may_be_missing():
    adata = small_cells.cells()
    adata.obs.loc["c100", "state"] = np.nan
    model = small_cells.trained(small_cells.set_up(adata), steps=2)
    assert model.observations.label[100] == ""
    asked = model.get_leakage().query("metric == 'knn_accuracy' and block == 'salient'")
    assert asked["rows"].tolist() == [79]


@pytest.mark.parametrize("few", [1, 9])
def test_too_few_cells_of_a_source_are_refused(few):
    adata = small_cells.cells()
    some = small_cells.set_up(adata[80 - few :].copy())
    refused(lambda: cdgm.ComparativeModel(some), "'background'", f"{few} row", "at least 10")


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "csr", "csc"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1, "not negative"), (0.5, "an integer"), (np.nan, "a finite number"), (np.inf, "a finite number")],
)
def test_what_is_no_count_is_refused(value, expected, form):
    x = small_cells.counts().astype(np.float32)
    x[3, 2] = value
    adata = small_cells.set_up(small_cells.cells(form(x)))
    message = refused(lambda: cdgm.ComparativeModel(adata), "adata.X", expected, "layer=", "gaussian")
    assert str(value) in message
    if np.isfinite(value):
        x = small_cells.model(adata, likelihood="gaussian").observations.x["background"]
        assert x[3, 2] == np.float32(value)
    else:
        refused(lambda: cdgm.ComparativeModel(adata, likelihood="gaussian"), "adata.X", expected)


def test_many_genes_are_not_made_dense(monkeypatch):
    genes = 60_000
    rng = np.random.default_rng(0)
    x = sp.random(200, genes, density=0.001, format="csc", random_state=0, dtype=np.float32)
    x.data[:] = rng.integers(1, 4, x.nnz)
    moved = [17, 31_000, 59_999]
    x = x.tolil()
    for j in moved:
        x[:, j] = rng.poisson(3 * np.exp(rng.standard_normal(200)))[:, None]
    adata = small_cells.set_up(small_cells.cells(x.tocsc()))
    parts = ["n_genes", "60,000 genes", "n_genes=2000", "'all'", "200 x 60,000"]
    refused(lambda: cdgm.ComparativeModel(adata), *parts)
    largest = 0
    real = sp.csr_matrix.toarray

    def toarray(self, *arguments, **options):
        nonlocal largest
        largest = max(largest, self.shape[0] * self.shape[1])
        return real(self, *arguments, **options)

    monkeypatch.setattr(sp.csr_matrix, "toarray", toarray)
    monkeypatch.setattr(count_matrix, "BLOCK_ENTRIES", 30 * genes)
    model = small_cells.model(adata, n_genes=50)
    assert largest == 30 * 50
    assert {f"g{j}" for j in moved} <= set(model.observations.features)
    # In the order of the object, so that a column of the model is found again.
    positions = [int(name[1:]) for name in model.observations.features]
    assert positions == sorted(positions)
    assert len(positions) == 50


def test_gene_choice_for_real_values_is_by_variance():
    x = np.random.default_rng(0).standard_normal((50, 30)) * np.arange(30)
    expected = np.sort(np.argsort(-x.var(axis=0))[:7])
    for form in (np.asarray, sp.csr_matrix):
        np.testing.assert_array_equal(choose_genes(form(x), 7, "real"), expected)
    for wrong in (1, 31, 2.5, True, "most"):
        refused(lambda wrong=wrong: choose_genes(x, wrong, "real"), "n_genes", "2 to 30")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"variant": "mo-cvea"}, ["variant", "'mo-cvea'", "did you mean 'mo-cvae'"]),
        ({"variant": SUM | {"penalties": [{"kind": "hsic"}]}}, ["variant"]),
        ({"variant": SUM | {"penalties": [{"kind": "wasserstein_inactive", "weight": [1, 2]}]}}, ["swept"]),
        ({"likelihood": "zinb"}, ["likelihood", "'zinb'", "negative_binomial"]),
        ({"n_salient": 0}, ["salient", "at least 1"]),
        ({"held_out": 1}, ["held_out", "between 0 and 1"]),
        ({"model": {"encoder_hiden": [8]}}, ["model: encoder_hiden", "unknown key"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_are_checked_before_training(changes, parts):
    refused(lambda: small_cells.model(**changes), *parts)


def test_calls_are_checked():
    model = small_cells.model()
    for call in (model.get_latent_representation, model.get_elbo, model.stability, lambda: model.save("x")):
        refused(call, "not trained", "train()")
    refused(lambda: model.train(max_steps=5, max_epochs=2), "max_steps", "max_epochs")
    refused(lambda: model.train(max_steps=0), "max_steps")
    refused(lambda: model.train(max_epochs=-1), "max_epochs")
    refused(lambda: model.train(batch_size=1), "batch_size")
    refused(lambda: model.train(learning_rate=0), "learning_rate")
    model.train(max_steps=2)
    refused(lambda: model.get_latent_representation("shared"), "block", "['background', 'salient']")
    refused(lambda: model.get_latent_representation(source="ctrl"), "source", "['background', 'target']")
    refused(lambda: model.get_latent_representation(member=1), "member")
    refused(lambda: model.get_elbo("test"), "split", "held_out")
    refused(model.stability, "n_members=")


def test_arrays_are_checked():
    ones = np.random.default_rng(0).standard_normal((20, 3))
    make = cdgm.ComparativeModel.from_arrays
    refused(lambda: make([ones, ones]), "arrays", "mapping")
    refused(lambda: make({"a": ones}), "arrays", "2 or more")
    refused(lambda: make({"a": ones, "b": ones[:, :2]}), "features", "the same number")
    refused(lambda: make({"a": ones, "b": ones[0]}), "arrays['b']", "shape")
    refused(lambda: make({"a": ones, "b": ones}, likelihood="poisson"), "arrays['a']", "count")
    refused(lambda: make({"a": ones, "b": ones}, labels={"c": []}), "labels", "'c'")
    refused(lambda: make({"a": ones, "b": ones}, labels={"b": ["x"]}), "labels", "20 rows")
    refused(lambda: make({"a": ones, "b": ones}, features=["x", "x", "y"]), "features", "3 different names")
    refused(lambda: make({"a": ones[:5], "b": ones}), "'a'", "5 rows")
    mixed = {"a": pd.DataFrame(ones), "b": sp.csr_matrix(ones)}
    assert make(mixed).network_input("all")["b"].dtype == np.float32
