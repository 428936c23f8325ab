"""R data files that are damaged or made to do harm: one line each, and nothing in them is run."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cdgm.data.readers import _rda
from cdgm.data.readers.sceptre_rda import _matrix
from tests.unit.data_helpers import refused

PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


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
    bomb = pack(bytes(1 << 23))
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


# The parts of an R file, as R writes them.


def number(n: int) -> bytes:
    return struct.pack(">i", n)


def name(text: bytes) -> bytes:
    return number(1) + number(0x00040009) + number(len(text)) + text


def reals(*values: float) -> bytes:
    return number(14) + number(len(values)) + struct.pack(f">{len(values)}d", *values)


NIL, GLOBAL = number(254), number(253)
HEAD = b"RDX2\nX\n" + number(2) + number(0x030501) + number(0x020300)


def r_file(value: bytes) -> bytes:
    """A file with one object, x."""
    return HEAD + number(1026) + name(b"x") + value + NIL


def short_form(kind: bytes, state: bytes) -> bytes:
    """A vector that is told by its rule."""
    return number(238) + number(2) + name(kind) + number(2) + name(b"base") + NIL + state + NIL


def table(rows: int, cells: int = 1) -> bytes:
    """A data frame of one column, which says by itself how many rows it has."""

    def texts(*values: bytes) -> bytes:
        return number(16) + number(len(values)) + b"".join(name(value)[4:] for value in values)

    attributes = [
        (b"names", texts(b"a")),
        (b"row.names", number(13) + number(2) + number(-(2**31)) + number(-rows)),
        (b"class", texts(b"data.frame")),
    ]
    told = b"".join(number(1026) + name(key) + value for key, value in attributes)
    return number(19 | 0x300) + number(1) + reals(*range(cells)) + told + NIL


def test_what_r_files_hold_beside_data_is_never_run(tmp_path):
    assert load(tmp_path, r_file(reals(1, 2)))["x"].tolist() == [1, 2]
    call = number(6) + name(b"file.create") + number(2) + name(b"ran") + NIL
    for held in (
        call,  # an expression
        number(8) + number(6) + b"system",  # a function of R itself
        number(21) + number(1) + number(13) + number(1) + number(1) + number(0),  # byte code
        number(22) + NIL + NIL,  # a pointer
    ):
        found = load(tmp_path, r_file(held))
        assert set(found) == {"x"}
        assert not isinstance(found["x"], np.ndarray)
    for held in (
        number(3) + GLOBAL + NIL + call,  # a function
        number(5) + GLOBAL + NIL + call,  # a promise: an expression that is run when it is looked at
        number(0x05FF),  # a reference to nothing
    ):
        refused(lambda it=held: load(tmp_path, r_file(it)), "screen.rda", "not a readable R data")
    assert os.listdir(tmp_path) == ["screen.rda"]
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "value",
    [
        (number(19) + number(1)) * 50_000 + reals(1),
        (number(2) + reals(1)) * 50_000 + NIL,
    ],
    ids=["lists in lists", "a long pairlist"],
)
def test_deep_files_are_one_line(tmp_path, value):
    refused(lambda: load(tmp_path, r_file(value)), "screen.rda", "not a readable R data", "recursion")


def test_vectors_in_short_forms_declare_no_more_than_a_file_holds(tmp_path):
    for kind in (b"compact_intseq", b"compact_realseq"):
        assert load(tmp_path, r_file(short_form(kind, reals(3, 1, 1))))["x"].tolist() == [1, 2, 3]
        for length in (3e9, 1e15):
            refused(
                lambda n=length, k=kind: load(tmp_path, r_file(short_form(k, reals(n, 1, 1)))), "sequences"
            )
    # All of them together, and not each for itself.
    some = short_form(b"compact_realseq", reals(1 << 19, 1, 1))
    refused(lambda: load(tmp_path, r_file(number(19) + number(40) + some * 40)), "screen.rda", "sequences")
    texts = short_form(b"deferred_string", number(2) + some + number(13) + number(1) + number(0))
    refused(lambda: load(tmp_path, r_file(texts)), "screen.rda", "sequences")


def test_a_table_has_the_rows_that_its_columns_have(tmp_path):
    assert load(tmp_path, r_file(table(2, cells=2)))["x"].shape == (2, 1)
    refused(lambda: load(tmp_path, r_file(table(2_000_000_000))), "screen.rda", "columns have [1] values")


def test_what_follows_a_packed_file_is_not_read(rda, tmp_path):
    assert len(load(tmp_path, gzip.compress(rda) + b"more" * 1000)["toy"]) == 1000
    # A second packed part is no part of the first.
    halves = gzip.compress(rda[:200]) + gzip.compress(rda[200:])
    refused(lambda: load(tmp_path, halves), "screen.rda", "not a readable R data")


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
