"""Interrupted downloads go on where they stopped, and only where that is safe."""

from __future__ import annotations

import json
import logging
import re

import numpy as np
import pytest

from cdgm.data.downloads import DOWNLOADS, https
from cdgm.data.fetch import fetch
from cdgm.utils import progress
from tests.unit.data_helpers import refused, sha256
from tests.unit.file_server import PAGE, address, serving

CONTENT = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(len(CONTENT))
CUT = 1_000_000


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(https, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("CDGM_DATA_MIRROR", raising=False)
    with serving(CONTENT) as running:
        yield running


def download(server, **changes):
    options = {"filename": "data.bin", "size": len(CONTENT), "sha256": sha256(CONTENT), "licence": "MIT"}
    url = address(server)
    return DOWNLOADS.parse({"kind": "https", "urls": [url], **options, **changes})


def get(server, folder, **changes):
    return fetch(download(server, **changes), "download toy", folder / "raw")


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    "marks", [{"tag": '"v1"'}, {"date": "Mon, 05 Jan 2026 10:00:00 GMT"}, {}], ids=["tag", "date", "size"]
)
def test_after_a_cut_only_the_rest_is_sent(server, tmp_path, marks):
    server.answers = [{"cut": CUT, **marks}, marks]
    noted = get(server, tmp_path)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert files(tmp_path) == ["raw"]
    first, second = server.asked
    assert first["range"] is None
    assert second["range"] == f"bytes={CUT}-"
    assert second["if_range"] == next(iter(marks.values()), None)
    assert first["sent"] + second["sent"] == len(CONTENT)
    assert noted["resumed_at"] == [CUT]
    assert noted["sha256"] == sha256(CONTENT)


def test_a_weak_tag_is_no_proof_of_equal_bytes(server, tmp_path):
    server.answers = [{"cut": CUT, "tag": 'W/"v1"'}, {"tag": 'W/"v1"'}]
    get(server, tmp_path)
    assert server.asked[1]["if_range"] is None


def test_a_later_run_asks_for_the_rest(server, tmp_path, monkeypatch):
    monkeypatch.setattr(https, "ATTEMPTS", 1)
    server.answers = [{"cut": CUT, "tag": '"v1"'}, {"status": 503}]
    refused(lambda: get(server, tmp_path), "HTTP 503", f"{CUT} bytes are kept")
    assert files(tmp_path) == ["raw.part", "raw.part.json"]
    assert (tmp_path / "raw.part").stat().st_size == CUT
    server.answers = [{"tag": '"v1"'}]
    noted = get(server, tmp_path)
    assert server.asked[-1] == {"range": f"bytes={CUT}-", "if_range": '"v1"', "sent": len(CONTENT) - CUT}
    assert noted["resumed_at"] == [CUT]
    assert files(tmp_path) == ["raw"]


def test_a_network_that_is_away_leaves_the_beginning(server, tmp_path, monkeypatch):
    monkeypatch.setattr(https, "ATTEMPTS", 1)
    server.answers = [{"cut": CUT}, {"status": 503}]
    refused(lambda: get(server, tmp_path), "HTTP 503")
    wanted = download(server)
    server.shutdown()
    server.server_close()
    refused(lambda: fetch(wanted, "download toy", tmp_path / "raw"), "no connection")
    assert (tmp_path / "raw.part").stat().st_size == CUT


def test_many_cuts_are_survived_as_long_as_each_try_brings_something(server, tmp_path):
    server.answers = [{"cut": 400_000, "tag": '"v1"'}]
    noted = get(server, tmp_path)
    assert len(server.asked) == 8 > https.ATTEMPTS
    assert noted["resumed_at"] == [400_000 * i for i in range(1, 8)]
    assert sum(asked["sent"] for asked in server.asked) == len(CONTENT)


def test_a_file_that_changed_between_two_tries_is_sent_whole(server, tmp_path):
    server.answers = [{"cut": CUT, "tag": '"old"', "content": OTHER}, {"tag": '"new"'}]
    get(server, tmp_path)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert server.asked[1] == {"range": f"bytes={CUT}-", "if_range": '"old"', "sent": len(CONTENT)}


