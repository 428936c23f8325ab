"""Files and names from elsewhere that are made to do harm: one line each, and nothing happens."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from cdgm.config import parse_config
from cdgm.data.bundle import read_bundle
from cdgm.data.readers import READERS, _rda
from cdgm.data.readers.sceptre_rda import _matrix
from cdgm.files import read_npz
from cdgm.overlays import merge
from tests.unit.data_helpers import refused

ROOT = Path(__file__).parents[2]
PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}

# R data


@pytest.fixture(scope="module")
def rda(tmp_path_factory) -> bytes:
    """A real R file, not packed, with one vector of 1,000 numbers."""
    import rdata

    path = tmp_path_factory.mktemp("rda") / "toy.rda"
    rdata.write_rda(path, {"toy": np.arange(1000.0)}, compression="gzip")
    return gzip.decompress(path.read_bytes())


def load(folder, content):
    path = folder / "screen.rda"
    path.write_bytes(content)
    return _rda.load_rda(path)


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_packed_files_are_read(rda, tmp_path, pack):
    np.testing.assert_array_equal(load(tmp_path, pack(rda))["toy"], np.arange(1000.0))
    np.testing.assert_array_equal(load(tmp_path, rda)["toy"], np.arange(1000.0))


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_truncated_file_is_one_line(rda, tmp_path, pack):
    packed = pack(rda + np.random.default_rng(0).bytes(5000))
    for length in (30, len(packed) // 2, len(packed) - 1):
        refused(lambda n=length: load(tmp_path, packed[:n]), "screen.rda", "not a readable R data")
    refused(lambda: load(tmp_path, rda[:500]), "screen.rda", "not a readable R data")


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(_rda, "ALWAYS_ALLOWED_BYTES", 1 << 16)
    bomb = pack(bytes(1 << 25))
    message = refused(lambda: load(tmp_path, bomb), "screen.rda", "unpacked bytes", f"{len(bomb)} bytes")
    assert f"more than {(1 << 16) + 200 * len(bomb)}" in message


def test_a_bomb_within_a_packed_file_is_not_unpacked(tmp_path):
    refused(lambda: load(tmp_path, gzip.compress(gzip.compress(bytes(1 << 20)))), "packed twice")


@pytest.mark.parametrize("length", [2**31 - 1, 5000, -7])
def test_a_vector_that_declares_more_than_there_is(rda, tmp_path, length):
    before = struct.pack(">i", 1000)
    assert rda.count(before) == 1
    refused(
        lambda: load(tmp_path, rda.replace(before, struct.pack(">i", length))),
        "screen.rda",
        "not a readable R data",
    )


def matrix(**changes):
    parts = {
        "i": np.array([0, 1]), "j": np.array([2, 0]), "x": np.array([1.0, 2.0]),
        "Dim": np.array([2, 3]), "Dimnames": [np.array(["A", "B"]), None],
    }  # fmt: skip
    return SimpleNamespace(**parts | changes, **{"class": np.array(["dgTMatrix"])})


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"Dim": np.array([2, 2**31 - 1])}, "rows and cells"),
        ({"Dim": np.array([2**31 - 1, 3])}, "rows and cells"),
        ({"i": np.array([0, 2])}, "damaged sparse matrix"),
        ({"j": np.array([0, -1])}, "damaged sparse matrix"),
        ({"x": np.array([1.0])}, "damaged sparse matrix"),
        ({"x": np.array([1.0, 2.0**40])}, "a non-negative integer count"),
        ({"Dim": None}, "damaged sparse matrix"),
    ],
)
def test_a_matrix_that_does_not_fit_its_table_is_one_line(changes, part):
    assert _matrix(matrix(), 3, "screen.rda")[0].toarray().tolist() == [[0, 0, 1], [2, 0, 0]]
    refused(lambda: _matrix(matrix(**changes), 3, "screen.rda: response_matrix"), "screen.rda", part)


# Archives of arrays


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_pickled_objects_are_never_loaded(tmp_path):
    evil = np.array([Runs(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / "a.npz", **{"x/train/a": evil})
    refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz", "allow_pickle")
    refused(lambda: read_bundle(tmp_path / "a.npz"), "a.npz", "allow_pickle")
    np.save(tmp_path / "b.npy", evil)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    refused(lambda: read_npz(tmp_path / "b.npz"), "b.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 21, 1 << 21), (1 << 62, 1 << 62)])
def test_an_array_that_declares_more_than_there_is(tmp_path, shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", packing) as archive:
            archive.writestr("x/train/a.npy", header.getvalue() + bytes(64))
        refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz", "x/train/a.npy", "declared bytes")


def test_members_of_an_archive_are_never_written(tmp_path):
    folder = tmp_path / "deep" / "in"
    folder.mkdir(parents=True)
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("../../escaped.npy", content.getvalue())
    refused(lambda: read_bundle(folder / "a.npz"), "a.npz", "../../escaped")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.npz"]


# Names in the configuration end up in paths, in shells and in names of arrays


BASE = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
PARTS = ["../up", "a/b", "a;b", "$(b)", ".hidden", "a\nb", ""]
PLACES = {
    "study": lambda name: {"studies": {name: BASE["studies"]["papalexi2021"]}},
    "setting": lambda name: {"studies": {"papalexi2021": {"settings": {name: {}}}}},
    "protocol": lambda name: {"protocols": {name: {}}},
    "variant": lambda name: {"variants": {name: {"combiner": {"kind": "sum"}}}},
    "design": lambda name: {"designs": {name: BASE["designs"]["contrastive"]}},
    "download": lambda name: {"downloads": {name: BASE["downloads"]["immune"]}},
    "filename": lambda name: {"downloads": {"immune": BASE["downloads"]["immune"] | {"filename": name}}},
    "dataset": lambda name: {"datasets": {name: BASE["datasets"]["papalexi2021"]}},
    "source of a design": lambda name: {"designs": {"d": {"sources": [name], "blocks": {"z": [name]}}}},
    "block": lambda name: {"designs": {"d": {"sources": ["a"], "blocks": {name: ["a"]}}}},
    "source of a data set": lambda name: {"datasets": {"papalexi2021": {"sources": ["background", name]}}},
    "figure": lambda name: {"studies": {"papalexi2021": {"figures": [name]}}},
}


@pytest.mark.parametrize("place", PLACES)
def test_names_are_letters_and_digits(place):
    parse_config(BASE)
    for name in PARTS:
        refused(lambda it=name: parse_config(merge(BASE, PLACES[place](it))), "config.yaml")


def test_a_member_of_a_wheel_may_lie_in_folders_but_not_above():
    from cdgm.data.downloads import DOWNLOADS

    good = BASE["downloads"]["immune"]
    assert DOWNLOADS.parse(good).member == "Spectra/data/sample_data.h5ad"
    for member in ("../a", "a/../../b", "/a", "C:/a", "a\\b", "a/", "a/./../b"):
        with pytest.raises(ValueError, match="relative path"):
            DOWNLOADS.parse(good | {"member": member})


def test_no_code_loads_pickles():
    for path in [*(ROOT / "cdgm").rglob("*.py"), *(ROOT / "workflow_scripts").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for word in (
            "torch.load",
            "pickle.load",
            "read_pickle",
            "joblib.load",
            "yaml.load(",
            "eval(",
            "exec(",
        ):
            if word == "eval(":
                assert " eval(" not in text, path
            else:
                assert word not in text, f"{path}: {word}"
        assert text.count("np.load(") == text.count("allow_pickle=False"), path


def test_an_unknown_reader_option_is_no_way_around():
    with pytest.raises(ValueError, match="allow_pickle"):
        READERS.parse(
            {"kind": "h5ad", "source_column": "a", "sources": {"a": "rest", "b": ["c"]}, "allow_pickle": 1}
        )
