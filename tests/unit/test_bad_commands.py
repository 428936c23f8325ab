"""What a user may type or hand to ``cdgm``: one line in terms of the command, and no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdgm.claims.judge import CLAIM_COLUMNS
from cdgm.cli.main import main
from cdgm.data.downloads import DOWNLOADS
from tests.unit import small_cells

LONG = "a" * 300
FIT = ["--background", "a", "--variant", "cvae", "--n-background", "2", "--n-salient", "2", "--map", "pca"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of all kinds, and the results of a fit."""
    root = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    good = {source: rng.normal(size=(40, 4)) for source in "ab"}
    np.savez(root / "ok.npz", **good)
    np.savez(root / "nan.npz", a=good["a"], b=np.where(np.eye(40, 4) == 1, np.nan, good["b"]))
    np.savez(root / "few.npz", a=good["a"], b=good["b"][:5])
    np.savez(root / "other.npz", a=good["a"], b=good["b"][::-1])
    np.savez(root / "outlier.npz", a=good["a"], b=np.where(np.eye(40, 4) == 1, 1e30, good["b"]))
    (root / "v.json").write_text(json.dumps({"combiner": {"kind": "sum"}, "penaltis": []}))
    (root / "d.h5ad").mkdir()
    (root / "loop.h5ad").symlink_to("loop.h5ad")
    cells = small_cells.cells(small_cells.counts().astype(np.float32))
    cells.X[3, 2] = np.nan
    cells.write_h5ad(root / "nan.h5ad")
    main(["fit", str(root / "ok.npz"), *FIT, "--max-steps", "3", "--out", str(root / "results")])
    return root


def line(capsys, *arguments: object) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    *before, last = shown.err.splitlines()
    assert all(text.startswith("ComparativeModel(") for text in before), shown.err
    return last


CALLS = {
    "nan in an array": (["fit", "nan.npz", *FIT], "nan.npz: b, row 0, feature 0: got nan"),
    "nan in cells": (
        ["fit", "nan.h5ad", "--source-key", "condition", "--background", "ctrl"],
        "nan.h5ad: X in cell 'c3', gene 'g2': got nan",
    ),
    "few rows": (["fit", "few.npz", *FIT], "few.npz: source 'b': got 5 rows"),
    "digits that are lost": (["fit", "outlier.npz", *FIT], "outlier.npz: feature 'feature0': got"),
    "a variant with a mistake": (["fit", "ok.npz", *FIT, "--variant", "v.json"], "v.json: pen"),
    "early stopping on few rows": (["fit", "ok.npz", *FIT, "--early-stopping"], "--early-stopping: got 0.1"),
    "a large batch": (["fit", "ok.npz", *FIT, "--batch-size", "1000000000000"], "--batch-size: got 1000"),
    "endless epochs": (["fit", "ok.npz", *FIT, "--max-epochs", "inf"], "--max-epochs: got inf"),
    "many epochs": (["fit", "ok.npz", *FIT, "--max-epochs", "1e300"], "--max-epochs: got 1e+300"),
    "many members": (["fit", "ok.npz", *FIT, "--members", "9" * 20], "--members: got 9999"),
    "many dimensions": (["fit", "ok.npz", *FIT, "--n-salient", "1000000000"], "--n-salient: got 1"),
    "a large seed": (["fit", "ok.npz", *FIT, "--seed", "9" * 30], "--seed: got 9999"),
    "no share": (["fit", "ok.npz", *FIT, "--held-out", "2"], "--held-out: got 2.0"),
    "no rate": (["fit", "ok.npz", *FIT, "--learning-rate", "0"], "--learning-rate: got 0.0"),
    "a folder for a file": (["fit", "d.h5ad", *FIT], "d.h5ad: not a file"),
    "a loop for a file": (["fit", "loop.h5ad", *FIT], "loop.h5ad: not a file"),
    "a long name of a file": (["fit", f"{LONG}.h5ad", *FIT], f"{LONG}.h5ad: no such file"),
    "a long name of results": (["evaluate", LONG, "ok.npz"], f"{LONG}: holds no model"),
    "a long name to draw": (["plot", LONG], f"{LONG}: holds no model"),
    "other values": (["evaluate", "results", "other.npz"], "other names, values or another order of rows"),
    "--overwrite of nothing": (["evaluate", "results", "ok.npz", "--overwrite"], "--overwrite"),
}  # fmt: skip


@pytest.mark.parametrize("what", CALLS)
def test_a_mistake_is_told_by_its_file_or_option(what, folder, tmp_path, monkeypatch, capsys):
    arguments, start = CALLS[what]
    monkeypatch.chdir(folder)
    out = ["--out", tmp_path / "out"] if arguments[0] in ("fit", "plot") else []
    shown = line(capsys, *arguments, *out)
    assert start in shown
    if not what.startswith("other"):
        assert shown.startswith(f"error: {start}")
    assert list(tmp_path.iterdir()) == []


