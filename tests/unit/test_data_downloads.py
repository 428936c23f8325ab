"""A download yields a verified file or nothing, from a mirror, a package index, the web or this machine."""

import logging
import os
import zipfile
from pathlib import Path

import pooch
import pytest
from pydantic import ValidationError

from cdgm.data.downloads import DOWNLOADS, pypi
from cdgm.data.fetch import fetch
from tests.unit.data_helpers import refused, sha256
from tests.unit.file_server import address, serving

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(CONTENT) as running:
        yield running


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("CDGM_DATA_MIRROR", raising=False)


def web(server, **changes):
    options = {"filename": "data.bin", "size": len(CONTENT), "sha256": sha256(CONTENT), "licence": "MIT"}
    return DOWNLOADS.parse({"kind": "https", "urls": [address(server)], **options, **changes})


def nothing_left(folder: Path) -> bool:
    return not any(path.is_file() for path in folder.rglob("*"))


# The mirror


def test_the_mirror_is_searched_by_checksum_not_by_name(server, tmp_path, monkeypatch):
    folder = tmp_path / "mirror" / "deep"
    folder.mkdir(parents=True)
    (folder / "a_same_size.bin").write_bytes(b"X" + CONTENT[1:])
    (folder / "renamed").write_bytes(CONTENT)
    monkeypatch.setenv("CDGM_DATA_MIRROR", str(tmp_path / "mirror"))
    noted = fetch(web(server), "download toy", tmp_path / "out" / "data.bin")
    assert (noted["origin"], noted["path"]) == ("mirror", str(folder / "renamed"))
    assert server.asked == []


