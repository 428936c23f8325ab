"""An interrupted download resumes safely, and a misbehaving server gives one line in bounded time."""

import gzip
import hashlib
import json
import logging
import os
import re
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cdgm.data.downloads import DOWNLOADS, resume
from cdgm.data.fetch import fetch
from cdgm.utils import progress
from cdgm.utils.files import write_json
from tests.unit.data_helpers import refused, sha256
from tests.unit.file_server import PAGE, address, serving

ROOT = Path(__file__).parents[2]
CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(len(CONTENT))
CUT = 100_000
PARTIAL = ["partial", "partial.json"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(resume, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(resume, "LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("CDGM_DATA_MIRROR", raising=False)
    with serving(CONTENT) as running:
        yield running


def options(server, **changes) -> dict:
    known = {"filename": "data.bin", "size": len(CONTENT), "sha256": sha256(CONTENT), "licence": "MIT"}
    return {"kind": "https", "urls": [address(server)]} | known | changes


def get(server, folder, *answers, **changes):
    server.answers = list(answers) or server.answers
    return fetch(DOWNLOADS.parse(options(server, **changes)), "download toy", folder / "raw")


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# What arrives, and what is refused


def test_a_file_arrives_whole_through_a_redirect_and_a_busy_server(server, tmp_path):
    changes = {"sha256": None, "md5": hashlib.md5(CONTENT).hexdigest()}
    noted = get(server, tmp_path, {"status": 503}, {"location": "/elsewhere"}, {}, **changes)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert noted == {
        "origin": "https", "url": address(server), "resumed_at": [], "size": len(CONTENT),
        "sha256": sha256(CONTENT),
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    # Readable as any other file, though it passed through a temporary one.
    assert (tmp_path / "raw").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


DAMAGED = b"X" + CONTENT[1:]


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ({"status": 404}, ["HTTP 404", "CDGM_DATA_MIRROR", sha256(CONTENT)]),
        ({"cut": 1000, "ranges": False}, ["connection closed after 1000", len(CONTENT)]),
        ({"content": PAGE, "page": True}, ["HTML page", len(PAGE), len(CONTENT)]),
        ({"content": PAGE, "unannounced": True}, ["HTML page", len(PAGE)]),
        ({"content": CONTENT * 2}, ["announces", 2 * len(CONTENT), len(CONTENT)]),
        ({"content": CONTENT * 2, "unannounced": True}, ["size in bytes", len(CONTENT)]),
        ({"content": DAMAGED}, ["SHA256", sha256(DAMAGED), sha256(CONTENT)]),
        ({"location": "ftp:" + "//example.org/a"}, ["No connection adapters", "ftp"]),
    ],
    ids=["missing", "cut", "page", "unannounced page", "longer", "endless", "damaged", "other scheme"],
)
def test_a_bad_answer_is_one_line_and_keeps_the_old_file(server, tmp_path, answer, parts):
    (tmp_path / "raw").write_bytes(b"old")
    refused(lambda: get(server, tmp_path, answer), "download toy", *parts)
    assert files(tmp_path) == ["raw"]
    assert (tmp_path / "raw").read_bytes() == b"old"


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def length(n: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % n


STRANGE = {
    "nothing": ([], "no connection"),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "no connection"),
    "two lengths": ([OK + b"Content-Length: 5, 7\r\n\r\n", CONTENT[:5]], "unmatching values"),
    "a negative length": ([OK + b"Content-Length: -5\r\n\r\n", CONTENT[:5]], "after 5 of"),
    "strange chunks": ([CHUNKED, b"zz\r\n", CONTENT[:5]], "connection lost"),
    "not packed": ([OK + b"Content-Encoding: gzip\r\n\r\n", CONTENT], "incorrect header check"),
    "no address": ([b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\n" + length(0)], "/data.bin: "),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_answer_is_one_line_and_leaves_nothing(server, tmp_path, case):
    parts, said = STRANGE[case]
    refused(lambda: get(server, tmp_path, {"raw": parts}), "download toy: cannot be downloaded", said)
    assert files(tmp_path) == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_without_end_is_not_read(server, tmp_path, packed):
    """A body of 64 MB, packed to 64 kB or not, of which only a little more than the expected size is read."""
    body = gzip.compress(bytes(1 << 26), 1) if packed else CONTENT * 200
    head = OK + (b"Content-Encoding: gzip\r\n\r\n" if packed else b"\r\n")
    message = refused(lambda: get(server, tmp_path, {"raw": [head, body]}), "size in bytes", len(CONTENT))
    assert int(re.search(r"got (\d+)", message)[1]) <= len(CONTENT) + 2 * resume.BLOCK_BYTES
    assert len(server.asked) == 1
    if packed:
        get(server, tmp_path, {"raw": [head, gzip.compress(CONTENT)]})
        assert (tmp_path / "raw").read_bytes() == CONTENT


def test_a_server_that_drips_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SLOWEST_SECONDS", 0.05)

    def drip():
        yield OK + length(len(CONTENT))
        for i in range(len(CONTENT)):
            yield CONTENT[i : i + 1]
            time.sleep(0.01)

    refused(lambda: get(server, tmp_path, *({"raw": drip()} for _ in range(9))), "only", "bytes in")
    assert len(server.asked) == resume.ATTEMPTS


def test_a_full_disk_is_told_before_the_first_byte_and_meanwhile(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(resume.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
        refused(lambda: get(server, tmp_path), "free bytes", "got 10", len(CONTENT))
        assert files(tmp_path) == []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # The system refuses to write, as it does on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        refused(lambda: get(server, tmp_path), "raw: cannot be written: File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "raw").exists()
    get(server, tmp_path)
    assert files(tmp_path) == ["raw"]


def test_logs_get_a_line_now_and_then_and_terminals_a_bar(server, tmp_path, caplog, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "SECONDS_TO_FIRST_LINE", 0.0)
    monkeypatch.setattr(resume, "BLOCK_BYTES", 1 << 14)
    with caplog.at_level(logging.INFO):
        get(server, tmp_path / "a")
    assert len([line for line in caplog.messages if re.fullmatch(r"download toy: \d of 0 MB .*", line)]) > 5
    caplog.clear()
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with caplog.at_level(logging.INFO):
        get(server, tmp_path / "b")
    assert "/300k" in capsys.readouterr().err
    assert not [line for line in caplog.messages if " MB " in line]


# Resuming


@pytest.mark.parametrize(
    "marks", [{"tag": '"v1"'}, {"date": "Mon, 05 Jan 2026 10:00:00 GMT"}, {}], ids=["tag", "date", "size"]
)
def test_after_a_cut_only_the_rest_is_sent(server, tmp_path, marks):
    noted = get(server, tmp_path, {"cut": CUT, **marks}, marks)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    first, second = server.asked
    assert first["range"] is None
    assert second["range"] == f"bytes={CUT}-"
    assert second["if_range"] == next(iter(marks.values()), None)
    assert first["sent"] + second["sent"] == len(CONTENT)
    assert noted["resumed_at"] == [CUT]


def test_a_later_run_asks_for_the_rest(server, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "ATTEMPTS", 1)
    mark = {"tag": '"v1"'}
    refused(
        lambda: get(server, tmp_path, {"cut": CUT, **mark}, {"status": 503}),
        "HTTP 503",
        f"{CUT} bytes are kept",
    )
    assert files(tmp_path) == PARTIAL
    noted = get(server, tmp_path, mark)
    assert server.asked[-1] == {"range": f"bytes={CUT}-", "if_range": '"v1"', "sent": len(CONTENT) - CUT}
    assert noted["resumed_at"] == [CUT]
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_without_network_the_beginning_stays(server, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "ATTEMPTS", 1)
    refused(lambda: get(server, tmp_path, {"cut": CUT}, {"status": 503}), "HTTP 503")
    server.shutdown()
    server.server_close()
    refused(lambda: get(server, tmp_path), "no connection", "CDGM_DATA_MIRROR")
    assert files(tmp_path) == PARTIAL


def test_many_cuts_are_survived_as_long_as_each_attempt_brings_something(server, tmp_path):
    noted = get(server, tmp_path, {"cut": 40_000, "tag": '"v1"'})
    assert len(server.asked) == 8 > resume.ATTEMPTS
    assert noted["resumed_at"] == [40_000 * i for i in range(1, 8)]
    assert sum(asked["sent"] for asked in server.asked) == len(CONTENT)


@pytest.mark.parametrize("answer", [{"cut": 10, "tag": '"v"'}, {"cut": CUT, "ranges": False}])
def test_attempts_that_bring_next_to_nothing_end(server, tmp_path, answer):
    refused(lambda: get(server, tmp_path, answer), "connection closed after", f"of {len(CONTENT)} bytes")
    assert len(server.asked) <= resume.ATTEMPTS + 1
    assert files(tmp_path) == (PARTIAL if "tag" in answer else [])


def test_a_file_that_changed_between_two_attempts_is_sent_whole(server, tmp_path):
    get(server, tmp_path, {"cut": CUT, "tag": '"old"', "content": OTHER}, {"tag": '"new"'})
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert server.asked[1] == {"range": f"bytes={CUT}-", "if_range": '"old"', "sent": len(CONTENT)}


def test_an_unannounced_change_is_found_by_the_checksum(server, tmp_path):
    mixed = sha256(OTHER[:CUT] + CONTENT[CUT:])
    refused(lambda: get(server, tmp_path, {"cut": CUT, "content": OTHER}, {}), mixed, sha256(CONTENT))
    assert files(tmp_path) == []


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    plain = {"ranges": False, "tag": '"v1"'}
    noted = get(server, tmp_path, plain | {"cut": CUT}, plain)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert server.asked[1]["sent"] == len(CONTENT)
    assert noted["resumed_at"] == []


@pytest.mark.parametrize("bad", [{"wrong_range": True}, {"status": 416}], ids=["other range", "416"])
def test_a_wrong_range_starts_anew(server, tmp_path, bad):
    mark = {"tag": '"v1"'}
    get(server, tmp_path, mark | {"cut": CUT}, mark | bad, mark)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert [asked["range"] for asked in server.asked] == [None, f"bytes={CUT}-", None]


def test_the_beginning_of_another_file_is_discarded(server, tmp_path):
    refused(lambda: get(server, tmp_path, {"cut": CUT, "tag": '"v1"'}, {"status": 404}), "HTTP 404")
    note = json.loads((tmp_path / "raw.part" / "partial.json").read_text())
    assert note["checksum"] == f"sha256:{sha256(CONTENT)}"
    get(server, tmp_path, {"content": OTHER, "tag": '"v1"'}, sha256=sha256(OTHER))
    assert server.asked[-1]["range"] is None
    assert (tmp_path / "raw").read_bytes() == OTHER


def test_a_download_that_is_killed_resumes(server, tmp_path):
    killed = threading.Event()

    def stalled():
        yield OK + b'ETag: "1"\r\n' + length(len(CONTENT))
        yield CONTENT[:CUT]
        killed.wait(60)

    server.answers = [{"raw": stalled()}, {"tag": '"1"'}]
    command = [sys.executable, "-m", "workflow_scripts.fetch", "--name", "toy", "--out", tmp_path / "raw"]
    write_json(tmp_path / "spec.json", options(server))
    command += ["--spec", tmp_path / "spec.json"]
    partial = tmp_path / "raw.part" / "partial"
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        while not partial.is_file() or partial.stat().st_size < CUT:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    killed.set()
    assert not (tmp_path / "raw").exists()
    assert get(server, tmp_path)["resumed_at"] == [CUT]
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert "raw.part" not in [path.name for path in tmp_path.iterdir()]
