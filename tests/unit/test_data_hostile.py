"""Hostile archives, YAML files and names give one line each, and run no code."""

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from cdgm.config.layers import merge
from cdgm.config.study import parse_config
from cdgm.config.yaml_file import LOADER, read_yaml
from cdgm.data.bundle import read_bundle
from cdgm.utils import files
from cdgm.utils.files import read_npz
from tests.unit.data_helpers import refused

ROOT = Path(__file__).parents[2]

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


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path, packing, monkeypatch):
    monkeypatch.setattr(files, "ALWAYS_ALLOWED_BYTES", 1 << 16)
    content = io.BytesIO()
    np.save(content, np.zeros(1 << 18))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packing) as archive:
        archive.writestr("a.npy", content.getvalue())
    refused(
        lambda: read_npz(tmp_path / "a.npz"), "a.npz", "bytes of its arrays", (8 << 18) + 128, "200 times"
    )
    # Packed counts, most of them 0, are within the bounds.
    counts = np.random.default_rng(0).poisson(0.02, (300, 3000)).astype(np.float32)
    np.savez_compressed(tmp_path / "b.npz", x=counts)
    assert (tmp_path / "b.npz").stat().st_size < counts.nbytes / 20
    np.testing.assert_array_equal(read_npz(tmp_path / "b.npz")["x"], counts)


def damaged_header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "member",
    [
        b"no array",
        damaged_header(b"(" * 65_535),
        damaged_header(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-5,), }\n"),
        damaged_header(b"{'descr': '<U2000000000', 'fortran_order': False, 'shape': (), }\n"),
        damaged_header(
            b"{'descr': [('a', '<f8', (1000000, 1000000))], 'fortran_order': False, 'shape': (1,), }\n"
        ),
        damaged_header(b"__import__('os').mkdir('ran')\n"),
    ],
    ids=["no array", "nested", "negative", "long text", "large part", "code"],
)
def test_a_damaged_member_is_one_line(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x/train/a.npy", member)
    refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz", "not a readable .npz file")
    assert not Path("ran").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    content = (tmp_path / "a.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("a.npy", archive.read("a.npy"))
    assert len((tmp_path / "a.npz").read_bytes()) > len(content)
    refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz: arrays: got 'a', expected each name once")


def test_a_key_that_is_set_twice_in_json_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"x": [{"kind": "sum", "c": 1, "kind": "mgda"}]}')
    refused(
        lambda: files.read_json(tmp_path / "a.json"), "a.json: not a JSON file: the key 'kind' is set twice"
    )


def test_an_encrypted_archive_is_one_line(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz", "encrypted")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 3_000,
        '{"a": ' * 3_000,
        "9" * 5_000,
        "\x00",
        "- " * 200_000,
        "[" * 2_000_000,
        "2024-13-45",
    ],
)
def test_strange_json_and_yaml_are_one_line(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    refused(lambda: files.read_json(tmp_path / "a.json"), "a.json", "not a JSON file")
    (tmp_path / "a.yaml").write_text(text)
    reason = "100 levels deep" if text[0] in "[{-" else "expected a" if text[0] in "92" else "not valid YAML"
    refused(lambda: read_yaml(tmp_path / "a.yaml"), "a.yaml", reason)


@pytest.mark.parametrize("text", ["a: &a {b: *a}", "a: &a [{b: [*a]}]", "a: &a [1]\nb: &b [*a, *a, {c: *b}]"])
def test_yaml_that_holds_itself_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    refused(lambda: read_yaml(tmp_path / "a.yaml"), "a.yaml, line ", "holds itself")
    (tmp_path / "b.yaml").write_text("a: &a [1]\nb: &b [*a, *a]\nc: [*b, *a]")
    assert read_yaml(tmp_path / "b.yaml")["c"] == [[[1], [1]], [1]]


def test_yaml_makes_no_objects(tmp_path):
    assert issubclass(LOADER, yaml.constructor.SafeConstructor)
    (tmp_path / "a.yaml").write_text("a: !!python/object/apply:os.mkdir [ran]\n")
    refused(lambda: read_yaml(tmp_path / "a.yaml"), "a.yaml, line 1", "python/object/apply:os.mkdir")
    assert not Path("ran").exists()


def test_aliases_in_yaml_are_not_multiplied(tmp_path):
    """Nine lines that stand for a billion words: they stay nine lists."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (tmp_path / "a.yaml").write_text("\n".join(lines))
    message = refused(lambda: parse_config(read_yaml(tmp_path / "a.yaml"), [tmp_path / "a.yaml"]), "a.yaml")
    assert len(message) < 500


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


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_names_are_letters_and_digits(place):
    parse_config(BASE)
    for name in PARTS:
        refused(lambda it=name: parse_config(merge(BASE, PLACES[place](it))), "config.yaml")


def test_no_code_loads_pickles():
    for path in [*(ROOT / "cdgm").rglob("*.py"), *(ROOT / "workflow_scripts").rglob("*.py")]:
        text = path.read_text(encoding="utf-8").replace("yaml.load(text, Loader=LOADER)", "")
        for word in (
            "torch.load",
            "pickle.load",
            "read_pickle",
            "joblib.load",
            "yaml.load(",
            " eval(",
            "exec(",
        ):
            assert word not in text, f"{path}: {word}"
        assert text.count("np.load(") == text.count("allow_pickle=False"), path
