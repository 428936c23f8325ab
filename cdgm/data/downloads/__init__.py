"""Sources of raw files. Each kind of download is a plug-in."""

from __future__ import annotations

from cdgm.utils.registry import Registry

DOWNLOADS = Registry(
    "download",
    {
        "https": "cdgm.data.downloads.https:Https",
        "local": "cdgm.data.downloads.local:Local",
        "pypi": "cdgm.data.downloads.pypi:Pypi",
    },
)
