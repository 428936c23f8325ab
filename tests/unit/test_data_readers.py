"""Readers return the right counts, sources and labels, and name a bad file in one line."""

import warnings
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cdgm.data import count_matrix as counts_module
from cdgm.data.readers import READERS
from tests.unit.data_helpers import made_counts, refused, sparse, treated, write_h5ad

USER = {
    "kind": "h5ad",
    "source_column": "treatment",
    "sources": {"background": ["control"], "target": "rest"},
    "labels": {"label": "treatment"},
}
STORAGES = [sp.csr_matrix, sp.csc_matrix, np.asarray]


def user_reader(**changes):
    return READERS.parse({**USER, **changes})


# A user's AnnData file


@pytest.mark.parametrize("how", STORAGES)
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16])
def test_counts_are_the_same_from_every_storage(tmp_path, how, dtype, monkeypatch):
    counts = made_counts(12, 5)
    path = write_h5ad(tmp_path / "a.h5ad", how(counts.astype(dtype)), treated(12))
    monkeypatch.setattr(counts_module, "BLOCK_ENTRIES", 7)  # several blocks, the last one short
    cells = user_reader().read(path)
    assert isinstance(cells.x, sp.csr_matrix)
    assert cells.x.dtype == np.int32
    np.testing.assert_array_equal(cells.x.toarray(), counts)
    assert cells.x.nnz == (counts > 0).sum()
    assert list(cells.genes) == ["g0", "g1", "g2", "g3", "g4"]
    assert list(cells.obs["source"]) == ["background" if i % 3 == 0 else "target" for i in range(12)]
    assert list(cells.obs["label"]) == treated(12)["treatment"]
    assert list(cells.obs.index[:2]) == ["c0", "c1"]


def test_a_layer_can_hold_the_counts(tmp_path):
    counts = made_counts(9, 4)
    path = write_h5ad(
        tmp_path / "a.h5ad", sparse(np.log1p(counts)), treated(9), layers={"raw": sparse(counts)}
    )
    np.testing.assert_array_equal(user_reader(layer="raw").read(path).x.toarray(), counts)
    refused(lambda: user_reader(layer="spliced").read(path), "a.h5ad", "layer", "spliced", "raw")
    refused(
        lambda: user_reader().read(path),
        "a.h5ad",
        "X in cell 'c0', gene 'g0'",
        "a count, which is an integer",
    )


@pytest.mark.parametrize("how", STORAGES)
@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf, 3e9])
def test_a_bad_count_is_named_with_cell_and_gene(tmp_path, how, value, monkeypatch):
    counts = made_counts(9, 4).astype(np.float32)
    counts[7, 2] = value
    path = write_h5ad(tmp_path / "a.h5ad", how(counts), treated(9))
    monkeypatch.setattr(counts_module, "BLOCK_ENTRIES", 5)
    refused(lambda: user_reader().read(path), "a.h5ad", "X in cell 'c7', gene 'g2'", value, "expected a")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"source_column": "guide"}, ["guide", "treatment"]),
        ({"labels": {"label": "cluster"}}, ["cluster", "treatment"]),
        ({"sources": {"background": ["vehicle"], "target": "rest"}}, ["treatment", "vehicle", "control"]),
        (
            {"sources": {"background": ["control", "drug 0", "drug 1"], "target": "rest"}},
            ["'drug 1'", "none is left for the target"],
        ),
    ],
    ids=["source column", "label column", "background label", "all one source"],
)
def test_what_is_missing_is_named_beside_what_is_there(tmp_path, changes, parts):
    path = write_h5ad(tmp_path / "a.h5ad", sparse(made_counts(9, 4)), treated(9))
    refused(lambda: user_reader(**changes).read(path), "a.h5ad", *parts)


def test_a_missing_source_can_not_fall_to_the_rest(tmp_path):
    obs = {"treatment": ["control", None, "drug", "drug"]}
    path = write_h5ad(tmp_path / "a.h5ad", sparse(made_counts(4, 4)), obs)
    refused(
        lambda: user_reader(labels={}).read(path), "a.h5ad", "obs['treatment']", "1 of 4 cells have no value"
    )


def test_repeated_genes_are_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_h5ad(tmp_path / "a.h5ad", sparse(made_counts(9, 3)), treated(9), genes=["A", "B", "A"])
    refused(lambda: user_reader().read(path), "a.h5ad", "var_names", "'A'")


def test_files_without_cells_are_named(tmp_path):
    empty = write_h5ad(tmp_path / "empty.h5ad", sparse(np.zeros((0, 4))), {"treatment": []})
    refused(lambda: user_reader().read(empty), "empty.h5ad", "cells (obs)", "at least one")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"sources": {"background": "rest", "target": "rest"}}, "only one source"),
        ({"sources": {"background": ["a"]}}, "sources"),
        ({"labels": {"split": "treatment"}}, "split"),
    ],
)
def test_bad_options_are_refused(changes, part):
    with pytest.raises(ValueError, match=part):
        user_reader(**changes)