def test_a_change_that_nothing_tells_is_found_by_the_checksum(server, tmp_path):
    server.answers = [{"cut": CUT, "content": OTHER}, {}]
    refused(lambda: get(server, tmp_path), "sha256", sha256(OTHER[:CUT] + CONTENT[CUT:]), sha256(CONTENT))
    assert files(tmp_path) == []
    get(server, tmp_path)
    assert server.asked[-1]["range"] is None


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.answers = [{"cut": CUT, "ranges": False, "tag": '"v1"'}, {"ranges": False, "tag": '"v1"'}]
    noted = get(server, tmp_path)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert server.asked[1]["sent"] == len(CONTENT)
    assert noted["resumed_at"] == []


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, tmp_path):
    server.answers = [{"cut": CUT, "ranges": False}]
    refused(lambda: get(server, tmp_path), f"after {CUT} of {len(CONTENT)} bytes")
    assert len(server.asked) == https.ATTEMPTS + 1  # the first one brought something
    assert files(tmp_path) == []


@pytest.mark.parametrize("bad", [{"wrong_range": True}, {"status": 416}], ids=["other range", "416"])
def test_a_wrong_range_starts_anew(server, tmp_path, bad):
    server.answers = [{"cut": CUT, "tag": '"v1"'}, {"tag": '"v1"', **bad}, {"tag": '"v1"'}]
    get(server, tmp_path)
    assert (tmp_path / "raw").read_bytes() == CONTENT
    assert [asked["range"] for asked in server.asked] == [None, f"bytes={CUT}-", None]


def test_a_page_in_place_of_the_rest_does_not_cost_the_beginning(server, tmp_path):
    server.answers = [{"cut": CUT, "tag": '"v1"'}, {"content": PAGE, "page": True, "ranges": False}]
    refused(lambda: get(server, tmp_path), "HTML page")
    assert (tmp_path / "raw.part").stat().st_size == CUT
    server.answers = [{"content": PAGE, "page": True}]
    refused(lambda: get(server, tmp_path / "anew"), "HTML page", len(PAGE), len(CONTENT))
    assert files(tmp_path / "anew") == []


def test_a_beginning_of_another_file_is_not_gone_on_with(server, tmp_path):
    server.answers = [{"cut": CUT, "tag": '"v1"'}, {"status": 404}]
    refused(lambda: get(server, tmp_path), "HTTP 404")
    note = json.loads((tmp_path / "raw.part.json").read_text())
    assert note["sha256"] == sha256(CONTENT)
    server.answers = [{"content": OTHER, "tag": '"v1"'}]
    fetch(download(server, sha256=sha256(OTHER)), "download toy", tmp_path / "raw")
    assert server.asked[-1]["range"] is None
    assert (tmp_path / "raw").read_bytes() == OTHER


def test_a_busy_server_may_say_how_long_to_wait(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(https.time, "sleep", waits.append)
    monkeypatch.setattr(https, "WAIT_SECONDS", 2.0)
    server.answers = [{"status": 503}, {"status": 503}, {"status": 429}, {}]
    get(server, tmp_path)
    assert waits == [4.0, 8.0, 16.0]


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_redirects_stay_on_the_web(server, tmp_path, scheme):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    server.answers = [{"location": f"{scheme}:{'//'}{secret}"}]
    refused(lambda: get(server, tmp_path / "out"), "No connection adapters", scheme)
    assert len(server.asked) == 1
    assert files(tmp_path / "out") == []


def test_a_full_disk_is_told_before_the_first_byte(server, tmp_path, monkeypatch):
    monkeypatch.setattr(https.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    refused(lambda: get(server, tmp_path), "free bytes", "got 10", len(CONTENT))
    assert files(tmp_path) == []


def test_logs_get_a_line_now_and_then_and_terminals_a_bar(server, tmp_path, caplog, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO):
        get(server, tmp_path)
    lines = [line for line in caplog.messages if re.fullmatch(r"download toy: \d of 3 MB \(\d+ %\)", line)]
    assert len(lines) >= len(CONTENT) // https.BLOCK_BYTES
    caplog.clear()
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with caplog.at_level(logging.INFO):
        get(server, tmp_path)
    assert "/3.00M" in capsys.readouterr().err
    assert not [line for line in caplog.messages if " MB " in line]
