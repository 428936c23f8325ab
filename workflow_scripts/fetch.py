"""Fetch and verify one raw file."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from cdgm.command_line import run
from cdgm.data.config import parse_spec
from cdgm.data.downloads import DOWNLOADS
from cdgm.data.fetch import fetch


def main() -> None:
    """Parse, fetch, say where the file came from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, metavar="JSON", help="entry of downloads: in the config")
    parser.add_argument("--name", required=True, help="name of that entry")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to put the file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    download = parse_spec(arguments.spec, f"download {arguments.name}", DOWNLOADS.parse)
    origin = fetch(download, f"download {arguments.name}", arguments.out)
    logging.info("download %s: verified, from %s", arguments.name, origin)


if __name__ == "__main__":
    run(main)