# The control, by its usual name or by the user's


@pytest.mark.parametrize("name", ["control", "Control", "non-targeting", "NT", "neg_ctrl", "DMSO"])
def test_a_control_of_a_usual_name_is_found(tmp_path, name):
    obs = {"treatment": [name if i % 4 == 0 else f"gene {i % 3}" for i in range(12)]}
    path = write_h5ad(tmp_path / "a.h5ad", sparse(made_counts(12, 5)), obs)
    cells = user_reader(sources={"background": "control", "target": "rest"}).read(path)
    assert list(cells.obs["source"] == "background") == [i % 4 == 0 for i in range(12)]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (
            ["A", "B", "B"],
            ["0 usual names of controls", "sources.background", "2 values", "'B' (8 cells), 'A' (4"],
        ),
        (["control", "NT", "A"], ["2 usual names of controls ['NT', 'control']", "'A' (4 cells)"]),
    ],
    ids=["none", "two"],
)
def test_a_control_that_is_not_plain_lists_what_the_column_holds(tmp_path, values, parts):
    path = write_h5ad(tmp_path / "a.h5ad", sparse(made_counts(12, 5)), {"treatment": values * 4})
    reader = user_reader(sources={"background": "control", "target": "rest"})
    refused(lambda: reader.read(path), "a.h5ad", "obs['treatment']", *parts)


# Classes of perturbations

PAIRS = ["control", "A_B", "B_A", "B", "C", "C_A"]
CLASSES = {
    "labels": {"pair": "treatment"},
    "class_column": "treatment",
    "class_separator": "_",
    "classes": {"one": ["A_B", "B", "Z_A"], "two": ["A_C"]},
}


def test_classes_are_joined_on_sorted_names(tmp_path, caplog):
    path = write_h5ad(tmp_path / "a.h5ad", sparse(made_counts(12, 5)), {"treatment": PAIRS * 2})
    cells = user_reader(**CLASSES).read(path)
    assert list(cells.obs["label"]) == ["", "one", "one", "one", "", "two"] * 2
    assert list(cells.obs["pair"]) == PAIRS * 2
    assert "no cell has the treatment Z_A" in caplog.text
    plain = user_reader(
        **CLASSES | {"class_separator": None, "classes": {"one": ["A_B", "B"], "two": ["C_A"]}}
    )
    assert list(plain.read(path).obs["label"]) == ["", "one", "", "one", "", "two"] * 2


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"class_column": None}, "together"),
        ({"labels": {"label": "treatment"}}, "either classes or labels"),
        ({"classes": {"one": ["A_B"], "two": ["B_A"]}}, "'A_B' is named twice"),
    ],
)
def test_classes_that_make_no_sense_are_refused(changes, part):
    with pytest.raises(ValueError, match=part):
        user_reader(**CLASSES | changes)


def test_files_of_early_anndata_versions_are_read(tmp_path):
    path = write_h5ad(tmp_path / "a.h5ad", sparse(made_counts(12, 5)), {"treatment": PAIRS * 2})
    with h5py.File(path, "a") as file:
        # Categories lay apart, and a column pointed to them.
        codes, names = file["obs/treatment/codes"][:], file["obs/treatment/categories"][:]
        del file["obs/treatment"]
        file.create_dataset("obs/treatment", data=codes)
        file.create_dataset("obs/__categories/treatment", data=names, dtype=h5py.string_dtype())
        file["obs/treatment"].attrs["categories"] = file["obs/__categories/treatment"].ref
        file["obs"].attrs["encoding-version"] = "0.1.0"
    cells = user_reader(sources={"background": "control", "target": "rest"}).read(path)
    assert list(cells.obs["label"]) == PAIRS * 2


# log2(1 + c x count)


def log2_file(path, counts, factor=1.0, extra=0.0):
    rng = np.random.default_rng(1)
    scale = factor * rng.uniform(0.2, 5.0, (counts.shape[0], 1))
    values = np.log2(1 + scale * counts) + extra * (counts > 0)
    return write_h5ad(path, sparse(values), {"kind": ["T"] * counts.shape[0]})


def log2_reader():
    return READERS.parse({"kind": "h5ad_log2", "labels": {"cell_type": "kind"}, "tolerance": 0.01})


def test_counts_are_recovered_from_log2_values(tmp_path):
    counts = made_counts(40, 30, seed=3)
    counts[3, 5], counts[4] = 9000, 0  # a very high count and a cell without any
    counts[np.arange(40) != 4, 1] = 1  # each other cell has a gene with one molecule
    cells = log2_reader().read(log2_file(tmp_path / "a.h5ad", counts))
    np.testing.assert_array_equal(cells.x.toarray(), counts)
    assert cells.x.dtype == np.int32
    assert set(cells.obs["cell_type"]) == {"T"}
    assert "source" not in cells.obs


