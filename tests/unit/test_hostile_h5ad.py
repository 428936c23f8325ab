"""AnnData files that are made to take all memory or never to end: one line each, and soon."""

from __future__ import annotations

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from cdgm.cli.inputs import read_data
from cdgm.data import counts as sizes
from cdgm.data.counts import in_memory
from cdgm.data.readers import READERS, _hdf5, _rows
from tests.unit.data_helpers import made_counts, refused, treated, write_h5ad

READER = READERS.parse(
    {
        "kind": "h5ad",
        "source_column": "treatment",
        "sources": {"background": ["control"], "target": "rest"},
    }
)
CELLS, GENES = 30, 6


def made(path: Path, change=None) -> Path:
    """A good CSR file, or one with some part changed."""
    x = sp.csr_matrix(made_counts(CELLS, GENES).astype(np.float32))
    write_h5ad(path, x, treated(CELLS))
    if change is not None:
        with h5py.File(path, "a") as file:
            change(file)
    return path


def put(file: h5py.File, name: str, values, **options) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=values, **options).attrs.update(attributes)


def as_dict(group: h5py.Group) -> h5py.Group:
    group.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
    return group


def circle(file):
    del file["obs/treatment"]
    file["obs/treatment"] = file["obs"]


def many_ways(file):
    """Forty groups, each with two names for the next one: 2^40 ways to the last."""
    del file["obs/treatment"]
    group = as_dict(file.create_group("obs/treatment"))
    for i in range(40):
        inner = as_dict(file.create_group(f"uns/{i}"))
        group["a"] = group["b"] = inner
        group = inner


def many_names(file):
    """One array of 64 MB zeros, packed to 64 kB, under a thousand names."""
    del file["obs/treatment"]
    group = as_dict(file.create_group("obs/treatment"))
    group.create_dataset("a", data=np.zeros(1 << 23), compression="gzip", chunks=(1 << 20,))
    for i in range(2_000):
        group[f"b{i}"] = group["a"]


def large_chunk(file):
    values = file["X/indices"][:]
    del file["X/indices"]
    size = 1 << 25
    chunked = {"maxshape": (None,), "chunks": (size,), "compression": "gzip"}
    file.create_dataset("X/indices", (len(values),), np.int32, **chunked)[:] = values


def long_text(file):
    """A text of 1 MB that stands once in the file and is named by every cell."""
    name = file["obs"].attrs["_index"]
    attributes = dict(file["obs"][name].attrs)
    del file["obs"][name]
    texts = file["obs"].create_dataset(name, (CELLS,), h5py.string_dtype())
    texts.attrs.update(attributes)
    texts[:] = np.array(["x" * 1_000_000] * CELLS, dtype=object)


def arrays_within(file):
    del file["obs/treatment"]
    column = file.create_dataset("obs/treatment", (CELLS,), h5py.vlen_dtype(np.int64))
    column[0] = np.arange(5)


def attribute(name, key, value):
    return lambda file: file[name].attrs.__setitem__(key, value)


HOSTILE = {
    "a circle of links": (circle, ["obs/treatment", "circle of links"]),
    "many ways to one group": (many_ways, ["obs/treatment", "circle of links"]),
    "many names of one array": (many_names, ["obs/treatment: declared bytes", "at most"]),
    "a chunk beyond its array": (large_chunk, ["X/indices: bytes of a chunk", 4 << 25]),
    "long texts": (long_text, ["obs/_index: bytes of texts", "more than"]),
    "arrays within an array": (arrays_within, ["obs/treatment", "arrays within an array"]),
    "text for a shape": (attribute("X", "shape", "abc"), ["not a readable AnnData"]),
    "numbers for an encoding": (attribute("X", "encoding-type", np.arange(2)), ["X", "csr_matrix"]),
    "an index of another table": (attribute("obs", "_index", "/X/data"), ["a.h5ad"]),
    "a number for an index": (attribute("obs", "_index", 5), ["not a readable AnnData"]),
    "values with two axes": (lambda f: put(f, "X/data", np.ones((9, 2))), ["X: damaged", "2 axes"]),
    "one value": (lambda f: put(f, "X/indices", 3), ["X: damaged", "0 axes"]),
    "pairs": (lambda f: put(f, "obs/treatment", np.zeros(CELLS, "i4,f8")), ["a.h5ad"]),
    "complex counts": (lambda f: put(f, "X/data", f["X/data"][:] + 0j), ["X type", "complex"]),
    "a code without a name": (lambda f: f["obs/treatment/codes"].__setitem__(0, 99), ["a.h5ad"]),
    "a link to nothing": (
        lambda f: (f.__delitem__("obs/treatment"), f.__setitem__("obs/treatment", h5py.SoftLink("/none"))),
        ["a.h5ad"],
    ),
    "a negative index": (lambda f: f["X/indices"].__setitem__(0, -1), ["X: damaged", "outside of 0 to 5"]),
}  # fmt: skip


# Those that would take memory or time, whoever reads them.
GREEDY = {f.__name__ for f in (circle, many_ways, many_names, large_chunk, long_text, arrays_within)}


@pytest.fixture
def little(monkeypatch):
    """Bounds that files small enough for a test can pass."""
    monkeypatch.setattr(_hdf5, "LARGEST_TEXT_BYTES", 1 << 24)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_line(tmp_path, case, little):
    change, parts = HOSTILE[case]
    path = made(tmp_path / "a.h5ad", change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(lambda: in_memory(READER.read(path).counts), "a.h5ad", *parts)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize(
    "case", [case for case, (change, _) in HOSTILE.items() if getattr(change, "__name__", "<") in GREEDY]
)
def test_the_command_line_reads_users_files_within_the_same_bounds(tmp_path, case, little):
    change, parts = HOSTILE[case]
    refused(lambda: read_data(made(tmp_path / "a.h5ad", change)), "a.h5ad", *parts[1:])


def test_good_files_are_within_the_bounds(tmp_path):
    assert READER.read(made(tmp_path / "a.h5ad")).counts.shape == (CELLS, GENES)
    assert read_data(tmp_path / "a.h5ad").shape == (CELLS, GENES)

    def twice(file):
        file["raw2"] = file["X"]  # the same part under two names
        put(file, "X/data", file["X/data"][:], chunks=(1 << 10,), maxshape=(None,), compression="gzip")

    assert READER.read(made(tmp_path / "b.h5ad", twice)).counts.shape == (CELLS, GENES)


def test_a_table_is_held_up_to_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(_hdf5, "LARGEST_TABLE_BYTES", 100)
    refused(lambda: READER.read(made(tmp_path / "a.h5ad")), "a.h5ad", "declared bytes", "at most 100")


def test_no_room_for_a_temporary_file_is_told_before_it_is_used(tmp_path, monkeypatch):
    """A file that only seems to be there kills the process when it is written to."""
    monkeypatch.setattr(sizes, "HELD_ENTRIES", 10)

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_rows.os, "posix_fallocate", no_room, raising=False)
    x = sp.csc_matrix(made_counts(CELLS, GENES).astype(np.float32))
    path = write_h5ad(tmp_path / "a.h5ad", x, treated(CELLS))
    refused(lambda: READER.read(path), "temporary file", f"{8 * x.nnz} bytes", "No space left", "TMPDIR")
