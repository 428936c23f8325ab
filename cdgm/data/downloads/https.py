"""A file from a web server; an interrupted download resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from cdgm.data.downloads.base import Remote
from cdgm.data.downloads.resume import DownloadFailed, ResumableDownloader
from cdgm.utils.errors import UserError


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
            try:
                parts = urlsplit(url)
                _ = parts.port
            except ValueError as error:
                raise ValueError(f"got {url!r}, expected a web address: {error}") from None
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"got {url!r}, expected an address that begins with https:// or http://")
            if "@" in parts.netloc:
                raise ValueError(
                    "expected addresses without user and password: the config is no place for them"
                )
        return urls

    def retrieve(self, destination: Path, name: str, partial: Path) -> dict[str, Any]:
        """Download from the first address that serves the whole file; see the base class."""
        downloader = ResumableDownloader(name, self.size or 0, self.known_hash() or "", partial)
        failures = []
        for url in self.urls:
            downloader.resumed_at.clear()
            try:
                downloader(url, destination)
            except DownloadFailed as failure:
                failures.append(f"{url}: {failure}")
            else:
                return {"url": url, "resumed_at": downloader.resumed_at}
        have = downloader.have()
        kept = f" ({have} bytes are kept: the next run asks for the rest)" if have else ""
        raise UserError(f"{name}: cannot be downloaded: {'; '.join(failures)}{kept}; {self.by_hand()}")