def test_values_that_are_no_scaled_counts_are_refused(tmp_path):
    counts = made_counts(20, 30)
    counts[:, 1] = 1
    path = log2_file(tmp_path / "a.h5ad", counts, extra=0.3)
    refused(lambda: log2_reader().read(path), "a.h5ad", "X in cell 'c0'", "an integer within 0.01")
    natural = write_h5ad(tmp_path / "b.h5ad", sparse(np.log1p(0.37 * counts)), {"kind": ["T"] * 20})
    refused(lambda: log2_reader().read(natural), "b.h5ad", "an integer within")


@pytest.mark.parametrize("value", [np.nan, -0.5, np.inf, 900.0])
def test_impossible_log2_values_are_named(tmp_path, value):
    values = np.log2(1 + made_counts(5, 6)).astype(np.float32)
    values[2, 3] = value
    path = write_h5ad(tmp_path / "a.h5ad", sparse(values), {"kind": ["T"] * 5})
    refused(lambda: log2_reader().read(path), "X in cell 'c2', gene 'g3'", value)


# sceptre's R data


def r_matrix(values, names):
    coo = sp.coo_matrix(np.asarray(values, dtype=float))
    fields = {
        "i": coo.row,
        "j": coo.col,
        "x": coo.data,
        "Dim": np.array(coo.shape),
        "Dimnames": [names, None],
    }
    return SimpleNamespace(**fields, **{"class": np.array(["dgTMatrix"])})


def screen(**changes):
    """Six cells, three guides; the target table is in another order than the matrix."""
    guides = [[9, 0, 0, 5, 4, 0], [1, 8, 0, 5, 1, 0], [0, 1, 7, 0, 0, 0]]
    parts = {
        "response_matrix": r_matrix(made_counts(6, 4).T, np.array(["A", "B", "C", "D"])),
        "grna_matrix": r_matrix(guides, np.array(["xg1", "NTg1", "yg1"])),
        "grna_target_data_frame": pd.DataFrame(
            {"grna_id": ["NTg1", "xg1", "yg1"], "grna_target": ["non-targeting", "X", "Y"]}
        ),
        "extra_covariates": pd.DataFrame({"bio_rep": ["r1", "r2"] * 3}, index=list("123567")),
    }
    return parts | changes


def screen_reader(monkeypatch, tmp_path, content, **changes):
    import rdata

    path = tmp_path / "screen.rda"
    path.write_bytes(b"stands for an R file")
    monkeypatch.setattr(rdata, "read_rda", lambda *_, **__: content)
    options = {
        "object": "toy",
        "min_guide_fraction": 0.8,
        "control": "non-targeting",
        "classes": {"x": ["X"]},
    }
    reader = READERS.parse({"kind": "sceptre_rda", **options, **changes})
    return lambda: reader.read(path)


def test_guides_are_joined_by_id(monkeypatch, tmp_path):
    cells = screen_reader(monkeypatch, tmp_path, {"toy": screen()})()
    # Cell 4 is a tie, cell 5 has exactly .8 (more is asked for), cell 6 no guide at all.
    assert list(cells.obs.index) == ["1", "2", "3"]
    assert list(cells.obs["guide"]) == ["xg1", "NTg1", "yg1"]
    assert list(cells.obs["target"]) == ["X", "non-targeting", "Y"]
    assert list(cells.obs["source"]) == ["target", "background", "target"]
    assert list(cells.obs["label"]) == ["x", "", ""]
    assert list(cells.obs["replicate"]) == ["r1", "r2", "r1"]
    np.testing.assert_array_equal(cells.x.toarray(), made_counts(6, 4)[:3])


@pytest.mark.parametrize(
    ("content", "changes", "parts"),
    [
        ({"other": screen()}, {}, ["R object", "toy", "other"]),
        ({"toy": screen()}, {"control": "vehicle"}, ["grna_target", "vehicle", "non-targeting"]),
        ({"toy": screen()}, {"classes": {"z": ["Z"]}}, ["grna_target", "'Z'", "'X'"]),
        (
            {"toy": screen(grna_target_data_frame=pd.DataFrame({"grna_id": ["NTg1"], "grna_target": ["n"]}))},
            {},
            ["grna_id", "xg1", "a target for each guide"],
        ),
        ({"toy": screen(extra_covariates=pd.DataFrame({"lane": [1] * 6}))}, {}, ["bio_rep", "lane"]),
        (
            {
                "toy": screen(
                    response_matrix=r_matrix([[1, 1, 1, 1, 1, 1], [0, 0, 1.5, 0, 0, 0]], np.array(["A", "B"]))
                )
            },
            {},
            ["response_matrix", "in cell '3', gene 'B'", "1.5"],
        ),
    ],
)
def test_bad_screens_are_named(monkeypatch, tmp_path, content, changes, parts):
    refused(screen_reader(monkeypatch, tmp_path, content, **changes), "screen.rda", *parts)
