"""Readers of raw files. Each format is a plug-in."""

from __future__ import annotations

from cdgm.utils.registry import Registry

READERS = Registry(
    "reader",
    {
        "csv_guides": "cdgm.data.readers.csv_guides:CsvGuides",
        "h5ad": "cdgm.data.readers.h5ad:H5ad",
        "h5ad_log2": "cdgm.data.readers.h5ad_log2:H5adLog2",
        "sce_rda": "cdgm.data.readers.sce_rda:SceRda",
        "sceptre_rda": "cdgm.data.readers.sceptre_rda:SceptreRda",
    },
)
