"""A user's damaged AnnData or R file gives one line that names the file, whichever library fails."""

import bz2
import gzip
import lzma
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from cdgm.cli.inputs import read_data
from cdgm.cli.main import main
from cdgm.data import count_matrix, csc_file
from cdgm.data.count_matrix import in_memory
from cdgm.data.readers import READERS
from tests.unit.data_helpers import made_counts, refused, treated, write_h5ad

READER = READERS.parse(
    {
        "kind": "h5ad",
        "source_column": "treatment",
        "sources": {"background": ["control"], "target": "rest"},
    }
)
SCREEN = READERS.parse(
    {"kind": "sceptre_rda", "object": "toy", "min_guide_fraction": 0.8, "control": "non-targeting"}
)
CELLS, GENES = 30, 6


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    x = sp.csr_matrix(made_counts(CELLS, GENES).astype(np.float32))
    path = write_h5ad(tmp_path_factory.mktemp("good") / "a.h5ad", x, treated(CELLS))
    assert READER.read(path).x.shape == read_data(path).shape == (CELLS, GENES)
    return path.read_bytes()


def put(file: h5py.File, name: str, values) -> None:
    """Replace an array and keep its attributes."""
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=values).attrs.update(attributes)


def with_pointer(file: h5py.File, position: int, value: int) -> None:
    pointers = file["X/indptr"][:].astype(np.int64)
    pointers[position] = value
    put(file, "X/indptr", pointers)


def one_long_row(file: h5py.File) -> None:
    pointers = np.full(CELLS + 1, len(file["X/indices"]))
    pointers[0] = 0
    put(file, "X/indptr", pointers)


def circle(file: h5py.File) -> None:
    del file["obs/treatment"]
    file["obs/treatment"] = file["obs"]


def huge_index(file: h5py.File) -> None:
    attributes = dict(file["obs/_index"].attrs)
    del file["obs/_index"]
    index = file["obs"].create_dataset("_index", (1 << 40,), h5py.string_dtype(), chunks=(1 << 16,))
    index.attrs.update(attributes)


def renamed(file: h5py.File) -> None:
    file["obs"].move("treatment", "dose")
    file["obs"].attrs["column-order"] = ["dose"]


DAMAGED = {
    "no obs": (lambda f: f.__delitem__("obs"), ["parts", "'obs'"]),
    "no X": (lambda f: f.__delitem__("X"), ["a matrix X"]),
    "an array for obs": (lambda f: put(f, "obs", np.zeros(3)), []),
    "a short column": (lambda f: put(f, "obs/treatment", np.zeros(3)), []),
    "a code without a name": (lambda f: f["obs/treatment/codes"].__setitem__(0, 99), []),
    "a circle of links": (circle, []),
    "an index of terabytes": (huge_index, []),
    "another shape": (lambda f: f["X"].attrs.__setitem__("shape", (CELLS, 9)), []),
    "text for counts": (lambda f: put(f, "X/data", np.full(len(f["X/indices"]), b"a")), ["X type"]),
    "complex counts": (lambda f: put(f, "X/data", f["X/data"][:] + 0j), ["X type", "complex"]),
    "fewer values than indices": (lambda f: put(f, "X/data", np.ones(4)), []),
    "a negative index": (lambda f: f["X/indices"].__setitem__(0, -1), []),
    "an index outside": (lambda f: f["X/indices"].__setitem__(0, GENES), []),
    "a pointer outside": (lambda f: with_pointer(f, 3, 10**12), ["damaged sparse matrix"]),
    "pointers that end early": (lambda f: with_pointer(f, -1, 5), ["damaged sparse matrix"]),
    "one long row": (one_long_row, ["damaged sparse matrix", "more entries than there are genes"]),
}  # fmt: skip


@pytest.mark.parametrize("held", [True, False], ids=["held", "stored"])
@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_anndata_file_is_one_line(good, tmp_path, case, held, monkeypatch):
    change, parts = DAMAGED[case]
    (tmp_path / "a.h5ad").write_bytes(good)
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        change(file)
    if not held:
        monkeypatch.setattr(count_matrix, "HELD_ENTRIES", 0)
    refused(lambda: in_memory(READER.read(tmp_path / "a.h5ad").x), "a.h5ad", *parts)


