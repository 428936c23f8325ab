"""Preprocessing keeps counts, order and labels, repeats to the byte, and names what does not fit the file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cdgm.config.dataset import DatasetSpec
from cdgm.config.validation import validated
from cdgm.data.bundle import read_bundle
from cdgm.data.cell_table import read_cell_table
from cdgm.data.gene_selection import GENES
from cdgm.data.preprocess import preprocess, write_prepared
from cdgm.utils.random_streams import stream
from tests.unit.data_helpers import made_counts, refused, sparse, treated, write_h5ad

CELLS, GENE_COUNT = 90, 25
COUNTS = made_counts(CELLS, GENE_COUNT, seed=7)
READER = {
    "kind": "h5ad",
    "source_column": "treatment",
    "sources": {"background": ["control"], "target": "rest"},
    "labels": {"label": "treatment"},
}
SPEC = {
    "download": "mine",
    "reader": READER,
    "sources": ["target", "background"],  # not sorted: the order is the design's
    "genes": {"kind": "most_expressed", "n": 10},
    "held_out": 0.3,
}
SPIKED = SPEC | {
    "reader": {"kind": "h5ad_log2", "labels": {"kind": "treatment"}, "tolerance": 0.01},
    "spike_in": {
        "programs": 2,
        "genes_per_program": 3,
        "most_expressed": 12,
        "keep": 0.2,
        "target_fraction": 0.5,
    },
}


def spec(base=SPEC, **changes) -> DatasetSpec:
    return DatasetSpec.model_validate(base | changes)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return write_h5ad(tmp_path_factory.mktemp("raw") / "mine.h5ad", sparse(COUNTS), treated(CELLS))


@pytest.fixture(scope="module")
def raw_log2(tmp_path_factory) -> Path:
    counts = COUNTS.copy()
    counts[:, 1] = 1
    path = tmp_path_factory.mktemp("raw") / "log2.h5ad"
    return write_h5ad(path, sparse(np.log2(1 + 0.7 * counts)), treated(CELLS))


def test_arrays_tables_and_raw_file_agree(raw, tmp_path):
    write_prepared(preprocess(spec(), "mine", raw, root=1), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cells.csv",
        "cells.npz",
        "genes.csv",
        "programs.csv",
    ]
    bundle = read_bundle(tmp_path / "cells.npz", support="counts")
    cells = read_cell_table(tmp_path / "cells.csv").table
    genes = pd.read_csv(tmp_path / "genes.csv", keep_default_na=False)
    assert list(cells.columns) == ["cell", "split", "source", "row", "label"]
    assert list(genes.columns) == ["gene", "mean", "variance", "detected", "program"]
    order = cells[["split", "source"]].drop_duplicates().to_numpy().tolist()
    assert order == [["train", "target"], ["train", "background"], ["test", "target"], ["test", "background"]]
    assert sorted(cells["cell"]) == sorted(f"c{i}" for i in range(CELLS))
    for _, part in cells.groupby(["split", "source"]):
        assert list(part["row"]) == list(range(len(part)))
        assert part["cell"].str[1:].astype(int).is_monotonic_increasing  # the file's order
    columns = [int(gene[1:]) for gene in genes["gene"]]
    for cell in cells.itertuples():
        found = bundle.x[cell.split][cell.source][0, cell.row]
        number = int(cell.cell[1:])
        np.testing.assert_array_equal(found, COUNTS[number, columns])
        assert cell.label == treated(CELLS)["treatment"][number]
        assert cell.source == ("background" if cell.label == "control" else "target")
    assert bundle.x["test"]["target"].shape == (1, 18, 10)
    assert bundle.x["test"]["background"].shape == (1, 9, 10)
    assert bundle.x["train"]["target"].dtype == np.uint8
    np.testing.assert_allclose(genes["mean"], COUNTS[:, columns].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(genes["variance"], COUNTS[:, columns].var(axis=0), rtol=1e-6)


def test_spiked_cells_carry_their_programs(raw_log2, tmp_path):
    prepared = preprocess(spec(SPIKED), "toy", raw_log2, root=1)
    write_prepared(prepared, tmp_path)
    programs = pd.read_csv(tmp_path / "programs.csv")
    genes = pd.read_csv(tmp_path / "genes.csv", keep_default_na=False)
    cells = read_cell_table(tmp_path / "cells.csv").table
    assert programs.groupby("program").size().to_dict() == {"program 1": 3, "program 2": 3}
    assert set(cells.loc[cells["source"] == "target", "label"]) == {"program 1", "program 2", "untouched"}
    assert set(cells.loc[cells["source"] == "background", "label"]) == {""}
    assert "kind" in cells.columns
    named = dict(zip(programs["gene"], programs["program"], strict=True))
    assert list(genes["program"]) == [named.get(gene, "") for gene in genes["gene"]]
    assert list(programs["selected"]) == list(programs["gene"].isin(genes["gene"]))


def test_equal_seeds_give_equal_bytes_and_others_do_not(raw_log2, tmp_path):
    for folder, name, root in (("a", "toy", 1), ("b", "toy", 1), ("c", "toy", 2), ("d", "other", 1)):
        write_prepared(preprocess(spec(SPIKED), name, raw_log2, root=root), tmp_path / folder)
    for file in ("cells.npz", "cells.csv", "genes.csv", "programs.csv"):
        contents = [(tmp_path / folder / file).read_bytes() for folder in "abcd"]
        assert contents[0] == contents[1]
        if file in ("cells.csv", "programs.csv"):
            assert contents[0] != contents[2] != contents[3] != contents[0]


def test_filters_and_subsampling(raw, tmp_path):
    prepared = preprocess(spec(cells_per_source={"target": 12}), "mine", raw, root=1)
    assert prepared.cells["source"].value_counts().to_dict() == {"target": 12, "background": 30}
    counts = np.zeros((CELLS, 4), dtype=int)
    counts[:, 0], counts[:5, 1], counts[:4, 2], counts[9, 0] = 3, 1, 1, 1  # gene 3 has no count
    path = write_h5ad(tmp_path / "a.h5ad", sparse(counts), treated(CELLS))
    filters = {"min_cells_per_gene": 5, "min_counts_per_cell": 2}
    prepared = preprocess(spec(genes={"kind": "all"}, filters=filters), "mine", path, root=1)
    assert list(prepared.genes["gene"]) == ["g0", "g1"]
    assert "c9" not in set(prepared.cells["cell"])
    assert len(prepared.cells) == CELLS - 1


def test_nothing_is_written_when_one_file_fails(raw, tmp_path, monkeypatch):
    prepared = preprocess(spec(), "mine", raw, root=1)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    refused(lambda: write_prepared(prepared, tmp_path / "out"), "No space left on device")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"genes": {"kind": "most_expressed", "n": 26}}, ["genes: n", 26, "25 genes"]),
        ({"filters": {"min_cells_per_gene": 91}}, ["min_cells_per_gene", 91]),
        ({"filters": {"min_counts_per_cell": 10**6}}, ["all 90 cells", "filters"]),
        ({"held_out": 0.01}, ["source 'target'", "60 cell(s)", "held_out 0.01"]),
    ],
)
def test_what_does_not_fit_the_file_is_named(raw, changes, parts):
    refused(lambda: preprocess(spec(**changes), "mine", raw, root=1), "mine.h5ad", *parts)


def test_raw_counts_are_no_logarithms(raw):
    refused(
        lambda: preprocess(spec(SPIKED), "mine", raw, root=1), "mine.h5ad", "integers only", "reader h5ad"
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"held_out": 0}, "held_out"),
        ({"sources": ["background", "treated"]}, r"those of its reader are ['background', 'target']"),
        ({"cells_per_source": {"up": 9}}, "cells_per_source names ['up']"),
        ({"reader": SPIKED["reader"]}, "needs 'spike_in'"),
        ({"spike_in": SPIKED["spike_in"]}, "has 'spike_in', but reader 'h5ad'"),
        ({"sources": ["a", "a"]}, "sources"),
        ({"genes": {"kind": "favourites"}}, "known: all, most_expressed, pearson_residuals"),
        ({"genes": {"kind": "pearson_residuals", "n": 5}}, "genes.theta"),
        ({"reader": {"kind": "h5ad"}}, "reader.source_column"),
        ({"cells_per_source": {"target": 1}}, "cells_per_source.target"),
        ({"spike_in": {"programs": 2}}, "spike_in"),
    ],
)
def test_a_bad_spec_is_one_line_with_the_key(changes, part):
    refused(lambda: validated(DatasetSpec, SPEC | changes, "dataset mine"), "dataset mine: ", part)


def test_most_expressed_ranks_by_total_and_keeps_the_order_of_ties():
    counts = sp.csr_matrix([[1, 5, 1, 2], [1, 5, 1, 2]])
    assert list(GENES.parse({"kind": "most_expressed", "n": 3}).select(counts)) == [1, 3, 0]
    assert list(GENES.parse({"kind": "all"}).select(counts)) == [0, 1, 2, 3]


# Streams


def test_streams_differ_by_name_order_type_and_root():
    draws = {
        stream(*names, root=root).integers(1 << 60)
        for names, root in (
            (("a", "bc"), 1),
            (("ab", "c"), 1),
            (("a", 1), 1),
            (("a", "1"), 1),
            (("a", "bc"), 2),
        )
    }
    assert len(draws) == 5
    assert stream("a", root=1).integers(1 << 60) == stream("a", root=1).integers(1 << 60)


def test_a_thinned_table_finds_the_rows_of_its_cells(raw, tmp_path):
    write_prepared(preprocess(spec(), "mine", raw, root=1), tmp_path)
    arrays = {
        (split, source): x[0]
        for split, sources in read_bundle(tmp_path / "cells.npz").x.items()
        for source, x in sources.items()
    }
    cells = read_cell_table(tmp_path / "cells.csv")
    assert cells.thinned(CELLS, np.random.default_rng(0)) is cells
    whole, fewer = cells.join(arrays), cells.thinned(31, np.random.default_rng(0))
    assert len(fewer.table) == 31
    kept = cells.table["cell"].isin(fewer.table["cell"]).to_numpy()
    assert list(cells.table["cell"][kept]) == list(fewer.table["cell"])
    np.testing.assert_array_equal(fewer.join(arrays), whole[kept])
    order = [(split, source) for split in ("train", "test") for source in ("target", "background")]
    np.testing.assert_array_equal(whole, np.concatenate([arrays[key] for key in order]))


def test_several_divisions_hold_out_other_cells_and_keep_the_first(raw, tmp_path):
    one, several = preprocess(spec(), "mine", raw, root=1), preprocess(spec(splits=3), "mine", raw, root=1)
    write_prepared(several, tmp_path)
    bundle = read_bundle(tmp_path / "cells.npz", support="counts")
    cells = read_cell_table(tmp_path / "cells.csv")
    assert bundle.replicates == 3
    assert bundle.replicates_of([200, 201, 205], "cells.npz") == [2, 0, 1]
    held_out = set()
    for seed in range(3):
        own = cells.of(seed + 300)  # 300 is a multiple of 3
        positions = [int(name[1:]) for name in own.table["cell"]]
        assert sorted(positions) == list(range(CELLS))
        x = {(split, s): x[seed] for split, sources in bundle.x.items() for s, x in sources.items()}
        genes = [int(gene[1:]) for gene in several.genes["gene"]]
        np.testing.assert_array_equal(own.join(x), COUNTS[positions][:, genes])
        held_out.add(frozenset(own.table.loc[own.table["split"] == "test", "cell"]))
    assert len(held_out) == 3
    for name, values in one.arrays.items():
        np.testing.assert_array_equal(values[0], several.arrays[name][0])
    pd.testing.assert_frame_equal(
        one.cells, several.cells[several.cells["division"] == 0].drop(columns="division")
    )


def test_a_reader_gets_as_many_files_as_it_needs():
    with pytest.raises(ValueError, match=r"download names \['a', 'b'\], reader 'h5ad' needs 1 file"):
        spec(download=["a", "b"])
    with pytest.raises(ValueError, match="twice"):
        spec(download=["a", "a"])
