"""Fetch and verify one raw file."""

from __future__ import annotations

import argparse
import logging
import sys
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
    # Retries are progress: like the bar, they show on a terminal only; a log holds the outcome.
    level = logging.INFO if sys.stderr.isatty() else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    download = parse_spec(arguments.spec, f"download {arguments.name}", DOWNLOADS.parse)
    origin = fetch(download, f"download {arguments.name}", arguments.out)
    print(f"download {arguments.name}: verified, from {origin}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