FOREIGN = {
    "truncated": lambda content: content[: len(content) // 2],
    "its first bytes": lambda content: content[:100],
    "empty": lambda content: b"",
    "gzipped": gzip.compress,
    "a page": lambda content: b"<html>",
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_no_anndata_file_is_one_line_for_the_workflow_and_the_command_line(good, tmp_path, case):
    path = tmp_path / "a.h5ad"
    path.write_bytes(FOREIGN[case](good))
    for read in (READER.read, read_data):
        refused(lambda it=read: it(path), "a.h5ad", "not a readable AnnData (.h5ad) file")
        refused(lambda it=read: it(tmp_path / "none.h5ad"), "none.h5ad: no such file")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f["X/data"].__setitem__(0, np.nan), "in cell 'c0', gene 'g0': got nan"),
        (lambda f: f["X/data"].__setitem__(0, -1), "in cell 'c0', gene 'g0': got -1.0"),
        (lambda f: f["X/data"].__setitem__(0, 0.5), "name the layer that holds raw counts (--layer)"),
        (lambda f: f["X/indices"].__setitem__(0, GENES), "damaged sparse matrix"),
        (lambda f: f.__delitem__("X"), "X: got None"),
        (renamed, "--source-key: got 'treatment'"),
    ],
)
def test_the_command_names_the_file_and_its_own_options(good, tmp_path, capsys, change, said):
    path = tmp_path / "a.h5ad"
    path.write_bytes(good)
    with h5py.File(path, "a") as file:
        change(file)
    options = ["--source-key", "treatment", "--background", "control", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        main(["fit", str(path), *options])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2
    assert error.splitlines()[-1].startswith(f"error: {path}: ")
    assert said in error
    assert "adata" not in error
    assert not (tmp_path / "out").exists()


def test_no_room_for_a_temporary_file_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(count_matrix, "HELD_ENTRIES", 10)

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csc_file.np, "save", no_room)
    x = sp.csc_matrix(made_counts(CELLS, GENES).astype(np.float32))
    path = write_h5ad(tmp_path / "a.h5ad", x, treated(CELLS))
    refused(lambda: READER.read(path), "temporary file", "No space left", "TMPDIR")


# R data


@pytest.fixture(scope="module")
def rda(tmp_path_factory) -> bytes:
    """A real R file, not packed, with one vector of 1,000 numbers."""
    import rdata

    path = tmp_path_factory.mktemp("rda") / "toy.rda"
    rdata.write_rda(path, {"other": np.arange(1000.0)}, compression="gzip")
    return gzip.decompress(path.read_bytes())


def test_r_data_without_its_reader_are_one_line(rda, tmp_path, monkeypatch):
    path: Path = tmp_path / "screen.rda"
    path.write_bytes(rda)
    monkeypatch.setitem(sys.modules, "rdata", None)
    refused(lambda: SCREEN.read(path), "screen.rda", "R data", "pip install rdata")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_a_damaged_r_file_is_one_line(rda, tmp_path, pack):
    path: Path = tmp_path / "screen.rda"
    path.write_bytes(pack(rda))
    refused(lambda: SCREEN.read(path), "screen.rda", "R object", "toy", "other")
    packed = pack(rda)
    for content in (packed[:30], packed[: len(packed) // 2], b"", b"<html>"):
        path.write_bytes(content)
        refused(lambda: SCREEN.read(path), "screen.rda", "not a readable R data (.rda) file")
    refused(lambda: SCREEN.read(tmp_path / "none.rda"), "none.rda: no such file")


def test_calls_in_r_files_are_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def number(*values: int) -> bytes:
        return struct.pack(f">{len(values)}i", *values)

    def name(text: bytes) -> bytes:
        return number(1, 0x00040009, len(text)) + text

    nil = number(254)
    call = number(6) + name(b"file.create") + number(2) + name(b"ran") + nil
    head = b"RDX2\nX\n" + number(2, 0x030501, 0x020300)
    for value in (call, number(3, 253) + nil + call):  # a call, and a function whose body it is
        Path("a.rda").write_bytes(head + number(1026) + name(b"toy") + value + nil)
        refused(lambda: SCREEN.read(Path("a.rda")), "a.rda")
    assert [path.name for path in tmp_path.iterdir()] == ["a.rda"]


def matrix(**changes):
    parts = {
        "i": np.array([0, 1]), "j": np.array([2, 0]), "x": np.array([1.0, 2.0]),
        "Dim": np.array([2, 3]), "Dimnames": [np.array(["A", "B"]), None],
    }  # fmt: skip
    return SimpleNamespace(**parts | changes, **{"class": np.array(["dgTMatrix"])})
