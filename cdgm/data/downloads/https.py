"""A file from a web server, streamed to disk."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from cdgm.data.downloads.base import Remote
from cdgm.errors import UserError

logger = logging.getLogger(__name__)

# How patient we are says nothing about the data, so it is no option of the config.
ATTEMPTS = 3
WAIT_SECONDS = 2.0  # doubled after each attempt
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
BLOCK_BYTES = 1 << 18


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
        return urls

    def retrieve(self, destination: Path, name: str) -> None:
        """Stream from the first address that serves the whole file; see the base class."""
        failures = []
        for url in self.urls:
            for attempt in range(ATTEMPTS):
                failure, worth_again = self._try(url, destination, name)
                if failure is None:
                    return
                logger.info("%s: attempt %d of %d at %s: %s", name, attempt + 1, ATTEMPTS, url, failure)
                if not worth_again:
                    break
                if attempt + 1 < ATTEMPTS:
                    time.sleep(WAIT_SECONDS * 2**attempt)
            failures.append(f"{url}: {failure}")
        raise UserError(f"{name}: cannot be downloaded: {'; '.join(failures)}; {self.by_hand()}")

    def _try(self, url: str, destination: Path, name: str) -> tuple[str | None, bool]:
        """Download once; return why it failed (None if it did not) and whether to try again."""
        import requests

        try:
            with requests.get(
                url,
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                # The checksum is of the file itself, not of a compressed transfer.
                headers={"Accept-Encoding": "identity"},
            ) as response:
                if response.status_code != 200:
                    again = response.status_code >= 500 or response.status_code in (408, 429)
                    return f"HTTP {response.status_code} {response.reason}", again
                announced = response.headers.get("Content-Length", "")
                is_page = response.headers.get("Content-Type", "").startswith("text/html")
                # Said before a byte is fetched: it matters for files of many gigabytes.
                if announced.isdigit() and int(announced) != self.size and not is_page:
                    return f"size in bytes: the server announces {announced}, expected {self.size}", False
                received = self._stream(response, destination, name)
        except requests.exceptions.Timeout:
            return "no answer in time", True
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as error:
            received = destination.stat().st_size if destination.exists() else 0
            if received:
                return f"connection lost after {received} of {self.size} bytes", True
            return f"no connection ({_innermost(error)})", True
        except requests.exceptions.RequestException as error:
            return _innermost(error), False
        if received < self.size and not _is_html(destination):
            return f"connection closed after {received} of {self.size} bytes", True
        if received != self.size and _is_html(destination):
            return (
                f"an HTML page instead of the file (size: got {received} bytes, expected {self.size})",
                False,
            )
        return None, False  # too long or the right length: the caller compares size and checksum

    def _stream(self, response, destination: Path, name: str) -> int:
        """Write the body and return its length; stop once it is longer than expected."""
        from tqdm import tqdm

        received = 0
        destination.unlink(missing_ok=True)
        # disable=None: the bar shows on a terminal only, so logs stay readable.
        with (
            tqdm(total=self.size, unit="B", unit_scale=True, desc=name, disable=None, leave=False) as bar,
            destination.open("wb") as target,
        ):
            for block in response.iter_content(BLOCK_BYTES):
                target.write(block)
                received += len(block)
                bar.update(len(block))
                if received > self.size:
                    break
        return received


def _is_html(path: Path) -> bool:
    with path.open("rb") as handle:
        head = handle.read(512).lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html"))


def _innermost(error: BaseException) -> str:
    """Name the first cause of a chain of wrapped network errors, on one line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split())[:200] or type(error).__name__
