"""Downloads: verified or nothing, from the mirror, the web, an index or this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import logging
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from cdgm.data import fetch as fetching
from cdgm.data.downloads import DOWNLOADS, https
from cdgm.data.fetch import fetch
from cdgm.utils.files import write_json
from tests.unit.data_helpers import refused, sha256

CONTENT = bytes(range(256)) * 40
PAGE = b"<!DOCTYPE html><html><body>Log in to continue</body></html>"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves good and bad answers by path and counts requests."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
        elif self.path == "/flaky" and self.server.asked.count("/flaky") < 3:
            self.send_error(503)
        elif self.path == "/cut":
            self._send(CONTENT[:1000], length=len(CONTENT))
        elif self.path == "/cut_unannounced":
            self._send(CONTENT[:1000], length=None)
        elif self.path == "/page":
            self._send(PAGE, content_type="text/html; charset=utf-8")
        elif self.path == "/longer":
            self._send(CONTENT * 3)
        elif self.path == "/endless":
            self._send(CONTENT * 3000, length=None)
        elif self.path == "/damaged":
            self._send(b"X" + CONTENT[1:])
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
        else:
            self._send(CONTENT)

    def _send(self, body, length=-1, content_type="application/octet-stream"):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.server.hung_up = True

    def log_message(self, *args):
        """Keep the test output quiet."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(https, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("CDGM_DATA_MIRROR", raising=False)


def web(server, *paths, **changes):
    options = {"filename": "data.bin", "size": len(CONTENT), "sha256": sha256(CONTENT), "licence": "MIT"}
    urls = [f"http://127.0.0.1:{server.server_port}{path}" for path in paths]
    return DOWNLOADS.parse({"kind": "https", "urls": urls, **options, **changes})


def nothing_left(folder: Path) -> bool:
    return not any(path.is_file() for path in folder.rglob("*"))


def test_a_file_arrives_whole(server, tmp_path):
    out = tmp_path / "raw" / "data.bin"
    assert fetch(web(server, "/file"), "download toy", out)["origin"] == "https"
    assert out.read_bytes() == CONTENT
    assert [path.name for path in out.parent.iterdir()] == ["data.bin"]


def test_redirects_are_followed_and_md5_is_enough(server, tmp_path):
    download = web(server, "/moved", sha256=None, md5=hashlib.md5(CONTENT).hexdigest())
    fetch(download, "download toy", tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, tmp_path):
    fetch(web(server, "/flaky"), "download toy", tmp_path / "data.bin")
    assert server.asked == ["/flaky"] * 3


def test_the_next_address_is_tried_when_one_fails(server, tmp_path):
    fetch(web(server, "/missing", "/file"), "download toy", tmp_path / "data.bin")
    assert server.asked == ["/missing", "/file"]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/missing", ["/missing", "HTTP 404", "CDGM_DATA_MIRROR"]),
        ("/cut", ["/cut", "1000", len(CONTENT)]),
        ("/cut_unannounced", ["/cut_unannounced", "1000", len(CONTENT)]),
        ("/page", ["/page", "HTML page", len(PAGE), len(CONTENT)]),
        ("/longer", ["/longer", 3 * len(CONTENT), len(CONTENT)]),
        ("/endless", ["data.bin", "size in bytes", len(CONTENT)]),
        ("/damaged", ["data.bin", "sha256", sha256(b"X" + CONTENT[1:]), sha256(CONTENT)]),
    ],
)
def test_a_bad_answer_is_one_line_and_leaves_nothing(server, tmp_path, path, parts):
    refused(lambda: fetch(web(server, path), "download toy", tmp_path / "data.bin"), "download toy", *parts)
    assert nothing_left(tmp_path)


def test_too_long_a_file_is_not_read_to_its_end(server, tmp_path):
    message = refused(lambda: fetch(web(server, "/endless"), "download toy", tmp_path / "data.bin"))
    assert server.asked == ["/endless"]
    assert int(re.search(r"got (\d+)", message)[1]) <= len(CONTENT) + https.BLOCK_BYTES < len(CONTENT) * 3000


def test_a_bad_download_keeps_the_old_file(server, tmp_path):
    out = tmp_path / "data.bin"
    out.write_bytes(b"old")
    refused(lambda: fetch(web(server, "/damaged"), "download toy", out))
    assert out.read_bytes() == b"old"


