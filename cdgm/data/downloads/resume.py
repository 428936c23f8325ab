"""A downloader for pooch that resumes an interrupted download."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import read_json, write_json
from cdgm.utils.progress import progress

logger = logging.getLogger(__name__)

# Patience changes no result, so it is not part of the config.
ATTEMPTS = 4  # in a row that bring next to nothing
WAIT_SECONDS = 2.0  # doubled after each of them
LONGEST_WAIT_SECONDS = 60.0
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
BLOCK_BYTES = 1 << 18
# A slower connection is given up, or it would hold the run for weeks.
SLOWEST_BYTES, SLOWEST_SECONDS = 1 << 14, 60.0


class DownloadFailed(Exception):
    """An attempt failed.

    Attributes
    ----------
    again
        Whether another attempt may succeed.
    wait
        Seconds that the server asks to wait.
    """

    def __init__(self, reason: str, *, again: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


class ResumableDownloader:
    """Downloads one file over HTTP and keeps what arrived when it fails.

    Parameters
    ----------
    name
        For messages.
    size, checksum
        Of the whole file; a partial file of any other is discarded.
    partial
        Where the partial file is kept. Beside it, ``<partial>.json`` notes which file it is the beginning of
        and the server's validator (a strong ETag, else the date of the last change).

    Attributes
    ----------
    resumed_at
        Sizes at which the download was resumed.
    """

    def __init__(self, name: str, size: int, checksum: str, partial: Path) -> None:
        self.name, self.size, self.checksum, self.partial = name, size, checksum, partial
        self.note = partial.with_name(f"{partial.name}.json")
        self.resumed_at: list[int] = []
        self.resumable = True

    def __call__(self, url: str, output_file: str | os.PathLike[str], pooch: object = None) -> None:
        """Download ``url`` to ``output_file``; the signature is pooch's.

        Raises
        ------
        DownloadFailed
            If no attempt brought the whole file.
        """
        idle, most = 0, 0
        while True:
            try:
                self._attempt(url)
                break
            except DownloadFailed as failure:
                # Only new bytes count, and only if there are many: a server without ranges, or one that
                # sends a few bytes each time, would otherwise go on for ever.
                have = self.have()
                idle = 0 if have >= most + SLOWEST_BYTES else idle + 1
                most = max(most, have)
                logger.info("%s: %s: %s", self.name, url, failure)
                if not failure.again or idle >= ATTEMPTS:
                    if not self.resumable:
                        self.discard()
                    raise
                time.sleep(max(failure.wait, min(WAIT_SECONDS * 2**idle, LONGEST_WAIT_SECONDS)))
        os.replace(self.partial, output_file)
        self.discard()

    def have(self) -> int:
        """Bytes of the partial file."""
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def discard(self) -> None:
        """Delete the partial file and its note."""
        for path in (self.partial, self.note):
            path.unlink(missing_ok=True)

    def _attempt(self, url: str) -> None:
        """Send one request, for the rest if a beginning is there."""
        import requests
        from requests import packages

        # The errors of a body that is read from the connection; requests brings them along.
        transport: Any = vars(packages)["urllib3"].exceptions

        expected = {"url": url, "size": self.size, "checksum": self.checksum}
        have, validator = self._begun(expected)
        if have == self.size:
            return
        # The checksum is of the file itself, not of a compressed transfer.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            # With If-Range, a server whose file has changed sends all of the new one.
            headers |= {"If-Range": validator} if validator else {}
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        answered = False
        try:
            with requests.get(url, stream=True, timeout=timeout, headers=headers) as response:
                answered = True
                self._check_answer(response, have)
                if response.status_code == 206:
                    self.resumed_at.append(have)
                    logger.info("%s: resuming after %d of %d bytes", self.name, have, self.size)
                else:
                    self._begin(response, expected)
                    have = 0
                self._stream(response, have)
        except (requests.exceptions.Timeout, transport.TimeoutError):
            reason = f"no more bytes in time{self._after()}" if answered else "no answer in time"
            raise DownloadFailed(reason, again=True) from None
        except (requests.exceptions.ConnectionError, transport.ProtocolError) as error:
            lost = f"connection lost{self._after()}"
            reason = lost if answered else f"no connection ({_innermost(error)})"
            raise DownloadFailed(reason, again=True) from None
        # ValueError: from a redirect whose address is malformed.
        except (requests.exceptions.RequestException, transport.HTTPError, ValueError) as error:
            raise DownloadFailed(_innermost(error), again=False) from None
        have = self.have()
        if have < self.size and _is_html(self.partial):
            self.discard()
            raise _page(have, self.size)
        if have < self.size:
            raise DownloadFailed(f"connection closed{self._after()}", again=True)

    def _begun(self, expected: dict[str, Any]) -> tuple[int, str | None]:
        """Size of the partial file, and its validator, if it belongs to the expected file."""
        noted = None
        with contextlib.suppress(UserError):
            noted = read_json(self.note)
        if not self.have() or not isinstance(noted, dict) or not expected.items() <= noted.items():
            self.discard()
            return 0, None
        return self.have(), noted.get("validator")

    def _begin(self, response: Any, expected: dict[str, Any]) -> None:
        """Start a new partial file and note what it is the beginning of."""
        tag = response.headers.get("ETag", "")
        validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        self.resumable = bool(validator or response.headers.get("Accept-Ranges") == "bytes")
        self.discard()
        free = shutil.disk_usage(self.partial.parent).free
        if free < self.size:
            raise bad_input(self.name, f"free bytes at {self.partial.parent}", free, f"{self.size}")
        write_json(self.note, expected | {"validator": validator})

    def _check_answer(self, response: Any, have: int) -> None:
        """Refuse an answer that is neither the file nor its rest, before the body is read."""
        status, headers = response.status_code, response.headers
        if status == 206 and have:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
            if found is None or int(found[1]) != have or found[2] not in ("*", str(self.size)):
                self.discard()
                sent = headers.get("Content-Range")
                raise DownloadFailed(
                    f"the server sends the range {sent!r}, expected bytes {have}- of {self.size}", again=True
                )
            return
        if status == 416 and have:
            self.discard()
            raise DownloadFailed(f"the server has nothing after byte {have}: starting anew", again=True)
        if status != 200:
            again = status >= 500 or status in (408, 429)
            after = headers.get("Retry-After", "")
            wait = min(float(after), LONGEST_WAIT_SECONDS) if after.isdecimal() else 0.0
            raise DownloadFailed(f"HTTP {status} {response.reason}", again=again, wait=wait)
        announced = headers.get("Content-Length", "")
        is_page = headers.get("Content-Type", "").startswith("text/html")
        if is_page and announced != str(self.size) and (have or announced.isdecimal()):
            # The log-in page of a network must not cost what is already there.
            raise _page(announced, self.size)
        if announced.isdecimal() and int(announced) != self.size and "Content-Encoding" not in headers:
            raise DownloadFailed(
                f"size in bytes: the server announces {announced}, expected {self.size}", again=False
            )

    def _stream(self, response: Any, have: int) -> None:
        """Append the body; stop once the file is longer than expected."""
        # It would drop the last bytes of a short body; lengths are compared afterwards.
        response.raw.enforce_content_length = False
        begun, lately = time.monotonic(), 0
        with progress(self.name, self.size, "B", start=have) as advance, self.partial.open("ab") as target:
            # read1 returns what is there; a full block may never come.
            while have <= self.size and (block := response.raw.read1(BLOCK_BYTES, decode_content=True)):
                target.write(block)
                have += len(block)
                lately += len(block)
                advance(len(block))
                if (waited := time.monotonic() - begun) > SLOWEST_SECONDS:
                    if lately < SLOWEST_BYTES and have < self.size:
                        target.flush()
                        raise DownloadFailed(f"only {lately} bytes in {waited:.0f} s", again=True)
                    begun, lately = time.monotonic(), 0

    def _after(self) -> str:
        return f" after {self.have()} of {self.size} bytes"


def _page(got: object, expected: int) -> DownloadFailed:
    return DownloadFailed(
        f"an HTML page instead of the file (size: got {got} bytes, expected {expected})", again=False
    )


def _is_html(path: Path) -> bool:
    head = path.read_bytes()[:512].lstrip().lower() if path.is_file() else b""
    return head.startswith((b"<!doctype html", b"<html"))


def _innermost(error: BaseException) -> str:
    """Name the first cause of a chain of wrapped network errors, on one line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split())[:200] or type(error).__name__
