"""The target ``atlas`` on small made files that look like the large ones: from a web server to figures."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.snakemake_runs import copy_checkout, snakemake
from tests.unit.file_server import PAGE, address, serving
from tests.unit.screens import screen
from tests.unit.test_data_atlas import CONFIG, PERTURBED, PROGRAMS


def entry(name: str, content: bytes, *addresses: str) -> dict:
    """The configuration's entry of a download, for a file that a server here has."""
    own = {"urls": list(addresses), "size": len(content), "md5": hashlib.md5(content).hexdigest()}
    return CONFIG["downloads"][name] | own


def overlay(folder: Path, downloads: dict[str, dict]) -> Path:
    """Both atlases from a server here, on tiny settings."""
    tiny = {"steps": 30, "batch_size": 16, "log_every": 10}
    study = {"seeds": {"count": 1}, "settings": {}}
    content = {
        "downloads": downloads,
        "datasets": {
            name: {"genes": {"kind": "pearson_residuals", "n": 40, "theta": 100}, "held_out": 0.2}
            for name in downloads
        },
        "protocols": {"cells": {"evaluation": {"elbo_draws": 1, "null_draws": 10}}},
        "studies": {
            "norman2019": study | {"settings": {"norman2019": {"training": tiny}}},
            "replogle2022": study | {"settings": {"replogle2022_k562_essential": {"training": tiny}}},
        },
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "overlay.yaml"


@pytest.mark.soak
def test_both_atlases_run_from_a_server_that_misbehaves_to_figures(tmp_path):
    checkout, run = copy_checkout(tmp_path / "checkout"), tmp_path / "run"
    norman, replogle = "norman2019", "replogle2022_k562_essential"
    files = {name: screen(tmp_path / f"{name}.h5ad", PERTURBED[name]).read_bytes() for name in PERTURBED}
    cut, rest = len(files[norman]) // 3, {"tag": '"v1"'}
    with (
        serving(files[norman], {"status": 503}, {"cut": cut, **rest}, rest) as busy,
        serving(files[replogle], {"content": PAGE, "page": True}) as page,
        serving(files[replogle]) as good,
    ):
        downloads = {
            norman: entry(norman, files[norman], address(busy)),
            replogle: entry(replogle, files[replogle], address(page), address(good)),
        }
        done = snakemake(
            checkout, run, "--cores", 2, "atlas",
            overlay=overlay(tmp_path, downloads), environment={"NO_PROXY": "*", "CDGM_DATA_MIRROR": ""},
        )  # fmt: skip
    assert done.code == 0, done.out + done.err
    results = run / "results"
    for figure in ("norman2019/cells", "norman2019/training", "replogle2022/training"):
        assert (results / f"figures/{figure}.png").is_file()
    cells = pd.read_csv(results / "data/norman2019/cells.csv", keep_default_na=False)
    assert set(cells["label"]) == {"", *PROGRAMS}
    labelled = cells.loc[cells["label"] != "", ["perturbation", "label"]].drop_duplicates()
    for perturbation, label in labelled.itertuples(index=False):
        assert "_".join(sorted(perturbation.split("_"))) in PROGRAMS[label]
    assert set(cells["label"][cells["source"] == "background"]) == {""}
    scores = pd.read_csv(results / "tables/norman2019.csv")
    assert scores.loc[scores["metric"] == "knn_accuracy", "value"].between(0, 1).all()
    unlabelled = pd.read_csv(results / "tables/replogle2022.csv")
    assert "knn_accuracy" not in set(unlabelled["metric"])
    assert "source_separation" in set(unlabelled["metric"])
    noted = {
        name: json.loads((results / f"downloads/{name}/provenance.json").read_text(encoding="utf-8"))[
            "fetched"
        ]
        for name in files
    }
    assert (noted[norman]["url"], noted[norman]["resumed_at"]) == (address(busy), [cut])
    assert noted[replogle]["url"] == address(good)
