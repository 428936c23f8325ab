"""The target ``atlas`` on small made files that look like the large ones: from download to figures."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

from tests.snakemake_runs import ROOT, command, copy_checkout, snakemake

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PROGRAMS = CONFIG["datasets"]["norman2019"]["reader"]["classes"]


def screen(path: Path, perturbations: list[str], cells: int = 420) -> Path:
    """Counts with one gene a perturbation that it changes, as CSR of single precision."""
    rng = np.random.default_rng(0)
    which = np.arange(cells) % len(perturbations)
    rate = np.full((cells, 60), 2.0)
    rate[np.arange(cells), which % 60] = 20.0
    obs = pd.DataFrame(
        {"perturbation": np.array(perturbations)[which]}, index=[f"c{i}" for i in range(cells)]
    )
    obs["perturbation"] = obs["perturbation"].astype("category")
    x = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    var = pd.DataFrame(index=[f"g{j}" for j in range(60)])
    anndata.AnnData(x, obs=obs, var=var).write_h5ad(path, compression="gzip")
    return path


def overlay(folder: Path) -> Path:
    """Both atlases from made files, on tiny settings."""
    # Pairs are named the other way round in the file than in the configuration.
    turned = ["_".join(reversed(value.split("_"))) for values in PROGRAMS.values() for value in values]
    files = {
        "norman2019": screen(folder / "norman.h5ad", ["control", "control", *turned]),
        "replogle2022_k562_essential": screen(folder / "replogle.h5ad", ["control", "A", "B", "C"]),
    }
    tiny = {"steps": 30, "batch_size": 16, "log_every": 10}
    study = {"seeds": {"count": 1}, "settings": {}}
    content = {
        "downloads": {
            name: {"kind": "local", "path": str(path), "filename": path.name} for name, path in files.items()
        },
        "datasets": {
            name: {"genes": {"kind": "pearson_residuals", "n": 40, "theta": 100}, "held_out": 0.2}
            for name in files
        },
        "protocols": {"cells": {"evaluation": {"elbo_draws": 1, "null_draws": 10}}},
        "studies": {
            "norman2019": study | {"settings": {"norman2019": {"training": tiny}}},
            "replogle2022": study | {"settings": {"replogle2022_k562_essential": {"training": tiny}}},
        },
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "overlay.yaml"


@pytest.mark.slow
def test_both_atlases_run_from_a_file_to_figures(tmp_path):
    checkout, run = copy_checkout(tmp_path / "checkout"), tmp_path / "run"
    done = snakemake(checkout, run, "--cores", 2, "atlas", overlay=overlay(tmp_path))
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
    noted = json.loads((results / "downloads/norman2019/provenance.json").read_text(encoding="utf-8"))
    assert noted["fetched"]["path"].endswith("norman.h5ad")


def test_the_benchmark_of_memory_runs():
    words = ["--cells", 500, 1000, "--genes", 200, "--selected", 50, "--steps", 20]
    done = command("python", ROOT / "benchmarks" / "memory.py", *words, cwd=ROOT)
    assert done.code == 0, done.err
    rows = [line.split("|")[1:-1] for line in done.out.splitlines()[2:]]
    assert [row[0].strip() for row in rows] == ["500", "1,000"]
    assert all(float(row[2].replace(",", "")) > 50 for row in rows)