def test_no_network_names_the_address_and_the_way_out(tmp_path, monkeypatch, server):
    download = web(server, "/file")
    server.shutdown()
    server.server_close()
    monkeypatch.setattr(https, "ATTEMPTS", 1)
    message = refused(
        lambda: fetch(download, "download toy", tmp_path / "data.bin"), "/file", "no connection"
    )
    assert "CDGM_DATA_MIRROR" in message
    assert sha256(CONTENT) in message
    assert nothing_left(tmp_path)


# The mirror


def test_the_mirror_is_searched_by_checksum_not_by_name(server, tmp_path, monkeypatch):
    folder = tmp_path / "mirror" / "deep"
    folder.mkdir(parents=True)
    (folder / "a_same_size.bin").write_bytes(b"X" + CONTENT[1:])
    (folder / "renamed").write_bytes(CONTENT)
    monkeypatch.setenv("CDGM_DATA_MIRROR", str(tmp_path / "mirror"))
    noted = fetch(web(server, "/file"), "download toy", tmp_path / "out" / "data.bin")
    assert (noted["origin"], noted["path"]) == ("mirror", str(folder / "renamed"))
    assert server.asked == []


def test_a_truncated_mirror_copy_is_passed_over(server, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "data.bin").write_bytes(CONTENT[:-1])
    monkeypatch.setenv("CDGM_DATA_MIRROR", str(folder))
    with caplog.at_level(logging.WARNING):
        assert fetch(web(server, "/file"), "download toy", tmp_path / "data.bin")["origin"] == "https"
    assert "size is not" in caplog.text


def test_a_file_of_the_mirror_that_can_not_be_read_is_passed_over(server, tmp_path, monkeypatch, caplog):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "data.bin").write_bytes(CONTENT)
    (folder / "link").symlink_to(folder / "nowhere")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    monkeypatch.setenv("CDGM_DATA_MIRROR", str(folder))
    real = fetching.checksum

    def unreadable(path, algorithm):
        if Path(path).parent == folder:
            raise PermissionError(13, "Permission denied")
        return real(path, algorithm)

    monkeypatch.setattr(fetching, "checksum", unreadable)
    with caplog.at_level(logging.WARNING):
        assert fetch(web(server, "/file"), "download toy", tmp_path / "data.bin")["origin"] == "https"
    assert "data.bin ignored: Permission denied" in caplog.text


def test_a_mirror_that_is_no_folder_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CDGM_DATA_MIRROR", str(tmp_path / "none"))
    refused(
        lambda: fetch(web(server, "/file"), "download toy", tmp_path / "data.bin"), "CDGM_DATA_MIRROR", "none"
    )


# Wheels


def make_wheel(folder: Path, member: str = "toy/data/cells.bin", content: bytes = CONTENT) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "cdgm_toy_data-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: cdgm-toy-data\nVersion: 1.0\n"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy/__init__.py", "raise RuntimeError('data packages are never imported')\n")
        archive.writestr(member, content)
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


def test_one_member_comes_out_of_the_wheel(index, tmp_path):
    make_wheel(index)
    assert fetch(wheel_download(), "download toy", tmp_path / "raw" / "cells.bin")["origin"] == "pypi"
    assert (tmp_path / "raw" / "cells.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["cells.bin"]


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
        (b"X" + CONTENT[1:], {}, ["sha256", sha256(CONTENT)]),
        (CONTENT[:-1], {}, ["size in bytes", len(CONTENT) - 1, len(CONTENT)]),
        (CONTENT * 9, {}, ["size in bytes", len(CONTENT) + 1, len(CONTENT)]),
    ],
    ids=["member", "checksum", "short", "bomb"],
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


def test_members_that_climb_out_of_a_wheel_are_never_written(tmp_path):
    wheel = make_wheel(tmp_path / "index")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("../../escaped.bin", b"evil")
        archive.writestr("/escaped.bin", b"evil")
    download = wheel_download()
    ready = type("Ready", (type(download),), {"_download": lambda self, folder, name: wheel})
    fetch(ready.model_validate(download.model_dump()), "download toy", tmp_path / "a" / "b" / "cells.bin")
    assert (tmp_path / "a" / "b" / "cells.bin").read_bytes() == CONTENT
    assert not list(tmp_path.rglob("escaped*"))
    assert not Path("/escaped.bin").exists()