def test_files_of_the_mirror_that_are_of_no_use_are_passed_over(server, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "mirror"
    (folder / "deep").mkdir(parents=True)
    (folder / "data.bin").write_bytes(CONTENT[:-1])
    (folder / "deep" / "data.bin").write_bytes(b"X" + CONTENT[1:])
    (folder / "link").symlink_to(folder / "nowhere")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    (folder / "unreadable.bin").write_bytes(CONTENT)
    real = pooch.file_hash

    def unreadable(path, alg):
        if Path(path).name == "unreadable.bin":
            raise PermissionError(13, "Permission denied")
        return real(path, alg)

    monkeypatch.setattr(pooch, "file_hash", unreadable)
    monkeypatch.setenv("CDGM_DATA_MIRROR", str(folder))
    with caplog.at_level(logging.WARNING):
        assert fetch(web(server), "download toy", tmp_path / "data.bin")["origin"] == "https"
    for said in ("size is not", "its checksum differs", "unreadable.bin ignored: Permission denied"):
        assert said in caplog.text


def test_a_mirror_that_is_no_folder_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CDGM_DATA_MIRROR", str(tmp_path / "none"))
    refused(lambda: fetch(web(server), "download toy", tmp_path / "data.bin"), "CDGM_DATA_MIRROR", "none")


# Wheels


def make_wheel(folder: Path, member: str = "toy/data/cells.bin", content: bytes = CONTENT) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "cdgm_toy_data-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: cdgm-toy-data\nVersion: 1.0\n"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy/__init__.py", "raise RuntimeError('data packages are never imported')\n")
        archive.writestr(member, content)
        archive.writestr("../../escaped.bin", b"never written")
        archive.writestr("cdgm_toy_data-1.0.dist-info/METADATA", metadata)
        archive.writestr("cdgm_toy_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("cdgm_toy_data-1.0.dist-info/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Let pip see a folder of ours and nothing else."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def wheel_download(**changes):
    options = {
        "requirement": "cdgm-toy-data==1.0",
        "member": "toy/data/cells.bin",
        "filename": "cells.bin",
        "size": len(CONTENT),
        "sha256": sha256(CONTENT),
        "licence": "MIT",
    }
    return DOWNLOADS.parse({"kind": "pypi", **options, **changes})


def test_one_member_comes_out_of_the_wheel(index, tmp_path, caplog, monkeypatch):
    make_wheel(index)
    monkeypatch.setattr(pypi, "SECONDS_BETWEEN_LINES", 0.1)
    with caplog.at_level(logging.INFO):
        assert fetch(wheel_download(), "download toy", tmp_path / "raw" / "cells.bin")["origin"] == "pypi"
    assert "download toy: asking the package index for cdgm-toy-data==1.0" in caplog.messages[0]
    assert "pip is waiting for the package index" in caplog.text
    assert "cdgm_toy_data-1.0-py3-none-any.whl after" in caplog.messages[-1]
    assert (tmp_path / "raw" / "cells.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["cells.bin"]
    assert not list(tmp_path.rglob("escaped*"))


def test_a_version_that_is_not_there_is_one_line(index, tmp_path):
    make_wheel(index)
    download = wheel_download(requirement="cdgm-toy-data==2.0")
    parts = ("cdgm-toy-data==2.0", "No matching distribution", "CDGM_DATA_MIRROR")
    refused(lambda: fetch(download, "download toy", tmp_path / "raw" / "cells.bin"), *parts)
    assert nothing_left(tmp_path / "raw")


@pytest.mark.parametrize(
    ("content", "changes", "parts"),
    [
        (CONTENT, {"member": "toy/data/other.bin"}, ["toy/data/other.bin", "toy/data/cells.bin"]),
        (b"X" + CONTENT[1:], {}, ["SHA256", sha256(CONTENT)]),
        (CONTENT * 9, {}, ["size in bytes", len(CONTENT) + 1, len(CONTENT)]),
    ],
    ids=["member", "checksum", "bomb"],
)
def test_a_wheel_with_other_content_leaves_nothing(tmp_path, content, changes, parts):
    wheel = make_wheel(tmp_path / "index", content=content)
    download = wheel_download(**changes)
    # pip's part is tested above; a plug-in that finds the wheel at once keeps these quick.
    ready = type("Ready", (type(download),), {"_download": lambda self, folder, name: wheel})
    download = ready.model_validate(download.model_dump())
    refused(lambda: fetch(download, "download toy", tmp_path / "raw" / "cells.bin"), "download toy", *parts)
    assert nothing_left(tmp_path / "raw")


# A file on this machine


def test_a_local_file_is_copied_with_or_without_checksum(tmp_path):
    (tmp_path / "mine.bin").write_bytes(CONTENT)
    options = {"kind": "local", "path": str(tmp_path / "mine.bin"), "filename": "mine.bin"}
    for more in ({}, {"sha256": sha256(CONTENT)}):
        download = DOWNLOADS.parse(options | more)
        assert download.inputs() == (str(tmp_path / "mine.bin"),)
        fetch(download, "download mine", tmp_path / "out" / "mine.bin")
        assert (tmp_path / "out" / "mine.bin").read_bytes() == CONTENT


def test_a_missing_local_file_or_a_folder_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    cases = [(tmp_path / "none.h5ad", "No such file"), (tmp_path, "directory"), (tmp_path / "pipe", "pipe")]
    cases += [(Path("/dev/zero"), "device"), (tmp_path / "none.h5ad" / "a", "No such file")]
    for path, reason in cases:
        download = DOWNLOADS.parse({"kind": "local", "path": str(path), "filename": "mine.bin"})
        refused(lambda it=download: fetch(it, "download mine", tmp_path / "out" / "mine.bin"), path, reason)
    assert nothing_left(tmp_path)


def test_a_link_is_followed_and_the_copy_is_no_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "real.bin").write_bytes(CONTENT)
    (tmp_path / "link.bin").symlink_to(tmp_path / "elsewhere" / "real.bin")
    options = {"kind": "local", "path": str(tmp_path / "link.bin"), "filename": "mine.bin"}
    fetch(DOWNLOADS.parse(options), "download mine", tmp_path / "out" / "raw")
    assert not (tmp_path / "out" / "raw").is_symlink()
    assert (tmp_path / "out" / "raw").read_bytes() == CONTENT


# Options


@pytest.mark.parametrize(
    ("kind", "changes", "parts"),
    [
        ("https", {"urls": ["ftp://example.org/a"]}, ["ftp://example.org/a", "https://"]),
        ("https", {"md5": "0" * 32}, ["exactly one of sha256 and md5", "2"]),
        ("https", {"urls": ["https://me:secret@example.org/a"]}, ["user and password"]),
        ("pypi", {"sha256": None}, ["exactly one of sha256 and md5"]),
        ("https", {"size": None}, ["size"]),
        ("https", {"filename": "../escape"}, ["filename"]),
        ("pypi", {"requirement": "scspectra"}, ["requirement"]),
        ("pypi", {"requirement": "scspectra==1.*"}, ["requirement"]),
        ("pypi", {"member": "../../etc/passwd"}, ["member"]),
        ("pypi", {"member": "a\\..\\b"}, ["member"]),
        ("carrier_pigeon", {}, ["carrier_pigeon", "known: https, local, pypi"]),
    ],
)
def test_bad_options_are_refused(kind, changes, parts):
    options = {"filename": "a.bin", "size": 5, "sha256": "0" * 64, "licence": "MIT"}
    own = {"https": {"urls": ["https://example.org/a"]}, "pypi": {"requirement": "a==1", "member": "a/b"}}
    with pytest.raises((ValidationError, ValueError)) as caught:
        DOWNLOADS.parse({"kind": kind, **options, **own.get(kind, {}), **changes})
    for part in parts:
        assert part in str(caught.value)
