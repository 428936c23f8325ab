"""The examples of docs/own_data.md run, and the page names every column, variant and number of the code."""

import shlex

import anndata
import numpy as np
import pytest

import cdgm
from cdgm.cli.main import main
from cdgm.estimator import genes, interpretation, leakage, scores, specification, split
from cdgm.estimator.defaults import defaults
from cdgm.estimator.selection import dimensions, level
from tests.guide import DOCS, fences
from tests.unit import small_cells

PAGE = (DOCS / "own_data.md").read_text(encoding="utf-8")
BLOCKS = fences(DOCS / "own_data.md")
INSTALL = ("sh", "pip install .\n")


def test_every_block_is_run_by_the_test_below():
    assert {language for language, _ in BLOCKS} == {"python", "sh"}
    assert BLOCKS.count(INSTALL) == 1


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    """In the order of the page, in one folder, with fewer steps."""
    monkeypatch.chdir(tmp_path)
    kinds = np.resize(["B", "T"], small_cells.CELLS)
    small_cells.cells(cell_type=kinds, batch=kinds[::-1]).write_h5ad("cells.h5ad")
    small_cells.train_briefly(monkeypatch)
    names: dict = {}
    for language, text in BLOCKS:
        if (language, text) == INSTALL:
            continue
        if language == "python":
            exec(compile(text, "docs/own_data.md", "exec"), names)
        elif language == "sh":
            if "arrays.npz" in text:
                np.savez("arrays.npz", **names["arrays"])
            for line in text.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line)
                assert program == "cdgm"
                main([*arguments, "--map", "pca"] if arguments[0] in ("fit", "plot") else arguments)
    shown = capsys.readouterr().out
    assert "batch in the background block" in shown
    assert (tmp_path / "fit_arrays" / "report.html").is_file()
    assert (tmp_path / "figures" / "maps.png").is_file()
    assert (tmp_path / "dimensions.png").is_file()
    assert set(anndata.read_h5ad("annotated.h5ad").obsm) >= {"X_background", "X_cdgm_salient"}
    assert names["salient"].shape == (1000, 2)
    assert set(names["model"].model_spec.design.blocks) == {"shared", "own"}


def test_every_column_and_variant_is_explained():
    model = small_cells.trained(steps=2)
    # Columns that only identify a row need no words.
    plain = {"member", "seed", "finite", "source", "rows", "block", "metric", "value", "member_a", "member_b"}
    columns = {*scores.LEAKAGE_COLUMNS, *scores.STABILITY_COLUMNS, *dimensions.COLUMNS, *level.COLUMNS}
    columns |= {*model.get_elbo(), "elbo_train", *model.rank_genes()} - {"gene"}
    columns |= {*model.differential_expression(n_samples=2)} - {"gene"}
    columns -= plain
    named = {*columns, *cdgm.ComparativeModel.variants(), *leakage.MIXING, "hsic", "knn_accuracy"}
    assert sorted(name for name in named if f"`{name}`" not in PAGE) == []


@pytest.mark.parametrize(
    "text",
    [
        f"at least {interpretation.AGREE}",
        f"fewer than {split.FEWEST_ROWS} rows",
        f"each source has {split.ENOUGH_HELD_OUT} of them",
        f"more than {genes.MOST_UNASKED:,} genes",
        "From 5,000 training rows",
        "3,000 steps",
    ],
)
def test_numbers_of_the_page_are_those_of_the_code(text):
    assert specification.MANY == 5_000
    assert defaults()["cells"]["training"]["steps"] == 3_000
    assert text in " ".join(PAGE.split())
