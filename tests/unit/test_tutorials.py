"""The tutorials run from top to bottom, with few steps and cells; their conclusions quote what they print."""

import os
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
import yaml

import cdgm
from cdgm.data.downloads import DOWNLOADS
from cdgm.data.fetch import find_in_mirror
from cdgm.estimator.selection import sweep
from docs.figures import tutorials
from tests.guide import DOCS, ROOT
from tests.unit import small_cells

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
#: Page to the data set that it fetches, and the share of its cells to use (one of so many).
PAGES = {"kang2018.md": ("kang2018", 4), "glioblastoma.md": ("glioblastoma", 12)}
STEPS = 20


def page_of(name: str) -> Path:
    return DOCS / "tutorials" / name


def test_every_tutorial_is_run():
    assert {page.name for page in (DOCS / "tutorials").glob("*.md")} == set(PAGES)


def in_mirror(download: str) -> bool:
    """Whether the file of a download is in the folder of the mirror, if there is one."""
    found = find_in_mirror(DOWNLOADS.parse(CONFIG["downloads"][download]))
    return found is not None


def made_up(name: str):
    """Cells with the columns of a data set."""
    cells = 2 * small_cells.CELLS  # early stopping sets ten cells of a source aside
    half = np.arange(cells) < cells // 2
    kinds = ["CD14+ Monocytes", "B cells", "CD4 T cells"]
    donors = np.resize(["101", "107"], cells)
    columns = {
        "kang2018": {
            "cell_type": np.resize(kinds, cells),
            "sample": np.char.add(np.where(half, "ctrl", "stim"), donors),
        },
        "glioblastoma": {"patient": np.resize([f"PW03{i}" for i in range(5)], cells)},
    }[name]
    x = sp.csr_matrix(small_cells.counts(cells=cells).astype(np.float32))
    return small_cells.cells(x, source=np.where(half, "background", "target"), **columns)


@pytest.fixture
def quick(monkeypatch):
    """Few steps, permutations and cells, and maps without UMAP, which compiles for a long time."""
    real_train, real_get = cdgm.ComparativeModel.train, tutorials.cdgm_main

    def train(self, max_steps, *rest, **options):
        assert max_steps > STEPS
        self.protocol = self.protocol | {"evaluation": {"elbo_draws": 1, "null_draws": 20}}
        real_train(self, STEPS, *rest, **options)

    def umap(cells, neighbors_key, key_added):
        assert neighbors_key in cells.uns
        cells.obsm[key_added] = np.asarray(cells.obsm[cells.uns[neighbors_key]["params"]["use_rep"]])[:, :2]

    monkeypatch.setattr(cdgm.ComparativeModel, "train", train)
    monkeypatch.setattr(sweep, "NULL_DRAWS", 5)
    monkeypatch.setattr("cdgm.figures.fit_report.layout", lambda points, seed: points[:, :2])
    monkeypatch.setattr(sc.tl, "umap", umap)

    def get(share):
        def command(arguments):
            if arguments[:2] != ["datasets", "get"]:
                real_get(arguments)
                return
            name, out = arguments[2], arguments[4]
            if os.environ.get("CDGM_DATA_MIRROR") and in_mirror(name):
                real_get(arguments)
                import anndata

                whole = anndata.read_h5ad(out)
                whole[::share].copy().write_h5ad(out)
            else:
                made_up(name).write_h5ad(out)
                print(out)

        monkeypatch.setattr(tutorials, "cdgm_main", command)

    return get


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::(anndata|scanpy|seaborn|umap|sklearn|numba)")
@pytest.mark.parametrize("name", PAGES)
def test_a_tutorial_runs(name, tmp_path, quick):
    """On its own cells where the mirror has them, else on cells that were made up."""
    quick(PAGES[name][1])
    names: dict = {}
    found = tutorials.cells(page_of(name).read_text(encoding="utf-8"))
    with tutorials.notebook(tmp_path):
        for cell in found:
            printed = tutorials.execute(cell, names, name)
            # A block prints if and only if the page shows it; commands always say something.
            assert bool(printed) == (cell.printed is not None) or cell.language == "sh", cell.code
            if cell.language == "python":
                assert len(plt.get_fignums()) == len(cell.pictures), cell.code
        assert sum(len(cell.pictures) for cell in found) > 1
        assert (tmp_path / "fit" / "report.html").is_file()
    assert names["model"].is_trained


def conclusions(name: str) -> str:
    return page_of(name).read_text(encoding="utf-8").split("## What you may conclude")[1]


@pytest.mark.parametrize("name", PAGES)
def test_conclusions_quote_what_the_page_prints(name):
    text = page_of(name).read_text(encoding="utf-8")
    shown = " ".join(text[slice(*cell.printed)] for cell in tutorials.cells(text) if cell.printed)
    printed = [float(number) for number in re.findall(r"-?\d+\.\d+", shown)]
    quoted = re.findall(r"-?\d+\.\d+", conclusions(name))
    assert len(quoted) > 3
    for number in quoted:
        digits = len(number.partition(".")[2])
        assert any(f"{value:.{digits}f}" == number for value in printed), number


@pytest.mark.parametrize("name", PAGES)
def test_pictures_of_the_tutorials_are_small(name):
    found = tutorials.cells(page_of(name).read_text(encoding="utf-8"))
    for picture in (picture for cell in found for picture in cell.pictures):
        assert (page_of(name).parent / picture).stat().st_size < 150_000, picture
