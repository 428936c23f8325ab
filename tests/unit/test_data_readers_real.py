"""Readers of SingleCellExperiment objects and of counts with guides, on made-up files."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cdgm.data.readers import READERS
from tests.unit.data_helpers import made_counts, refused, sparse, write_h5ad

# SingleCellExperiment


def r_frame(columns, names=None):
    fields = {"listData": columns, "rownames": "NULL" if names is None else names}
    return SimpleNamespace(**fields, **{"class": np.array(["DFrame"])})


def experiment(**changes):
    """Six cells, four genes; one cell of neither source, one without a label."""
    counts = sp.csc_matrix(made_counts(6, 4).T.astype(float))
    matrix = {
        "i": counts.indices, "p": counts.indptr, "x": counts.data, "Dim": np.array(counts.shape),
        "Dimnames": [np.array(["E1", "E2", "E3", "E4"]), None], "class": np.array(["dgCMatrix"]),
    }  # fmt: skip
    known = {
        "arm": pd.Categorical(["ctrl", "drug", "ctrl", "drug", "other", "ctrl"]),
        "type": pd.Categorical(["B", "T", "T", None, "T", "B"]),
        "age": np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    }
    parts = {
        "colData": r_frame(known, np.array(list("abcdef"))),
        "assays": SimpleNamespace(data=SimpleNamespace(listData={"counts": SimpleNamespace(**matrix)})),
        "rowRanges": SimpleNamespace(elementMetadata=r_frame({"symbol": np.array(["G1", "G2", "G3", "G4"])})),
        "class": np.array(["SingleCellExperiment"]),
    }
    return SimpleNamespace(**parts | changes)


def sce_reader(monkeypatch, tmp_path, content, **changes):
    import rdata

    path = tmp_path / "cells.rda"
    path.write_bytes(b"stands for an R file")
    monkeypatch.setattr(rdata, "read_rda", lambda *_, **__: content)
    options = {
        "object": "toy", "assay": "counts", "source_column": "arm", "gene_column": "symbol",
        "sources": {"background": ["ctrl"], "target": ["drug"]}, "labels": {"label": "type", "years": "age"},
    }  # fmt: skip
    reader = READERS.parse({"kind": "sce_rda", **options, **changes})
    return lambda: reader.read(path)


def test_cells_of_an_experiment_are_read(monkeypatch, tmp_path, caplog):
    cells = sce_reader(monkeypatch, tmp_path, {"toy": experiment()})()
    assert list(cells.obs.index) == list("abcdf")
    assert "1 of 6 cells belong to no source" in caplog.text
    assert list(cells.obs["source"]) == ["background", "target", "background", "target", "background"]
    assert list(cells.obs["label"]) == ["B", "T", "T", "", "B"]
    assert list(cells.obs["years"]) == ["1.0", "2.0", "3.0", "4.0", "6.0"]
    assert list(cells.genes) == ["G1", "G2", "G3", "G4"]
    assert cells.x.dtype == np.int32
    np.testing.assert_array_equal(cells.x.toarray(), made_counts(6, 4)[[0, 1, 2, 3, 5]])
    assert list(sce_reader(monkeypatch, tmp_path, {"toy": experiment()}, gene_column=None)().genes) == [
        "E1", "E2", "E3", "E4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "changes", "parts"),
    [
        ({"other": experiment()}, {}, ["R object", "toy", "other"]),
        ({"toy": {"a": 1}}, {}, ["class of toy", "dict", "SingleCellExperiment"]),
        ({"toy": experiment(colData="NULL")}, {}, ["damaged SingleCellExperiment"]),
        ({"toy": experiment()}, {"assay": "logcounts"}, ["assay", "logcounts", "counts"]),
        ({"toy": experiment()}, {"source_column": "drug"}, ["colData", "source_column", "drug", "'arm'"]),
        ({"toy": experiment()}, {"labels": {"label": "kind"}}, ["colData", "labels.label", "kind", "'type'"]),
        ({"toy": experiment()}, {"gene_column": "name"}, ["rowData", "gene_column", "name", "symbol"]),
        (
            {"toy": experiment()},
            {"sources": {"background": ["vehicle"], "target": "rest"}},
            ["colData['arm']", "vehicle", "ctrl"],
        ),
        (
            {
                "toy": experiment(
                    rowRanges=SimpleNamespace(elementMetadata=r_frame({"symbol": np.array(["G"] * 4)}))
                )
            },
            {},
            ["genes", "'G'", "once"],
        ),
        (
            {
                "toy": experiment(
                    rowRanges=SimpleNamespace(elementMetadata=r_frame({"symbol": np.array(["G"])}))
                )
            },
            {},
            ["rowData", "genes", "1", "the 4 of the assay"],
        ),
        (
            {
                "toy": experiment(
                    colData=r_frame({"arm": np.array(["ctrl", "drug"]), "type": np.array(["B", "T"])})
                )
            },
            {"labels": {}},
            ["assay 'counts'", "rows and cells", "the 2 cells of colData"],
        ),
    ],
)
def test_bad_experiments_are_named(monkeypatch, tmp_path, content, changes, parts):
    refused(sce_reader(monkeypatch, tmp_path, content, **changes), "cells.rda", *parts)


# Counts in a table, guides in an AnnData file

GUIDES = ["lib_X_1", "lib_non-targeting_1", "lib_Y_1"]
CELLS = ["L1-a", "L1-b", "L2-c", "L2-d", "L2-e", "L1-f"]
# Cell 4 is a tie, cell 5 has exactly .8 (more is asked for), cell 6 too few UMIs.
GUIDE_COUNTS = np.array([[9, 1, 0], [0, 8, 1], [0, 0, 7], [5, 5, 0], [4, 1, 0], [0, 4, 0]])


def write_table(path, counts=None, cells=None, genes="ABCD"):
    counts = made_counts(6, 4) if counts is None else counts
    lines = [",".join(["gene", *genes])]
    lines += [",".join([name, *map(str, row)]) for name, row in zip(cells or CELLS, counts, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def guides_file(path, counts=GUIDE_COUNTS, cells=None, guides=None):
    order = np.arange(len(counts))[::-1]  # in another order than the table
    names = [(cells or CELLS)[i] for i in order]
    file = write_h5ad(path, sparse(counts[order]), genes=guides or GUIDES)
    import anndata

    adata = anndata.read_h5ad(file)
    adata.obs_names = names
    adata.write_h5ad(path)
    return path


def guide_reader(**changes):
    options = {
        "target_pattern": "lib_(non-targeting|[A-Z])", "cell_pattern": "(?P<batch>L[0-9])-",
        "min_guide_fraction": 0.8, "min_guide_counts": 5, "control": "non-targeting", "classes": {"x": ["X"]},
    }  # fmt: skip
    return READERS.parse({"kind": "csv_guides", **options, **changes})


def test_guides_are_joined_by_the_names_of_cells(tmp_path):
    files = write_table(tmp_path / "a.csv"), guides_file(tmp_path / "g.h5ad")
    cells = guide_reader().read(*files)
    assert list(cells.obs.index) == ["L1-a", "L1-b", "L2-c"]
    assert list(cells.obs["source"]) == ["target", "background", "target"]
    assert list(cells.obs["target"]) == ["X", "non-targeting", "Y"]
    assert list(cells.obs["guide"]) == GUIDES
    assert list(cells.obs["label"]) == ["x", "", ""]
    assert list(cells.obs["batch"]) == ["L1", "L1", "L2"]
    assert cells.x.dtype == np.int32
    np.testing.assert_array_equal(cells.x.toarray(), made_counts(6, 4)[:3])
    assert list(guide_reader(classes_only=True).read(*files).obs.index) == ["L1-a", "L1-b"]
    plain = guide_reader(min_guide_counts=0, cell_pattern=None).read(*files)
    assert list(plain.obs.index) == ["L1-a", "L1-b", "L2-c", "L1-f"]
    assert "batch" not in plain.obs


FRACTION, NEGATIVE = made_counts(6, 4).astype(float), made_counts(6, 4)
FRACTION[2, 1], NEGATIVE[2, 1] = 0.5, -1


@pytest.mark.parametrize(
    ("table", "guides", "changes", "parts"),
    [
        ({"genes": "ABCA"}, {}, {}, ["a.csv", "columns", "'A'", "once"]),
        ({"cells": [*CELLS[:5], "L1-a"]}, {}, {}, ["a.csv", "cells", "'L1-a'", "once"]),
        ({"cells": [*CELLS[:5], "L1-z"]}, {}, {}, ["g.h5ad", "cells", "'L1-z'", "a.csv"]),
        ({"counts": FRACTION}, {}, {}, ["a.csv", "cell 'L2-c', gene 'B'", "0.5", "integer"]),
        ({"counts": NEGATIVE}, {}, {}, ["a.csv", "cell 'L2-c', gene 'B'", "-1"]),
        ({"counts": np.full((6, 4), "many")}, {}, {}, ["a.csv", "numbers"]),
        ({}, {"guides": ["lib_X_1", "other", "lib_Y_1"]}, {}, ["g.h5ad", "guide", "'other'", "lib_"]),
        ({}, {}, {"control": "none"}, ["g.h5ad", "target", "none", "'non-targeting'"]),
        ({}, {}, {"classes": {"z": ["Z"]}}, ["g.h5ad", "target", "'Z'", "'X'"]),
        ({}, {}, {"cell_pattern": "(?P<batch>Q)"}, ["a.csv", "cell", "'L1-a'", "Q"]),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, table, guides, changes, parts):
    files = write_table(tmp_path / "a.csv", **table), guides_file(tmp_path / "g.h5ad", **guides)
    refused(lambda: guide_reader(**changes).read(*files), *parts)


@pytest.mark.parametrize("content", ["", "gene,A\n", "gene\na\n", "gene,A\na,1\nb,1,2,3\n", "gene,A\na,\n"])
def test_damaged_tables_are_named(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_text(content)
    guides = guides_file(tmp_path / "g.h5ad", GUIDE_COUNTS[:1], ["a"])
    refused(lambda: guide_reader(cell_pattern=None).read(path, guides), "a.csv")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"target_pattern": "lib_("}, "regular expression"),
        ({"target_pattern": "lib_.*"}, "0 groups"),
        ({"cell_pattern": "(L1)"}, "unnamed"),
        ({"cell_pattern": "(?P<source>L1)"}, "source"),
        ({"classes_only": True, "classes": {}}, "needs classes"),
    ],
)
def test_bad_options_are_refused(changes, part):
    with pytest.raises(ValueError, match=part):
        guide_reader(**changes)
