"""Fetch and verify one raw file."""

from __future__ import annotations

import logging
from pathlib import Path

from cdgm.config.validation import validated
from cdgm.data.downloads import DOWNLOADS
from cdgm.data.fetch import fetch
from cdgm.utils.command_line import Parser, log, run_job
from cdgm.utils.files import read_json
from cdgm.utils.provenance import Provenance


def main() -> None:
    """Parse, fetch, record the origin of the file."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of the entry of downloads: in the config (.json)")
    parser.add_argument("--name", required=True, help="name of that entry")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to put the file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    provenance = Provenance()
    values, name = read_json(arguments.spec), f"download {arguments.name}"
    download = validated(DOWNLOADS.parse, values, name)
    noted = fetch(download, name, arguments.out)
    provenance.write(arguments.out.with_name("provenance.json"), values, fetched=noted)
    origin = noted.get("url") or noted.get("path") or noted["origin"]
    log(f"{name}: verified, {noted['size']} bytes from {origin}")


if __name__ == "__main__":
    run_job(main)