def test_names_that_a_disk_does_not_take_are_told(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert "File name too long" in line(capsys, "fit", "ok.npz", *FIT, "--out", tmp_path / LONG)
    out = tmp_path / f"{LONG}.h5ad"
    assert "File name too long" in line(capsys, "datasets", "get", "immune_spikein", "--out", out)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_overwrites_no_file(tmp_path, capsys):
    (tmp_path / "mine.h5ad").write_text("of the user")
    (tmp_path / "link.h5ad").symlink_to("later.h5ad")
    for name in ("mine.h5ad", "link.h5ad"):
        shown = line(capsys, "datasets", "get", "immune_spikein", "--out", tmp_path / name)
        assert f"{name} exists" in shown
    assert (tmp_path / "mine.h5ad").read_text() == "of the user"


TABLES = {
    "text": (lambda t: t.assign(background_0="x"), "background_0: got 'x', expected finite numbers"),
    "switches": (lambda t: t.assign(background_0=True), "background_0: got True"),
    "infinity": (lambda t: t.assign(salient_1=np.inf), "salient_1: got inf"),
    "nothing": (lambda t: t.assign(salient_1=np.nan), "salient_1: got ''"),
    "no rows": (lambda t: t[:0], "has no rows"),
    "another source": (lambda t: t.assign(source="c"), "source: got 'c', expected one of ['a', 'b']"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_damaged_table_is_not_drawn(what, folder, tmp_path, capsys):
    change, part = TABLES[what]
    results = tmp_path / "results"
    results.mkdir()
    (results / "model").symlink_to(folder / "results" / "model")
    table = pd.read_csv(folder / "results" / "latents.csv", keep_default_na=False)
    change(table).to_csv(results / "latents.csv", index=False)
    assert f"latents.csv: {part}" in line(capsys, "plot", results, "--out", tmp_path / "out")


def test_a_folder_of_the_name_of_a_table_is_told(folder, tmp_path, capsys):
    (tmp_path / "results" / "latents.csv").mkdir(parents=True)
    (tmp_path / "results" / "model").symlink_to(folder / "results" / "model")
    shown = line(capsys, "plot", tmp_path / "results", "--out", tmp_path / "out")
    assert "latents.csv: not a readable table" in shown


ROW = dict.fromkeys(CLAIM_COLUMNS, "") | {
    "claim": "c", "statement": "It is so.", "condition": "x", "estimate": 1.0, "relation": "at_least",
    "value": 0.5, "n": 10, "verdict": "supported", "claim_verdict": "supported",
}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([], "has no rows"),
        ([dict.fromkeys(CLAIM_COLUMNS, "")], "claim: got ''"),
        ([ROW | {"statement": " "}], "statement: got ''"),
        ([ROW | {"estimate": "many"}], "estimate: got 'many', expected a number"),
        ([ROW | {"low": "inf"}], "low: got 'inf'"),
        ([ROW | {"claim_verdict": "PROVED"}], "claim_verdict of c: got ['PROVED'], expected one verdict"),
        ([ROW, ROW | {"claim_verdict": "undecided"}], "claim_verdict of c: got ['supported', 'und"),
    ],
)
def test_a_damaged_table_of_claims_is_refused(rows, part, tmp_path, capsys):
    pd.DataFrame(rows, columns=list(CLAIM_COLUMNS)).to_csv(tmp_path / "claims.csv", index=False)
    assert part in line(capsys, "claims", "--results", tmp_path)


def test_claims_are_shown_as_text_whatever_they_hold(tmp_path, capsys):
    row = ROW | {"statement": 3, "note": "\x1b[2Jgone"}
    pd.DataFrame([row]).to_csv(tmp_path / "claims.csv", index=False)
    main(["claims", "--results", str(tmp_path)])
    main(["claims", "--results", str(tmp_path), "--claim", "c"])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[2Jgone" in shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_the_end_of_the_output_is_quiet_or_one_line():
    command = [sys.executable, "-m", "cdgm", "datasets"]
    for reader in ("true", "head -1"):
        done = subprocess.run(f"{' '.join(command)} | {reader}", shell=True, capture_output=True, text=True)
        assert done.stderr == ""
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(f"{' '.join(command)} {closed}", shell=True, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "local", "path": "/data/{sample}.h5ad"},
        {"kind": "local", "path": "a" * 5_000},
        {"kind": "https", "urls": ["https://x:99999999/y"], "size": 1, "sha256": "0" * 64, "licence": "MIT"},
    ],
    ids=["a wildcard", "a long path", "no port"],
)
def test_downloads_that_cannot_be_are_refused_early(values):
    with pytest.raises(ValueError, match=r"path|web address"):
        DOWNLOADS.parse({"filename": "x"} | values)


def test_a_backend_of_the_user_does_not_matter():
    code = "import cdgm.cli.main, matplotlib; print(matplotlib.get_backend().lower())"
    environment = os.environ | {"MPLBACKEND": "nonsense"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "agg\n"


@pytest.mark.parametrize("text", ["1_0", "١٠", "1e3", "0x2", "", "9" * 5000])
def test_numbers_are_written_in_plain_digits(folder, capsys, text):
    found = line(capsys, "fit", folder / "ok.npz", *FIT, "--members", text, "--out", folder / "none")
    assert "--members" in found
    assert "expected a whole number of at least 1" in found
    assert not (folder / "none").exists()
