"""Servers that misbehave on purpose, down to the bytes that they send: one line each, and an end to it."""

from __future__ import annotations

import contextlib
import gzip
import os
import resource
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cdgm.data.downloads import DOWNLOADS, https
from cdgm.data.fetch import fetch
from cdgm.utils.files import write_json
from tests.unit.data_helpers import refused, sha256

ROOT = Path(__file__).parents[2]
CONTENT = bytes(range(256)) * 400
CLOSE = b"Connection: close\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" + CLOSE


class Answers(socketserver.BaseRequestHandler):
    """Sends what the server's function yields, whatever was asked."""

    def handle(self):
        with contextlib.suppress(OSError):
            self.request.recv(65_536)
            self.server.asked += 1
            for part in self.server.answer():
                self.request.sendall(part)


class Server(socketserver.ThreadingTCPServer):
    """One answer for all requests."""

    daemon_threads = True
    block_on_close = False
    asked = 0

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.answer = lambda: []


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(https, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(https, "LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("CDGM_DATA_MIRROR", raising=False)
    with Server() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def options(server) -> dict:
    """Of a download from the server."""
    known = {"filename": "data.bin", "size": len(CONTENT), "sha256": sha256(CONTENT), "licence": "MIT"}
    return known | {"kind": "https", "urls": [f"http://127.0.0.1:{server.server_address[1]}/data.bin"]}


def get(server, folder, *parts: bytes, answer=None):
    server.answer = answer or (lambda: parts)
    return fetch(DOWNLOADS.parse(options(server)), "download toy", folder / "raw")


def length(n: int) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % n


def test_more_bytes_than_announced_are_not_read(server, tmp_path):
    get(server, tmp_path, OK + length(len(CONTENT)), CONTENT, b"more" * 100_000)
    assert (tmp_path / "raw").read_bytes() == CONTENT


def test_chunks_are_put_together(server, tmp_path):
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (CONTENT[:70_000], CONTENT[70_000:])]
    get(server, tmp_path, OK + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n")
    assert (tmp_path / "raw").read_bytes() == CONTENT


def test_a_server_that_lets_bytes_through_one_by_one_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(https, "SLOWEST_SECONDS", 0.2)

    def drip():
        yield OK + length(len(CONTENT))
        for i in range(len(CONTENT)):
            yield CONTENT[i : i + 1]
            time.sleep(0.02)

    begun = time.monotonic()
    refused(lambda: get(server, tmp_path, answer=drip), "/data.bin: only", "bytes in")
    assert time.monotonic() - begun < 20
    assert server.asked == https.ATTEMPTS


def test_a_server_that_closes_after_a_few_bytes_each_time_is_given_up(server, tmp_path):
    """It honours ranges, so each try brings something new."""

    def few():
        start = 10 * (server.asked - 1)
        status = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n" + CLOSE
        yield status % (start, len(CONTENT) - 1, len(CONTENT)) if start else OK
        yield b'ETag: "1"\r\n' + length(len(CONTENT) - start)
        yield CONTENT[start : start + 10]

    message = refused(lambda: get(server, tmp_path, answer=few), f"after 40 of {len(CONTENT)} bytes")
    assert server.asked == https.ATTEMPTS
    assert "40 bytes are kept" in message


def test_a_slow_server_is_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(https, "SLOWEST_SECONDS", 0.05)
    monkeypatch.setattr(https, "SLOWEST_BYTES", 1_000)

    def slow():
        yield OK + length(len(CONTENT))
        for start in range(0, len(CONTENT), 10_240):
            yield CONTENT[start : start + 10_240]
            time.sleep(0.03)

    get(server, tmp_path, answer=slow)
    assert server.asked == 1


def moved(place: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n" + CLOSE + length(0)


def busy(wait: bytes) -> bytes:
    return b"HTTP/1.1 503 Busy\r\nRetry-After: " + wait + b"\r\n" + CLOSE + length(0)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
STRANGE = {
    "nothing": ([], "no connection"),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.6\r\n"], "no connection"),
    "many headers": ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"\r\n"], "no connection"),
    "a long header": ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000], "no connection"),
    "a cut": ([OK + length(len(CONTENT)), CONTENT[:100]], "after 100 of"),
    "two lengths": ([OK + b"Content-Length: 5, 7\r\n\r\n", CONTENT[:5]], "unmatching values"),
    "a negative length": ([OK + b"Content-Length: -5\r\n\r\n", CONTENT[:5]], "after 5 of"),
    "a strange length": ([OK + b"Content-Length: \xb2\r\n\r\n", CONTENT[:5]], "after 5 of"),
    "strange chunks": ([CHUNKED, b"zz\r\n", CONTENT[:5]], "connection lost"),
    "a cut chunk": ([CHUNKED, b"99\r\n", CONTENT[:5]], "connection lost"),
    "not packed": ([OK + b"Content-Encoding: gzip\r\n\r\n", CONTENT], "incorrect header check"),
    "a strange wait": ([busy(b"\xb2")], "HTTP 503"),
    "a long wait": ([busy(b"99999999999")], "HTTP 503"),
    "a circle": ([moved(b"/data.bin")], "Exceeded 30 redirects"),
    "an address that is no text": ([moved(b"http://\xff/")], "/data.bin: "),
    "an address without end": ([moved(b"http://[::1/")], "/data.bin: "),
    "another program": ([moved(b"gopher:" + b"//example.org/")], "No connection adapters"),
    "data for an address": ([moved(b"data:,x")], "No connection adapters"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_answer_is_one_line_and_leaves_nothing(server, tmp_path, case):
    parts, said = STRANGE[case]
    refused(lambda: get(server, tmp_path, *parts), "download toy: cannot be downloaded", said)
    assert not (tmp_path / "raw").exists()


def test_a_download_that_is_killed_goes_on_where_it_stopped(server, tmp_path):
    half, killed = len(CONTENT) // 2, threading.Event()

    def answer():
        if server.asked == 1:
            yield OK + b'ETag: "1"\r\n' + length(len(CONTENT))
            yield CONTENT[:half]
            killed.wait(60)
        else:
            yield b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n" % (
                half, len(CONTENT) - 1, len(CONTENT)
            ) + CLOSE + length(len(CONTENT) - half)  # fmt: skip
            yield CONTENT[half:]

    server.answer = answer
    command = [sys.executable, "-m", "workflow_scripts.fetch", "--name", "toy", "--out", tmp_path / "raw"]
    write_json(tmp_path / "spec.json", options(server))
    command += ["--spec", tmp_path / "spec.json"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        while not (tmp_path / "raw.part").is_file() or (tmp_path / "raw.part").stat().st_size < half:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    killed.set()
    assert not (tmp_path / "raw").exists()
    noted = fetch(DOWNLOADS.parse(options(server)), "download toy", tmp_path / "raw")
    assert noted["resumed_at"] == [half]
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_packed_answer_is_unpacked_up_to_the_expected_size(server, tmp_path):
    """Half a gigabyte of zeros within 0.5 MB."""
    bomb = gzip.compress(bytes(1 << 29), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    refused(lambda: get(server, tmp_path, OK + b"Content-Encoding: gzip\r\n\r\n", bomb), "size in bytes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert time.monotonic() - begun < 20
    get(server, tmp_path, OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(CONTENT))
    assert (tmp_path / "raw").read_bytes() == CONTENT


def test_a_disk_that_fills_up_meanwhile_is_told_in_one_line(server, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    parts = (OK + b'ETag: "1"\r\n' + length(len(CONTENT)), CONTENT)
    try:
        # The system refuses to write, as it does on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        refused(lambda: get(server, tmp_path, *parts), "raw: cannot be written: File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "raw").exists()
    get(server, tmp_path, *parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]
