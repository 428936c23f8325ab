"""Each ``cdgm`` command writes what its help names; a mistake is one line and leaves no file."""

import json
import re
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import cdgm
from cdgm.claims.judge import CLAIM_COLUMNS
from cdgm.cli.datasets import as_anndata
from cdgm.cli.main import COMMANDS, main, parser
from tests.unit import small_cells
from tests.unit.test_pages import Page

ROOT = Path(__file__).parents[2]
QUICK = ["--max-steps", "30", "--members", "2", "--n-background", "3", "--n-salient", "3", "--map", "pca"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "cells.h5ad"
    adata = small_cells.cells(type=pd.Categorical(["x", "y"] * (small_cells.CELLS // 2)))
    adata.obs.loc["c3", "type"] = np.nan
    adata.obs["unset"] = pd.Categorical([None] * small_cells.CELLS, categories=["x"])
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def results(cells):
    out = cells.with_name("fit")
    main(["fit", *map(str, (cells, "--out", out, "--labels-key", "state")), *SOURCES, *QUICK])
    return out


SOURCES = ["--source-key", "condition", "--background", "ctrl"]


def stopped(capsys, *arguments: object) -> str:
    """The one line of a command that is refused."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_fit_writes_what_its_help_names(results, cells):
    page = Page((results / "report.html").read_text(encoding="utf-8"))
    assert {"figures/maps.png", "figures/training.png", "cells.h5ad", "stability.csv"} <= {
        *page.links,
        *page.pictures,
    }
    for link in (*page.links, *page.pictures):
        assert link.startswith("#") or (results / link).is_file(), link
    assert not list(cells.parent.glob(".*"))
    model = cdgm.ComparativeModel.load(results / "model", anndata.read_h5ad(cells))
    written = anndata.read_h5ad(results / "cells.h5ad")
    latents = pd.read_csv(results / "latents.csv")
    for block in ("background", "salient"):
        expected = model.get_latent_representation(block)
        np.testing.assert_array_equal(written.obsm[f"X_cdgm_{block}"], expected)
        columns = latents[[f"{block}_{i}" for i in range(3)]]
        np.testing.assert_allclose(columns, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(written.X.toarray(), small_cells.counts())
    assert list(latents["cell"]) == list(written.obs_names)
    assert list(latents["source"] == "background") == list(written.obs["condition"] == "ctrl")
    assert latents["held_out"].sum() == 16
    elbo = pd.read_csv(results / "elbo.csv")
    train = elbo.pop("elbo_train")
    pd.testing.assert_frame_equal(elbo, model.get_elbo(), rtol=1e-5)
    np.testing.assert_allclose(train, model.get_elbo("train", draws=1)["elbo"], rtol=1e-5)
    assert json.loads((results / "provenance.json").read_text())["spec"]["members"] == 2


def test_fit_of_arrays(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "two.npz", ill=rng.standard_normal((40, 6)), healthy=rng.standard_normal((50, 6)))
    out = tmp_path / "fit"
    wide = ["--decoder-hidden", "7", "5"]
    main(["fit", str(tmp_path / "two.npz"), "--background", "healthy", "--out", str(out), *QUICK, *wide])
    shown = capsys.readouterr().out
    assert "stability of the salient block" in shown
    assert f"results: {out}/report.html" in shown
    latents = pd.read_csv(out / "latents.csv")
    assert list(latents["source"].unique()) == ["healthy", "ill"]
    # What the salient block belongs to is not the background.
    spec = json.loads((out / "model" / "model.json").read_text())["spec"]
    assert spec["model"]["design"]["blocks"] == {"background": ["healthy", "ill"], "salient": ["ill"]}
    assert spec["model"]["likelihood"]["kind"] == "gaussian"
    assert spec["model"]["decoder_hidden"] == [7, 5]
    assert not (out / "cells.h5ad").exists()
    again = tmp_path / "again"
    main(
        [
            "evaluate",
            str(out),
            str(tmp_path / "two.npz"),
            "--split",
            "all",
            "--map",
            "pca",
            "--out",
            str(again),
        ]
    )
    assert "held_out" not in capsys.readouterr().out
    page = Page((again / "report.html").read_text(encoding="utf-8"))
    assert {"elbo.csv", "genes.csv", "figures/maps.png"} <= {*page.links, *page.pictures}
    for link in (*page.links, *page.pictures):
        assert link.startswith("#") or (again / link).is_file(), link


@pytest.mark.slow
def test_choose_writes_what_its_help_names(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "two.npz", ill=rng.standard_normal((40, 6)), healthy=rng.standard_normal((50, 6)))
    data = [str(tmp_path / "two.npz"), "--background", "healthy", "--members", "2", "--max-steps", "20"]
    sizes, level = tmp_path / "sizes", tmp_path / "level"
    main(["choose", "dims", *data, "--n-background", "2", "1", "--n-salient", "1", "--out", str(sizes)])
    shown = capsys.readouterr().out
    assert re.match(r"[12] background and 1 salient dimensions: members", shown)
    assert re.search(r"cdgm fit \.\.\. --n-background [12] --n-salient 1\n", shown)
    table = pd.read_csv(sizes / "dimensions.csv")
    assert list(table["n_background"]) == [2, 1]
    written = {file.name for file in sizes.iterdir() if not file.name.startswith(".")}
    assert written == {f"dimensions.{end}" for end in ("csv", "png", "pdf")}
    small = ["--n-background", "2", "--n-salient", "1", "--levels", "10"]
    main(["choose", "level", *data, *small, "--variant", "hsic-cvae", "--out", str(level)])
    assert "weight of hsic" in capsys.readouterr().out
    table = pd.read_csv(level / "level.csv")
    assert list(table["level"]) == [0, 10]
    # What it recommends can be fitted as it is.
    out = str(tmp_path / "fit")
    fit = ["fit", data[0], "--background", "healthy", "--variant", str(level / "variant.json"), "--out", out]
    main([*fit, *QUICK])
    spec = json.loads((tmp_path / "fit" / "model" / "model.json").read_text())["spec"]
    weights = [p["weight"] for p in spec["variant"].get("penalties", [])]
    assert weights == [w for w in table.loc[table["recommended"], "level"] if w]


def test_evaluate_scores_other_labels(results, cells, tmp_path, capsys):
    main(["evaluate", *map(str, (results, cells, "--labels-key", "type", "--out", tmp_path / "scores"))])
    assert "type in the salient block" in capsys.readouterr().out
    before, after = (pd.read_csv(f / "leakage.csv") for f in (results, tmp_path / "scores"))
    for metric, same in (("hsic", True), ("knn_accuracy", False)):
        values = [t.loc[t["metric"] == metric, "value"].to_numpy() for t in (before, after)]
        if same:
            np.testing.assert_array_equal(*values)
        else:
            # The new labels are of all cells, the old ones are told apart in the target alone.
            assert len(values[1]) > len(values[0])


@pytest.mark.slow
def test_plot_colours_by_any_column(results, cells, tmp_path, capsys):
    main(["plot", *map(str, (results, "--out", tmp_path / "a", "--map", "pca"))])
    again, first = pd.read_csv(tmp_path / "a" / "maps.csv"), pd.read_csv(results / "figures" / "maps.csv")
    # Read back from the table, which holds six digits.
    pd.testing.assert_frame_equal(again, first, rtol=1e-3, atol=1e-3)
    places = ("--data", cells, "--colour", "type", "--map", "pca", "--out", tmp_path / "b")
    main(["plot", *map(str, (results, *places))])
    maps = pd.read_csv(tmp_path / "b" / "maps.csv", keep_default_na=False)
    assert maps["label"].value_counts().to_dict() == {"x": 160, "y": 158, "": 2}
    assert (tmp_path / "b" / "maps.png").stat().st_size > 10_000


def test_claims_are_shown(tmp_path, capsys):
    row = dict.fromkeys(CLAIM_COLUMNS, "") | {
        "claim": "linear-is-recovered", "statement": "With linear mixing each block is recovered.",
        "condition": "recovery", "estimate": 0.97, "low": 0.96, "high": 0.98, "relation": "at_least",
        "value": 0.9, "n": 10, "verdict": "supported", "claim_verdict": "undecided",
    }  # fmt: skip
    few = row | {"condition": "few", "low": "", "high": "", "n": 3, "verdict": "undecided"}
    few |= {"reason": "fewer than five seeds", "alternative": "point=w=1"}
    pd.DataFrame([row, few]).to_csv(tmp_path / "claims.csv", index=False)
    main(["claims", "--results", str(tmp_path)])
    shown = capsys.readouterr().out
    assert re.match(r"undecided +linear-is-recovered\n +With linear mixing", shown)
    main(["claims", "--results", str(tmp_path), "--claim", "linear-is-recovered"])
    shown = capsys.readouterr().out
    assert shown.startswith("linear-is-recovered: undecided\n")
    assert "supported\n    median 0.97 [0.96, 0.98] over 10 seeds, wanted >= 0.9\n" in shown
    assert "few at point=w=1\n    undecided: fewer than five seeds\n    median 0.97 over 3 seeds" in shown
    assert "such as linear-is-recovered" in stopped(capsys, "claims", "--results", tmp_path, "--claim", "x")
    assert "run the workflow first" in stopped(capsys, "claims", "--results", tmp_path / "no")


def test_datasets_are_listed_and_prepared(capsys, tmp_path):
    main(["datasets"])
    assert "immune_spikein" in capsys.readouterr().out
    for wrong in (["get"], ["get", "none"], ["get", "immune_spikein"], ["list", "immune_spikein"]):
        assert "datasets" in stopped(capsys, "datasets", *wrong)
    bad = stopped(capsys, "datasets", "get", "immune_spikein", "--out", tmp_path / "x.csv")
    assert "x.csv" in bad
    assert ".h5ad" in bad


def test_a_prepared_data_set_keeps_its_cells():
    from cdgm.data.preprocess import Prepared

    arrays = {f"x/{split}/{s}": np.full((1, n, 2), i) for i, (split, s, n) in enumerate(PARTS)}
    table = [
        (f"{split}{s}{r}", split, s, r, f"l{i}") for i, (split, s, n) in enumerate(PARTS) for r in range(n)
    ]
    frame = pd.DataFrame(table, columns=["cell", "split", "source", "row", "label"])
    adata = as_anndata(Prepared(arrays, frame, pd.DataFrame({"gene": ["g", "h"]}), pd.DataFrame()))
    assert list(adata.var_names) == ["g", "h"]
    for i in range(len(PARTS)):
        assert (adata[adata.obs["label"] == f"l{i}"].X.toarray() == i).all()
    assert adata.n_obs == 7


@pytest.mark.parametrize(
    ("name", "ends"), [("kang2018", "label"), ("glioblastoma", "label --batch-key patient")]
)
def test_the_next_command_names_the_batches(name, ends, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("cdgm.data.fetch.fetch", lambda *_: None)
    monkeypatch.setattr("cdgm.data.preprocess.preprocess", lambda *_: None)
    monkeypatch.setattr("cdgm.cli.datasets.as_anndata", lambda _: small_cells.cells())
    out = tmp_path / "cells.h5ad"
    main(["datasets", "get", name, "--out", str(out)])
    command = capsys.readouterr().out.splitlines()[-1]
    assert command.endswith(f"--labels-key {ends} --out fit")
    parser().parse_args(command.split()[1:])


PARTS = [("train", "a", 2), ("train", "b", 3), ("test", "a", 1), ("test", "b", 1)]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["fit", "no.h5ad", *SOURCES, "--out", "OUT"], "no.h5ad: no such file"),
        (["fit", "CELLS", "--background", "ctrl", "--out", "OUT"], "--source-key: missing"),
        (["fit", "CELLS", "--source-key", "batch", "--background", "ctrl", "--out", "OUT"], "'batch'"),
        (["fit", "CELLS", *SOURCES[:3], "control", "--out", "OUT"], "'control'"),
        (["fit", "CELLS", *SOURCES, "--batch-key", "donor", "--out", "OUT"], "--batch-key: got 'donor'"),
        (
            ["fit", "CELLS", *SOURCES, "--categorical-covariate-key", "lane", "--out", "OUT"],
            "--categorical-covariate-key[0]: got 'lane'",
        ),
        (["fit", "CELLS", *SOURCES, "--encode-covariates", "--out", "OUT"], "--encode-covariates: is about"),
        (["fit", "NPZ", "--background", "a", "--batch-key", "b", "--out", "OUT"], "--batch-key: is about"),
        (["fit", "CELLS", *SOURCES, "--variant", "cva", "--out", "OUT"], "did you mean 'cvae'"),
        (["fit", "CELLS", *SOURCES, "--members", "0", "--out", "OUT"], "--members"),
        (["fit", "CELLS", *SOURCES, "--max-steps", "2", "--max-epochs", "2", "--out", "OUT"], "--max-epochs"),
        (["fit", "CELLS", *SOURCES], "--out"),
        (["fit", "CSV", *SOURCES, "--out", "OUT"], "expected a file .h5ad"),
        (["fit", "NPZ", *SOURCES, "--out", "OUT"], "--source-key: is about AnnData files"),
        (["fit", "NPZ", "--background", "c", "--out", "OUT"], "expected one of the arrays ['a', 'b']"),
        (["fit", "CELLS", *SOURCES, "--out", "CELLS"], "a folder to write to"),
        (["fit", "CELLS", *SOURCES, "--variant", "no.json", "--out", "OUT"], "no.json: cannot be read"),
        (["fit", "", *SOURCES, "--out", "OUT"], "DATA: got '', expected a path"),
        (
            ["fit", "https://x/cells.h5ad", *SOURCES, "--out", "OUT"],
            "got 'https://x/cells.h5ad', expected a path",
        ),
        (["fit", "CELLS", *SOURCES, "--out", ""], "--out: got '', expected a path"),
        (["fit", "CELLS", *SOURCES, "--layer", "raw", "--out", "OUT"], "--layer: got 'raw'"),
        (["fit", "CELLS", *SOURCES, "--labels-key", "unset", "--out", "OUT"], "obs['unset']: got 'no value"),
        (["choose"], "WHAT"),
        (["choose", "dims", "NPZ", "--background", "a", "--members", "1", "--out", "OUT"], "--members"),
        (
            ["choose", "dims", "NPZ", "--background", "a", "--n-salient", "2", "2", "--out", "OUT"],
            "--n-salient: got [2, 2]",
        ),
        (
            ["choose", "level", "NPZ", "--background", "a", "--variant", "cvae", "--out", "OUT"],
            "--variant: got",
        ),
        (
            ["choose", "level", "NPZ", "--background", "a", "--levels", "-1", "--out", "OUT"],
            "--levels: weight -1",
        ),
        (["evaluate", "NONE", "CELLS"], "holds no model"),
        (["plot", "NONE", "--out", "OUT"], "holds no model"),
        (["plot", "NONE", "--out", "OUT", "--colour", "x"], "together or not at all"),
        (["simulate"], "invalid choice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_one_line_and_leave_nothing(arguments, part, cells, tmp_path, capsys):
    (tmp_path / "bad.h5ad").write_bytes(b"no file of HDF5")
    (tmp_path / "table.csv").write_text("a,b\n")
    np.savez(tmp_path / "two.npz", a=np.eye(20), b=np.eye(20))
    names = {
        "CELLS": cells, "OUT": tmp_path / "out", "BAD": tmp_path / "bad.h5ad", "CSV": tmp_path / "table.csv",
        "NPZ": tmp_path / "two.npz", "NONE": tmp_path,
    }  # fmt: skip
    assert part in stopped(capsys, *(names.get(a, a) for a in arguments))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.h5ad", "table.csv", "two.npz"]


def test_results_are_not_overwritten_unasked(results, cells, capsys):
    before = {file: file.stat().st_mtime_ns for file in results.rglob("*")}
    line = stopped(capsys, "fit", cells, *SOURCES, "--out", results, *QUICK)
    assert "not empty" in line
    assert {file: file.stat().st_mtime_ns for file in results.rglob("*")} == before


def test_other_data_are_refused(results, cells, tmp_path, capsys):
    adata = anndata.read_h5ad(cells)
    adata[::-1].copy().write_h5ad(tmp_path / "turned.h5ad")
    assert "same rows and order" in stopped(capsys, "evaluate", results, tmp_path / "turned.h5ad")
    plot = ("plot", results, "--out", tmp_path / "x", "--data")
    assert "in their order" in stopped(capsys, *plot, tmp_path / "turned.h5ad", "--colour", "type")
    assert "one of ['condition', 'state', 'type', 'unset']" in stopped(
        capsys, *plot, cells, "--colour", "kind"
    )


def test_help_teaches_and_is_light():
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            parser().parse_args([name, "--help"])
    heavy = ["torch", "scanpy", "anndata", "sklearn", "scipy", "matplotlib", "pandas"]
    code = "import sys; from cdgm.cli.main import parser; parser(); "
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
    # Every example of the help is a command line that the parser takes.
    for module in (parser(), *(parser()._subparsers._group_actions[0].choices.values())):
        examples = re.findall(r"^  cdgm ([a-z].*?)(?:   .*)?$", module.epilog, re.MULTILINE)
        assert examples, module.prog
        for example in examples:
            parser().parse_args(example.split())