# Options


@pytest.mark.parametrize(
    ("kind", "changes", "parts"),
    [
        ("https", {"urls": ["ftp://example.org/a"]}, ["ftp://example.org/a", "https://"]),
        ("https", {"urls": ["file:" + "///etc/passwd"]}, ["https://"]),
        ("https", {"urls": []}, ["urls"]),
        ("https", {"sha256": "abc"}, ["sha256"]),
        ("https", {"sha256": None}, ["exactly one of sha256 and md5", "0"]),
        ("https", {"md5": "0" * 32}, ["exactly one of sha256 and md5", "2"]),
        ("https", {"urls": ["https://me:secret@example.org/a"]}, ["user and password"]),
        ("pypi", {"sha256": None}, ["exactly one of sha256 and md5"]),
        ("https", {"size": None}, ["size"]),
        ("https", {"size": -1}, ["size"]),
        ("https", {"licence": ""}, ["licence"]),
        ("https", {"filename": "../escape"}, ["filename"]),
        ("https", {"colour": "red"}, ["colour"]),
        ("pypi", {"requirement": "scspectra"}, ["requirement"]),
        ("pypi", {"requirement": "--no-deps=evil==1"}, ["requirement"]),
        ("pypi", {"requirement": "scspectra==1.*"}, ["requirement"]),
        ("pypi", {"member": "../../etc/passwd"}, ["member"]),
        ("pypi", {"member": "/etc/passwd"}, ["member"]),
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


# The command line


def command(*arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).parents[2]
    script = [sys.executable, str(root / "workflow_scripts" / "fetch.py"), *arguments]
    return subprocess.run(
        script,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
    )


def test_the_command_line_fetches_and_refuses_in_one_line(tmp_path):
    (tmp_path / "mine.bin").write_bytes(CONTENT)
    spec = {"kind": "local", "path": str(tmp_path / "mine.bin"), "filename": "mine.bin"}
    write_json(tmp_path / "good.json", spec)
    words = ("--name", "mine", "--out")
    good = command("--spec", str(tmp_path / "good.json"), *words, str(tmp_path / "out.bin"))
    assert good.returncode == 0, good.stderr
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    spec["sha256"] = "0" * 64
    write_json(tmp_path / "bad.json", spec)
    bad = command("--spec", str(tmp_path / "bad.json"), *words, str(tmp_path / "bad.bin"))
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert "0" * 64 in bad.stderr
    noted = json.loads((tmp_path / "provenance.json").read_text())
    assert noted["spec"] == {key: spec[key] for key in ("kind", "path", "filename")}
    assert noted["fetched"] == {
        "origin": "local", "path": spec["path"], "size": len(CONTENT), "sha256": sha256(CONTENT)
    }  # fmt: skip
    assert not (tmp_path / "bad.bin").exists()


@pytest.mark.network
def test_the_real_wheel_holds_the_cells(tmp_path):
    spec = {
        "kind": "pypi",
        "requirement": "scspectra==0.2.1",
        "member": "Spectra/data/sample_data.h5ad",
        "filename": "sample_data.h5ad",
        "size": 6930953,
        "sha256": "e15ac9477027736f590f50caa69138083253381f610b6ba2cbd2fe2d3c2d3cab",
        "licence": "MIT",
    }
    from cdgm.utils.errors import UserError

    try:
        fetch(DOWNLOADS.parse(spec), "download immune", tmp_path / "sample_data.h5ad")
    except UserError as error:
        if "pip cannot download" in str(error):
            pytest.skip(f"no package index within reach: {error}")
        raise
    from cdgm.data.readers import READERS

    reader = {"kind": "h5ad_log2", "labels": {"cell_type": "cell_type_annotations"}, "tolerance": 0.01}
    cells = READERS.parse(reader).read(tmp_path / "sample_data.h5ad")
    assert cells.counts.shape == (1000, 6397)
    assert cells.counts.data.min() == 1
    assert cells.obs["cell_type"].nunique() > 5
