"""The wheel holds all that a user needs: it is built, installed away from the sources and tried there.

What only the workflow imports is hidden, as it would be missing after ``pip install cdgm``.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Distributions of the extra `workflow`, by the names that they are imported by.
WORKFLOW_ONLY = ("snakemake", "pyarrow", "rdata", "docutils")

# Made-up counts of two sources, three marker genes up in the target.
CELLS = """
import anndata, numpy as np, pandas as pd
rng = np.random.default_rng(0)
counts = rng.poisson(3.0, (120, 20)); counts[60:, :3] += rng.poisson(6.0, (60, 3))
obs = pd.DataFrame({"condition": ["ctrl"] * 60 + ["drug"] * 60}, index=[f"cell{i}" for i in range(120)])
genes = pd.DataFrame(index=[f"gene{i}" for i in range(20)])
anndata.AnnData(counts.astype("float32"), obs, genes).write_h5ad("cells.h5ad")
"""
FIT = ["fit", "cells.h5ad", "--source-key", "condition", "--background", "ctrl", "--n-background", "2"]
FIT += ["--n-salient", "2", "--members", "2", "--max-steps", "10", "--map", "pca", "--out", "fit"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "cdgm", folder / "cdgm", ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        folder / "dist",
        folder,
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = (folder / "dist").glob("cdgm-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the unpacked wheel and stand-ins that refuse what only the workflow has."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for name in WORKFLOW_ONLY:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here', name={name!r})\n")
    return folder


def run(installed: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_every_file_of_the_package(wheel: Path):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("cdgm/")}
    here = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cdgm").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == here


def test_a_fit_needs_neither_the_sources_nor_the_workflow(installed: Path, tmp_path: Path):
    assert Path(sysconfig.get_paths()["purelib"]) not in installed.parents
    made = run(installed, tmp_path, "-c", CELLS)
    assert made.returncode == 0, made.stderr
    where = run(installed, tmp_path, "-c", "import cdgm; print(cdgm.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(installed)
    fitted = run(installed, tmp_path, "-m", "cdgm", *FIT)
    assert fitted.returncode == 0, fitted.stderr
    assert "<html" in (tmp_path / "fit" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "fit" / "cells.h5ad").stat().st_size > 0
