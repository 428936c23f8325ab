"""A file from a web server, streamed to disk; an interrupted download goes on where it stopped."""

from __future__ import annotations

import logging
import re
import shutil
import time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from cdgm.data.downloads.base import Remote
from cdgm.data.partial import Partial
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.progress import progress

logger = logging.getLogger(__name__)

# How patient we are says nothing about the data, so it is no option of the config.
ATTEMPTS = 4  # in a row that bring next to nothing
WAIT_SECONDS = 2.0  # doubled after each of them
LONGEST_WAIT_SECONDS = 60.0
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
BLOCK_BYTES = 1 << 18
# A connection that brings fewer bytes is given up, or it would hold the run for weeks.
SLOWEST_BYTES, SLOWEST_SECONDS = 1 << 14, 60.0


class _Failure(Exception):
    """One try failed: why, whether another may help, and how long the server asks to wait."""

    def __init__(self, reason: str, *, again: bool, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


class Https(Remote):
    """A file behind one or more web addresses.

    Attributes
    ----------
    urls
        Addresses of the same file, tried in order.
    """

    kind: Literal["https"] = "https"
    urls: tuple[str, ...] = Field(min_length=1)

    @field_validator("urls")
    @classmethod
    def _web_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"got {url!r}, expected an address that begins with https:// or http://")
            if "@" in parts.netloc:
                raise ValueError(
                    "expected addresses without user and password: the config is no place for them"
                )
        return urls

    def retrieve(self, destination: Path, name: str, partial: Partial) -> dict[str, Any]:
        """Stream from the first address that serves the whole file; see the base class.

        A cut connection, a busy server and an interrupted run are followed by a request for just the
        rest, where the server gives ranges and says that its file is still the same one.
        """
        failures = []
        for url in self.urls:
            facts: dict[str, Any] = {"url": url, "resumed_at": []}
            try:
                self._insist(url, name, partial, facts)
            except _Failure as failure:
                failures.append(f"{url}: {failure}")
            else:
                partial.finish(destination)
                facts.pop("resumable", None)
                return facts
        kept = f" ({partial.size} bytes are kept: the next run asks for the rest)" if partial.size else ""
        raise UserError(f"{name}: cannot be downloaded: {'; '.join(failures)}{kept}; {self.by_hand()}")

    def _insist(self, url: str, name: str, partial: Partial, facts: dict[str, Any]) -> None:
        """Try one address until the whole file is there or some tries in a row brought next to nothing."""
        idle, most = 0, 0
        while True:
            try:
                return self._try(url, name, partial, facts)
            except _Failure as failure:
                # Only bytes that no try had before count: a server without ranges would go on for ever. And
                # only if they are many: so would one that sends a few each time.
                idle = 0 if partial.size >= most + SLOWEST_BYTES else idle + 1
                most = max(most, partial.size)
                logger.info("%s: %s: %s", name, url, failure)
                if not failure.again or idle >= ATTEMPTS:
                    # Without an answer of this server's there is no reason to give the beginning up.
                    if facts.get("resumable") is False:
                        partial.discard()
                    raise
                time.sleep(max(failure.wait, min(WAIT_SECONDS * 2**idle, LONGEST_WAIT_SECONDS)))

    def _try(self, url: str, name: str, partial: Partial, facts: dict[str, Any]) -> None:
        """Ask once, for the rest if a beginning is there."""
        import requests
        import urllib3

        algorithm, checksum = next(iter(self.checksums().items()))
        expected = {"url": url, "size": self.size, algorithm: checksum}
        have, validator = partial.begun(expected)
        if have == self.size:
            return
        # The checksum is of the file itself, not of a compressed transfer.
        headers = {"Accept-Encoding": "identity"}
        answered = False
        if have:
            headers["Range"] = f"bytes={have}-"
            # With it, a server whose file has changed sends all of the new one.
            headers |= {"If-Range": validator} if validator else {}
        try:
            with requests.get(
                url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), headers=headers
            ) as response:
                answered = True
                self._check_answer(response, have, partial)
                if response.status_code == 200:
                    facts["validator"] = _validator(response)
                    facts["resumable"] = bool(
                        facts["validator"] or response.headers.get("Accept-Ranges") == "bytes"
                    )
                    if have:
                        logger.info("%s: the server sends the whole file again", name)
                    have = 0
                    self._check_space(partial, name)
                    partial.begin(expected, facts["validator"])
                else:
                    facts |= {"validator": validator, "resumable": True}
                    facts["resumed_at"].append(have)
                    logger.info("%s: going on after %d of %d bytes", name, have, self.size)
                self._stream(response, partial.path, have, name)
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            raise _Failure(
                f"no more bytes in time{self._after(partial)}" if answered else "no answer in time",
                again=True,
            ) from None
        except (requests.exceptions.ConnectionError, urllib3.exceptions.ProtocolError) as error:
            lost = f"connection lost{self._after(partial)}"
            raise _Failure(lost if answered else f"no connection ({_innermost(error)})", again=True) from None
        # ValueError: from a redirect whose address is no address, or no text.
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise _Failure(_innermost(error), again=False) from None
        if partial.size == self.size:
            return
        if _is_html(partial.path):
            got = partial.size
            partial.discard()
            raise _page(got, self.size)
        if partial.size < self.size:
            raise _Failure(f"connection closed{self._after(partial)}", again=True)
        # Too long: the caller compares size and checksum, and says so.

    def _check_answer(self, response, have: int, partial: Partial) -> None:
        """Refuse what is not the file or its rest, before a byte of it is read."""
        status, headers = response.status_code, response.headers
        if status == 206 and have:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
            if found is None or int(found[1]) != have or found[2] not in ("*", str(self.size)):
                partial.discard()
                raise _Failure(
                    f"the server sends the range {headers.get('Content-Range')!r}, expected bytes {have}- of "
                    f"{self.size}",
                    again=True,
                )
            return
        if status == 416 and have:
            partial.discard()
            raise _Failure(f"the server has nothing after byte {have}: starting anew", again=True)
        if status != 200:
            again = status >= 500 or status in (408, 429)
            after = headers.get("Retry-After", "")
            wait = min(float(after), LONGEST_WAIT_SECONDS) if after.isdecimal() else 0.0
            raise _Failure(f"HTTP {status} {response.reason}", again=again, wait=wait)
        announced = headers.get("Content-Length", "")
        is_page = headers.get("Content-Type", "").startswith("text/html")
        if is_page and have and announced != str(self.size):
            # A log-in page of some network between must not cost what is already there.
            raise _Failure("an HTML page instead of the rest of the file", again=False)
        # Said before a byte is fetched: it matters for files of many gigabytes.
        if announced.isdecimal() and int(announced) != self.size and "Content-Encoding" not in headers:
            if is_page:
                raise _page(announced, self.size)
            raise _Failure(
                f"size in bytes: the server announces {announced}, expected {self.size}", again=False
            )

    def _stream(self, response, path: Path, have: int, name: str) -> None:
        """Append the body; stop once the file is longer than expected."""
        # A short body would otherwise end in an error that takes its last bytes along; lengths are
        # compared afterwards.
        response.raw.enforce_content_length = False
        begun, lately = time.monotonic(), 0
        with progress(name, self.size, "B", start=have) as advance, path.open("ab") as target:
            # What is there, and not a full block: that may take for ever.
            while block := response.raw.read1(BLOCK_BYTES, decode_content=True):
                target.write(block)
                have += len(block)
                lately += len(block)
                advance(len(block))
                if have > self.size:
                    break
                if (waited := time.monotonic() - begun) > SLOWEST_SECONDS:
                    if lately < SLOWEST_BYTES and have < self.size:
                        target.flush()
                        raise _Failure(f"only {lately} bytes in {waited:.0f} s", again=True)
                    begun, lately = time.monotonic(), 0

    def _check_space(self, partial: Partial, name: str) -> None:
        free = shutil.disk_usage(partial.path.parent).free + partial.size
        if free < self.size:
            raise bad_input(name, f"free bytes at {partial.path.parent}", free, f"{self.size} for the file")

    def _after(self, partial: Partial) -> str:
        return f" after {partial.size} of {self.size} bytes"


def _page(got: object, expected: int | None) -> _Failure:
    return _Failure(
        f"an HTML page instead of the file (size: got {got} bytes, expected {expected})", again=False
    )


def _validator(response) -> str | None:
    """What tells this version of the file from another: a strong ETag, else the date of its last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _is_html(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        head = handle.read(512).lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html"))


def _innermost(error: BaseException) -> str:
    """Name the first cause of a chain of wrapped network errors, on one line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split())[:200] or type(error).__name__
