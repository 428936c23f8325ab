"""A data file that breaks what fits rely on gives one line that names the array and the entry."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cdgm.data.bundle import read_bundle
from cdgm.utils.files import write_npz
from tests.unit.data_helpers import refused


def simulated() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {"seeds": np.array([0, 1])}
    for split, points in (("train", 6), ("test", 4)):
        for source, blocks in (("left", {"shared": 3}), ("right", {"shared": 3, "own": 2})):
            arrays[f"x/{split}/{source}"] = rng.normal(size=(2, points, 5)).astype(np.float32)
            for block, dims in blocks.items():
                arrays[f"truth/{split}/{source}/{block}"] = rng.normal(size=(2, points, dims)).astype(
                    np.float32
                )
    return arrays


def counted() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = [f"x/{split}/{source}" for split in ("train", "test") for source in ("left", "right")]
    return {name: rng.poisson(3, (1, 5, 4)).astype(np.uint8) for name in names}


def stored(tmp_path: Path, arrays: dict[str, np.ndarray], **changes: np.ndarray | None) -> Path:
    arrays = {name: value for name, value in (arrays | changes).items() if value is not None}
    path = tmp_path / "data.npz"
    write_npz(path, arrays)
    return path


def test_a_simulation_comes_back(tmp_path):
    arrays = simulated()
    bundle = read_bundle(stored(tmp_path, arrays))
    assert (bundle.replicates, bundle.features, bundle.sources) == (2, 5, ("left", "right"))
    np.testing.assert_array_equal(bundle.x["test"]["left"], arrays["x/test/left"])
    np.testing.assert_array_equal(bundle.truth["train"]["right"]["own"], arrays["truth/train/right/own"])
    assert set(bundle.truth["train"]["left"]) == {"shared"}
    np.testing.assert_array_equal(bundle.seeds, [0, 1])


def spoiled(name: str, value: float) -> np.ndarray:
    values = simulated()[name].copy()
    values[1, 2, 0] = value
    return values


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"x/train/left": spoiled("x/train/left", np.nan)}, ["x/train/left[1, 2, 0]", "nan", "finite"]),
        ({"x/train/left": np.zeros((2, 0, 5))}, ["x/train/left", "0 points", "at least 2"]),
        ({"x/train/left": np.zeros((2, 6))}, ["x/train/left", "(2, 6)", "(replicates, points, features)"]),
        ({"x/train/left": np.zeros((2, 6, 4))}, ["replicates and features", "(2, 4)", "(2, 5)"]),
        ({"x/train/left": np.full((2, 6, 5), "a")}, ["x/train/left", "numbers"]),
        ({"x/test/left": None}, ["x/test", "['right']", "['left', 'right']"]),
        ({"truth/test/right/own": np.zeros((2, 3, 2))}, ["truth/test/right/own", "(2, 3, 2)"]),
        ({"truth/test/up/own": np.zeros((2, 4, 2))}, ["truth/test/up", "'left', 'right'"]),
        ({"seeds": np.array([0, 1, 2])}, ["seeds", "2 replicates"]),
        ({"y/train/left": np.zeros(3)}, ["y/train/left", "x/<split>/<source>"]),
    ],
)
def test_what_breaks_it_is_named(tmp_path, changes, parts):
    path = stored(tmp_path, simulated(), **changes)
    refused(lambda: read_bundle(path), path, *parts)


@pytest.mark.parametrize(("value", "parts"), [(-1.0, ["-1.0", "not negative"]), (0.5, ["0.5", "integer"])])
def test_values_that_are_no_counts_are_refused_where_counts_are_needed(tmp_path, value, parts):
    values = counted()["x/test/left"].astype(np.float32)
    values[0, 3, 1] = value
    path = stored(tmp_path, counted(), **{"x/test/left": values})
    refused(lambda: read_bundle(path, support="counts"), path, "x/test/left[0, 3, 1]", *parts)
    read_bundle(path)  # fine for a Gaussian


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_binary_values_are_required_where_needed(tmp_path, dtype):
    arrays = {name: (x > 2).astype(dtype) for name, x in counted().items()}
    for support in ("real", "counts", "binary"):
        read_bundle(stored(tmp_path, arrays), support=support)
    arrays["x/test/left"][0, 3, 1] = 2
    path = stored(tmp_path, arrays)
    refused(lambda: read_bundle(path, support="binary"), path, "x/test/left[0, 3, 1]", "2", "0 or 1")
    read_bundle(path, support="counts")


def test_files_that_are_no_bundle_are_named(tmp_path):
    refused(lambda: read_bundle(tmp_path / "none.npz"), "none.npz", "no such file")
    (tmp_path / "page.npz").write_text("<html>")
    refused(lambda: read_bundle(tmp_path / "page.npz"), "page.npz")
    good = stored(tmp_path, counted())
    (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:400])
    refused(lambda: read_bundle(tmp_path / "cut.npz"), "cut.npz")
    write_npz(tmp_path / "empty.npz", {})
    refused(lambda: read_bundle(tmp_path / "empty.npz"), "empty.npz", "x/train/<source>")


def test_config_and_bundle_stay_light():
    """The config is loaded by every job, the bundle by every fit: neither may pull in heavy libraries."""
    heavy = ("torch", "scanpy", "anndata", "sklearn", "pandas", "scipy", "h5py", "rdata", "requests", "pooch")
    code = (
        "import sys, cdgm.data.bundle, cdgm.config.dataset\n"
        "from cdgm.data.downloads import DOWNLOADS\n"
        "from cdgm.data.gene_selection import GENES\n"
        "from cdgm.data.readers import READERS\n"
        "[registry.load(kind) for registry in (DOWNLOADS, GENES, READERS) for kind in registry]\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
