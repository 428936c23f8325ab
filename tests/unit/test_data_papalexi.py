"""Known facts of the Papalexi 2021 screen, where a mirror holds the file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from cdgm.data.downloads import DOWNLOADS
from cdgm.data.fetch import find_in_mirror
from cdgm.data.readers import READERS

DOWNLOAD = {
    "kind": "https",
    "urls": [
        "https://raw.githubusercontent.com/Katsevich-Lab/sceptredata/"
        "ec722d5df90dfd34ace6cc9a5745ab6a5c2a6731/data/lowmoi_example_data.rda"
    ],
    "filename": "lowmoi_example_data.rda",
    "size": 1358267,
    "sha256": "e3f8ad09bb4b1d0deeeec2850a2d96f8f5062fef31a9ab1cc080e60560421b6a",
    "licence": "MIT",
}
IFN = ["IFNGR1", "IFNGR2", "JAK2", "STAT1"]
READER = {
    "kind": "sceptre_rda",
    "object": "lowmoi_example_data",
    "min_guide_fraction": 0.8,
    "control": "non-targeting",
    "classes": {"IFN pathway": IFN, "IRF1": ["IRF1"], "SMAD4": ["SMAD4"]},
}


@pytest.fixture(scope="module")
def raw() -> Path:
    if not os.environ.get("CDGM_DATA_MIRROR"):
        pytest.skip("CDGM_DATA_MIRROR is not set: no copy of the Papalexi file")
    found = find_in_mirror(DOWNLOADS.parse(DOWNLOAD))
    if found is None:
        pytest.skip("the mirror in CDGM_DATA_MIRROR does not hold the Papalexi file")
    return found


@pytest.fixture(scope="module")
def cells(raw):
    return READERS.parse(READER).read(raw)


def test_known_numbers(cells):
    assert cells.x.shape == (16093, 299)
    assert (cells.obs["source"] == "background").sum() == 1912
    assert cells.obs["target"].isin(IFN).sum() == 3216
    assert (cells.obs["label"] == "IFN pathway").sum() == 3216
    assert cells.obs["target"].nunique() == 26
    assert set(cells.obs["replicate"]) == {"rep_1", "rep_2", "rep_3"}
    assert set(cells.obs.loc[cells.obs["source"] == "background", "label"]) == {""}


def test_joining_by_position_would_go_wrong(raw, cells):
    """The trap: the table of targets is ordered otherwise than the rows of the guide matrix."""
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        screen = rdata.read_rda(raw)["lowmoi_example_data"]
    matrix, table = screen["grna_matrix"], screen["grna_target_data_frame"]
    assert tuple(matrix.Dim) == (110, 20729)
    ids, targets = table["grna_id"].astype(str).to_numpy(), table["grna_target"].astype(str).to_numpy()
    rows = np.asarray(matrix.Dimnames[0])
    assert not np.array_equal(ids, rows)
    row_of = {guide: row for row, guide in enumerate(rows)}
    row = cells.obs["guide"].map(row_of).to_numpy()
    by_position = np.isin(targets[row], IFN).sum()
    by_id = np.isin(cells.obs["guide"].map(dict(zip(ids, targets, strict=True))), IFN).sum()
    assert by_id == cells.obs["target"].isin(IFN).sum() == 3216
    assert by_position != 3216


def test_the_interferon_genes_fall_in_the_interferon_knockouts(cells):
    """Biology that only a right join shows: STAT1 is lost where its pathway is cut."""
    gene = int(np.flatnonzero(cells.genes == "STAT1")[0])
    share = cells.x[:, gene].toarray().ravel() / cells.x.sum(axis=1).A1
    control = share[(cells.obs["source"] == "background").to_numpy()].mean()
    knocked = share[(cells.obs["label"] == "IFN pathway").to_numpy()].mean()
    assert knocked < 0.5 * control
