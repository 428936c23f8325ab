"""Batches reach both packages, and every method's table says what they change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.batches import COLUMNS, FLOOR, chance_row, columns_of, first_division, floor_rows
from benchmarks.peer_ours import Ours, our_fit
from benchmarks.peer_tables import fitted_rows, long_table, write_tables
from cdgm.config.fit import FitSpec
from cdgm.data.bundle import Bundle
from cdgm.data.cell_table import CellTable

SIZES = {"train": 60, "test": 30}
SOURCES = ("background", "target")


@pytest.fixture(scope="module")
def ours() -> FitSpec:
    values = our_fit("glioblastoma").model_dump(mode="json")
    values["training"] |= {"steps": 200, "batch_size": 16, "log_every": 200}
    return FitSpec.model_validate(values)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Two batches that differ by five in the first ten of twenty genes; a second division of zeros."""
    rng = np.random.default_rng(0)
    x, known = {}, {}
    for split, n in SIZES.items():
        x[split], known[split] = {}, {}
        for source in SOURCES:
            batch = np.arange(n) % 2
            rates = np.where((np.arange(20) < 10) & (batch[:, None] == 1), 10.0, 2.0)
            counts = rng.poisson(rates).astype(np.uint16)
            x[split][source] = np.stack([counts, np.zeros_like(counts)])
            known[split][source] = {"patient": np.stack([np.eye(2, dtype=np.float32)[batch]] * 2)}
    return Bundle(x, covariates=known)


@pytest.fixture(scope="module")
def cells() -> CellTable:
    rows = [
        (f"{split}-{source}-{i}", split, source, i, "", f"p{i % 2}")
        for split, n in SIZES.items()
        for source in SOURCES
        for i in range(n)
    ]
    return CellTable(pd.DataFrame(rows, columns=["cell", "split", "source", "row", "label", "patient"]))


def test_the_model_that_is_told_of_batches_need_not_hold_them(
    ours: FitSpec, bundle: Bundle, cells: CellTable
):
    bundle = first_division(bundle)
    assert {x.shape[0] for of in bundle.x.values() for x in of.values()} == {1}
    accuracy = {}
    for told in (False, True):
        (fitted,) = Ours(batches=told, encode_batches=told).fit(ours, bundle, [0], 2)
        rows = fitted_rows(fitted, cells, "glioblastoma", 0, 20, 1, bundle.batches)
        (found,) = [
            r["value"] for r in rows
            if (r["metric"], r["source"], r["block"]) == ("batch_accuracy", "background", "background")
        ]  # fmt: skip
        accuracy[told] = found
    assert accuracy[False] > 0.9
    assert accuracy[True] < accuracy[False] - 0.1


def test_fits_without_batches_keep_their_ids():
    assert set(Ours().settings()) == {"variant", "equal_widths"}
    assert Ours(batches=True).settings() != Ours(batches=True, encode_batches=True).settings()


def test_the_floor_and_chance_stand_in_the_table(bundle: Bundle, cells: CellTable, tmp_path: Path):
    bundle = first_division(bundle)
    rows = floor_rows(bundle, cells, "glioblastoma", 20, 1)
    accuracy = [r["value"] for r in rows if r["metric"] == "batch_accuracy"]
    assert len(accuracy) == 4  # two sources, under the name of each of two blocks
    assert min(accuracy) > 0.9  # cells of the second batch hold twice as many counts
    summary = write_tables(long_table("glioblastoma", {(FLOOR, ""): rows}), tmp_path / "batches")
    texts = chance_row(summary, COLUMNS).split("|")
    assert texts[1].strip() == "shuffled, 95 %"
    assert 0.45 < float(texts[2]) < 0.75
    assert columns_of(cells, ["patient"]) == COLUMNS
    labelled = CellTable(cells.table.assign(label=cells.table["patient"]))
    assert len(columns_of(labelled, ["patient"])) == len(COLUMNS) - 2


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_scvi_tools_is_told_of_batches(ours: FitSpec, bundle: Bundle):
    pytest.importorskip("scvi", reason="needs the extra 'peers'")
    from benchmarks.contrastivevi import ContrastiveVI, held_out_bound

    bundle = first_division(bundle)
    peer = ContrastiveVI(epochs=20, warm_up=None, batch_size=16, batches=True)
    assert "batches" in peer.settings()
    assert "batches" not in ContrastiveVI().settings()
    model, _ = peer.train(ours, bundle, 0)
    assert model.summary_stats.n_batch == 2
    x = bundle.x["test"]["target"][0]
    batch = np.arange(len(x)) % 2
    right, _ = held_out_bound(model, x, "target", 5, 4, batch)
    wrong, _ = held_out_bound(model, x, "target", 5, 4, 1 - batch)
    assert right > wrong + 1  # nats a cell: the number of the batch arrives in the decoder
    (fitted,) = peer.fit(ours, bundle, [0], 2)
    assert fitted.finite
