"""The two atlases as the configuration has them, from a web server to the data of a fit.

Their own host is not needed: a server here has small files of the same form, and misbehaves.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from cdgm.config.dataset import DatasetSpec
from cdgm.data.downloads import DOWNLOADS, resume
from cdgm.data.fetch import fetch
from cdgm.data.preprocess import preprocess
from tests.unit.file_server import PAGE, address, serving
from tests.unit.screens import GENES, screen

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8"))
PROGRAMS = CONFIG["datasets"]["norman2019"]["reader"]["classes"]
# Pairs are named the other way round in the file than in the configuration.
TURNED = ["_".join(reversed(value.split("_"))) for values in PROGRAMS.values() for value in values]
PERTURBED = {
    "norman2019": [*["control"] * 5, "UNLISTED", *TURNED],
    "replogle2022_k562_essential": ["control", "A", "B", "C"],
}


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setattr(resume, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("CDGM_DATA_MIRROR", raising=False)


def download(name: str, content: bytes, urls: list[str], **changes):
    """The configuration's own entry, with other addresses and the size and checksum of a made file."""
    entry = CONFIG["downloads"][name] | {"urls": urls, "size": len(content)}
    return DOWNLOADS.parse(entry | {"md5": hashlib.md5(content).hexdigest()} | changes)


def dataset(name: str) -> DatasetSpec:
    """The configuration's own entry, with fewer genes."""
    genes = CONFIG["datasets"][name]["genes"] | {"n": 40}
    return DatasetSpec.model_validate(CONFIG["datasets"][name] | {"genes": genes})


@pytest.mark.parametrize("name", PERTURBED)
def test_an_atlas_comes_through_a_busy_server_and_a_cut(name, tmp_path):
    content = screen(tmp_path / "made.h5ad", PERTURBED[name]).read_bytes()
    rest = {"tag": '"v1"'}
    with serving(content, {"status": 503}, {"cut": len(content) // 2, **rest}, rest) as server:
        noted = fetch(download(name, content, [address(server)]), name, tmp_path / "raw")
        assert [asked["range"] for asked in server.asked] == [None, None, f"bytes={len(content) // 2}-"]
    assert noted["resumed_at"] == [len(content) // 2]
    spec = dataset(name)
    prepared = preprocess(spec, name, tmp_path / "raw", root=1)
    assert len(prepared.genes) == 40 < GENES
    cells = prepared.cells
    assert set(cells["perturbation"]) == set(PERTURBED[name])
    assert set(cells["perturbation"][cells["source"] == "background"]) == {"control"}
    for (split, source), part in cells.groupby(["split", "source"]):
        assert prepared.arrays[f"x/{split}/{source}"].shape == (1, len(part), 40)
        assert prepared.arrays[f"x/{split}/{source}"].dtype == np.uint8
    if name == "norman2019":
        assert set(cells["label"]) == {"", *PROGRAMS}
        program = {"_".join(sorted(v.split("_"))): p for p, values in PROGRAMS.items() for v in values}
        for perturbation, label in set(zip(cells["perturbation"], cells["label"], strict=True)):
            assert program.get("_".join(sorted(perturbation.split("_"))), "") == label
    else:
        assert set(cells["label"]) == {""}


def test_the_second_address_is_asked_when_the_first_shows_a_page(tmp_path):
    name = "norman2019"
    assert len(CONFIG["downloads"][name]["urls"]) == 2
    content = screen(tmp_path / "made.h5ad", PERTURBED[name]).read_bytes()
    with serving(content, {"content": PAGE, "page": True}) as bad, serving(content) as good:
        fetch(download(name, content, [address(bad), address(good)]), name, tmp_path / "raw")
        assert (len(bad.asked), len(good.asked)) == (1, 1)
    assert (tmp_path / "raw").read_bytes() == content
